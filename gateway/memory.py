"""What this process knows to be stored already, so that it need not ask Postgres at each event.

Only provisional products: telling of one again changes nothing once it is committed, whatever
happened to it since, so the memory is never wrong, only empty at first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from schemas.facts import Product

AT_MOST = 50_000

Key = tuple[bytes, int, datetime]

_known: dict[Key, None] = {}


def key(pepper: bytes, product: Product, received_at: datetime) -> Key:
    """Names what a provisional record says, by the hour, as the catalog counts them."""
    as_of = min(product.as_of or received_at, received_at)
    content = hash(msgspec.json.encode(product.record))
    return pepper, content, as_of.replace(minute=0, second=0, microsecond=0)


def is_known(one: Key) -> bool:
    """Whether this was committed by this process."""
    return one in _known


def remember(keys: Iterable[Key]) -> None:
    """Call it after the commit."""
    if len(_known) > AT_MOST:
        _known.clear()
    _known.update(dict.fromkeys(keys))
