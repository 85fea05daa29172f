"""Nobody sends a feed to us: what comes to a feed's address is not authentic, whoever signed it."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.authenticity import Authenticity, NotAuthentic
from connectors.feed.translate import records

__all__ = ["authenticate", "records"]

PULLED = NotAuthentic("a feed is pulled from its own address: nothing can be sent to this one")


def authenticate(
    headers: Mapping[str, str], body: bytes, secrets: list[str], settings: Mapping[str, object]
) -> Authenticity:
    """Refuse whatever comes."""
    return PULLED
