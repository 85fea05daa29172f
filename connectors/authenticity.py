"""What `authenticate` of every connector answers; true or false, with the reason."""

from __future__ import annotations

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
