"""What this process knows to be stored already, so that it need not ask Postgres at each event.

Only provisional products: telling of one again changes nothing once it is committed, whatever
happened to it since, so the memory is never wrong, only empty at first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from gateway.access import Source
from schemas.facts import Product

AT_MOST = 50_000

Key = tuple[int, bytes, int, datetime]

_known: dict[Key, None] = {}


def key(source: Source, product: Product, received_at: datetime) -> Key:
    """Names what a provisional record says of a site's product, by the hour, as the catalog counts
    them. The pepper tells sites of equal number in two databases apart."""
    as_of = min(product.as_of or received_at, received_at)
    content = hash(msgspec.json.encode(product.record))
    hour = as_of.replace(minute=0, second=0, microsecond=0)
    return source.site_id, source.pepper, content, hour


def is_known(one: Key) -> bool:
    """Whether this was committed by this process."""
    return one in _known


def remember(keys: Iterable[Key]) -> None:
    """Call it after the commit."""
    if len(_known) > AT_MOST:
        _known.clear()
    _known.update(dict.fromkeys(keys))
