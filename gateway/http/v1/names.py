"""Names of products' fields in a request: which of them can be, wherever one may stand.

A field that no product can have is refused, as `fq` does. An attribute that no product has may be
there tomorrow: it is taken, and nothing matches it, counts for it or has a value to sort by.
"""

from __future__ import annotations

from collections.abc import Iterator

from ranking.merchandising import filters
from schemas.errors import Problem


def problems(pointer: str, name: str) -> Iterator[Problem]:
    """Why a name there is no field of products."""
    if not filters.known(filters.spelled(name)):
        yield Problem(pointer, unknown(name), name)


def unknown(name: str) -> str:
    """What is said of such a name, in the words of `fq`."""
    return f'products have no field "{name}"'
