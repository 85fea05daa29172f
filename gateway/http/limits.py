"""How many requests a second one key may make, counted in Redis over all web processes.

`auth.authenticate` asks for each request of `/v1`; webhooks are never limited. A process takes
leave for a block of requests at a time, so Redis is asked once for dozens of requests: a request
costs about 2 us here, where Flask-Limiter's hook with its shared storage costs 260-500 us.
Without Redis nobody is limited.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import redis
import structlog
from flask import Response, g

from gateway.access import Key
from gateway.http import metrics, state
from gateway.http.errors import TooFast

log = structlog.get_logger(__name__)

# One key is shared by all visitors of a shop. A site's setting `requests_per_second` overrides.
PER_SECOND = {"secret": 5000, "publishable": 2000, "write": 2000}  # nosec B105
BLOCKS_PER_SECOND = 50
KEPT_S = 5
RETRY_REDIS_AFTER_S = 5.0
RETRY_AFTER_S = 1


@dataclass(slots=True)
class _Lease:
    """What this process may still let through in the second `second`."""

    second: int
    left: int
    beyond: int  # what nobody has taken of this second yet


_lock = threading.Lock()
_leases: dict[int, _Lease] = {}
_used_up: dict[int, int] = {}  # the last second in which a key was refused
_redis_away_until = 0.0


def check(key: Key) -> None:
    """Count one request of a key; raises TooFast where this second is used up."""
    allowed = key.requests_per_second or PER_SECOND[key.kind]
    second = int(time.time())
    if not _taken(key.key_id, second) and not _block_granted(key.key_id, second, allowed):
        metrics.LIMITED.labels(key.kind).inc()
        _used_up[key.key_id] = second
        g.rate_limit = (allowed, 0)
        raise TooFast(sentence(allowed), retry_after_s=RETRY_AFTER_S)
    lease = _leases.get(key.key_id)
    g.rate_limit = (allowed, lease.left + lease.beyond if lease else allowed)


def used_up(key: Key) -> int | None:
    """The limit of a key that was refused in this second already, None for any other: the web loop
    asks, so that a flood does not reach a thread."""
    if _used_up.get(key.key_id) != int(time.time()):
        return None
    metrics.LIMITED.labels(key.kind).inc()
    return key.requests_per_second or PER_SECOND[key.kind]


def sentence(allowed: int) -> str:
    return f"more than {allowed} requests a second with this key: send them again more slowly"


def add_headers(response: Response) -> None:
    """Tell the caller where it stands, on refusals too."""
    limit = g.get("rate_limit")
    if limit is not None:
        response.headers.extend(headers(*limit, refused=response.status_code == 429))


def headers(allowed: int, left: int, *, refused: bool) -> list[tuple[str, str]]:
    """What says so: draft-ietf-httpapi-ratelimit-headers, and one for Segment's libraries."""
    said = [
        ("RateLimit-Limit", str(allowed)),
        ("RateLimit-Remaining", str(left)),
        ("RateLimit-Reset", str(RETRY_AFTER_S)),
    ]
    return [*said, ("X-RateLimit-Reset", str(RETRY_AFTER_S))] if refused else said


def _taken(key_id: int, second: int) -> bool:
    with _lock:
        lease = _leases.get(key_id)
        if lease is None or lease.second != second or lease.left <= 0:
            return False
        lease.left -= 1
        return True


def _block_granted(key_id: int, second: int, allowed: int) -> bool:
    """Ask Redis for the next block and take one of it; True where Redis cannot be asked."""
    block = max(1, allowed // BLOCKS_PER_SECOND)
    used = _count(f"attune:limit:{key_id}:{second}", block)
    if used is None:
        return True
    left = min(block, allowed - (used - block))
    if left <= 0:
        return False
    with _lock:
        lease = _leases.get(key_id)
        spare = lease.left if lease and lease.second == second else 0
        _leases[key_id] = _Lease(second, spare + left - 1, max(0, allowed - used))
    return True


def _count(name: str, block: int) -> int | None:
    """The requests granted in this second by all processes, this block among them."""
    global _redis_away_until
    if time.monotonic() < _redis_away_until:
        return None
    try:
        with state.redis_client().pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, block)
            pipeline.expire(name, KEPT_S)
            used: int = pipeline.execute()[0]
            return used
    except redis.RedisError as error:
        _redis_away_until = time.monotonic() + RETRY_REDIS_AFTER_S
        log.warning("limits are off, Redis is away", error=str(error))
        return None


def forget() -> None:
    """Begin anew, also with asking Redis."""
    global _redis_away_until
    _redis_away_until = 0.0
    _leases.clear()
    _used_up.clear()
