"""What data means, wherever it comes from: facts, their schemas, and the database they lie in."""

from schemas.errors import (
    AttuneError,
    Ignored,
    Invalid,
    Malformed,
    Problem,
    Unsupported,
    Withheld,
)
from schemas.facts import (
    Erase,
    Event,
    Fact,
    Lifecycle,
    Merge,
    Product,
    Removed,
    Sighting,
    User,
    load,
)
from schemas.fields import present

__all__ = [
    "AttuneError",
    "Erase",
    "Event",
    "Fact",
    "Ignored",
    "Invalid",
    "Lifecycle",
    "Malformed",
    "Merge",
    "Problem",
    "Product",
    "Removed",
    "Sighting",
    "Unsupported",
    "User",
    "Withheld",
    "load",
    "present",
]
