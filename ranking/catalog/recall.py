"""How much of what exact search finds is found, measured on searches as they are served.

`nearest` offers every so many-th search; whoever has the time takes it, asks Postgres again for the
exact answer and tells it here. Nothing is written down: a search is of a person, and what becomes
of a few hundred of them says enough.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from ranking.catalog.models import Model
    from ranking.catalog.nearest import Neighbour
    from ranking.merchandising.filters import Filter

EVERY = 100  # searches of this process
KEPT = 200  # shares of one width, whose mean is shown
TIE = 1e-4  # two equal texts differ by less, see fitting.HALFVEC_TIE

# The share of the catalog that passes the filter, down to which it is called so: the geometric
# means of one width and the next.
WIDTHS = (
    (0.7, "unfiltered"), (0.22, "half"), (0.032, "tenth"), (0.0032, "hundredth"),
    (0.0, "thousandth"),
)  # fmt: skip

RECALL = Gauge(
    "attune_recall",
    "Share of the exact nearest products that served searches found: the mean of the last "
    f"{KEPT} looked at, by how much of the catalog passes their filter",
    ["selectivity"],
    multiprocess_mode="mostrecent",
)
CHECKS = Counter(
    "attune_recall_checks", "Served searches that were asked again exactly", ["selectivity"]
)


class Served(NamedTuple):
    """A search with its answer, and all that it takes to ask it again."""

    model: Model
    filter: Filter
    parameters: dict[str, Any]
    found: Sequence[Neighbour]


_turns = count(1)
_offered: queue.Queue[Served] = queue.Queue(maxsize=1)
_shares: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
_lock = threading.Lock()


def is_next() -> bool:
    """Whether this is one of the searches to offer."""
    return next(_turns) % EVERY == 0


def offer(served: Served) -> None:
    """Have it looked at, unless another one waits for that."""
    with suppress(queue.Full):
        _offered.put_nowait(served)


def taken(wait_s: float | None = None) -> Served | None:
    """The search that was offered, as soon as there is one; None after `wait_s`."""
    try:
        return _offered.get(timeout=wait_s) if wait_s != 0 else _offered.get_nowait()
    except queue.Empty:
        return None


def compared(served: Served, exact: Sequence[Neighbour], matches: int) -> tuple[str, float] | None:
    """How wide the search was and which share of the exact answer it found, shown from now on;
    None where there is nothing to find. `matches`: products that pass its filter."""
    if not exact:
        return None
    least = _score(exact[-1], served.parameters) - TIE
    found = sum(_score(one, served.parameters) >= least for one in served.found)
    share = min(1.0, found / len(exact))
    width = width_of(matches / max(1, served.model.rows))
    with _lock:
        _shares[width].append(share)
        RECALL.labels(width).set(sum(_shares[width]) / len(_shares[width]))
    CHECKS.labels(width).inc()
    return width, share


def width_of(share: float) -> str:
    """What a filter is called that so large a share of the catalog passes."""
    return next(name for least, name in WIDTHS if share >= least)


def _score(one: Neighbour, parameters: Mapping[str, Any]) -> float:
    """What `nearest` orders by."""
    prior: float = parameters["prior"]
    fresh: float = parameters["fresh"]
    if one.share is not None:
        return one.similarity + prior * one.share
    return one.similarity + (prior * one.new_share + fresh if one.new_share else 0.0)


def forget() -> None:
    """All that was measured in this process; for tests."""
    taken(0)
    with _lock:
        _shares.clear()
