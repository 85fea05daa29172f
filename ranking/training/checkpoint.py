"""Where the last training was before it saw the days it was judged on, so that the next one goes
on from there: it takes a third of the time, and still has not seen what it will be judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ranking.catalog.learned import WIDTH, Array, Damaged, Network, read, written
from ranking.training.corpus import Ints
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# So many in a row, four days of them; then one begins anew, so that nothing stays for ever.
MOST = 24


@dataclass(frozen=True)
class Checkpoint:
    """A network with the histories [n, 64] of products by number; `trainings` led to it."""

    trained_until: datetime
    trainings: int
    network: Network
    product_nos: Ints
    histories: Array

    def of(self, product_nos: Ints) -> Array:
        """The histories of these products; zeros of those it does not know."""
        known = {int(number): row for row, number in enumerate(self.product_nos)}
        made = np.zeros((len(product_nos), WIDTH), np.float32)
        for row, number in enumerate(product_nos):
            at = known.get(int(number))
            if at is not None:
                made[row] = self.histories[at]
        return made


def save(connection: Connection, site_id: int, made: Checkpoint) -> None:
    """Keep it in the place of the one before."""
    there = np.any(made.histories != 0, axis=1)
    connection.execute(
        SQL.save,
        {
            "site_id": site_id,
            "trained_until": made.trained_until,
            "trainings": made.trainings,
            "weights": written(made.network),
            "product_nos": made.product_nos[there].astype("<i4").tobytes(),
            "histories": made.histories[there].astype("<f2").tobytes(),
        },
    )


def forget(connection: Connection, site_id: int) -> None:
    """Let the next training begin anew."""
    connection.execute(SQL.forget, {"site_id": site_id})


def last(connection: Connection, site_id: int, before: datetime) -> Checkpoint | None:
    """The one to go on from, which has seen nothing from `before` on; None where there is none, or
    it can no longer be read."""
    parameters = {"site_id": site_id, "before": before, "most": MOST}
    row = connection.execute(SQL.read, parameters).fetchone()
    if row is None:
        return None
    trained_until, trainings, weights, numbers, histories = row
    try:
        network = read(weights)
    except Damaged:
        return None
    return Checkpoint(
        trained_until,
        trainings,
        network,
        np.frombuffer(numbers, "<i4").astype(np.int64),
        np.frombuffer(histories, "<f2").reshape(-1, WIDTH).astype(np.float32),
    )
