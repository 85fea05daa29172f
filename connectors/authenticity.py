"""What `authenticate` of every connector answers; true or false, with the reason."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verified:
    """The request comes from somebody who knows the source's secret."""

    by: str

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class NotAuthentic:
    """It does not, or it does not show it; `reason` is a sentence for the sender's log."""

    reason: str

    def __bool__(self) -> bool:
        return False


Authenticity = Verified | NotAuthentic


def equals_any(given: str, expected: Iterable[bytes]) -> bool:
    """Whether a header is one of these. Constant time for each, and all are compared; on bytes,
    because compare_digest raises on text that is not ASCII."""
    sent = given.strip().encode("utf-8", "surrogateescape")
    return sum(hmac.compare_digest(sent, each) for each in expected) > 0
