"""The style clusters of a site as a person looks at them: what they are called, what is in them,
what is asked for lately, who likes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ranking.catalog.records import int_array
from ranking.visitors.people import NAMED
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

LOOKED_AT = 50_000  # newest events of the site
EXAMPLES = 5
MIDDLE = 10  # of the quantiles that clusters keep: the median

Cluster = dict[str, Any]


def clusters(connection: Connection, site_id: int) -> list[Cluster]:
    """Every cluster, those that are asked for most first: `id`, `label`, `words`, `products`,
    `share` of what was asked for lately, `price` (the median by currency), `examples`."""
    rows = database.dicts(connection.execute(SQL.listed, {"site_id": site_id}))
    examples = _examples(connection, site_id, [row["id"] for row in rows], EXAMPLES)
    return [_shown(row) | {"examples": examples[row["id"]]} for row in rows]


def cluster(
    connection: Connection, site_id: int, cluster_id: int, *, at: datetime, limit: int
) -> Cluster | None:
    """One cluster with its most typical products and the visitors who did most with them lately, at
    most `limit` of each; None where there is none."""
    rows = database.dicts(connection.execute(SQL.listed, {"site_id": site_id}))
    found = next((row for row in rows if row["id"] == cluster_id), None)
    if found is None:
        return None
    parameters = {"site_id": site_id, "cluster_id": cluster_id, "at": at,
                  "looked_at": LOOKED_AT, "limit": limit}  # fmt: skip
    return _shown(found) | {
        "examples": _examples(connection, site_id, [cluster_id], limit)[cluster_id],
        "visitors": database.dicts(
            connection.execute(SQL.fill("visitors", named=NAMED), parameters)
        ),
    }


def _shown(row: dict[str, Any]) -> Cluster:
    medians = {
        currency: round(quantiles[MIDDLE], 2) for currency, quantiles in row["prices"].items()
    }
    return {name: row[name] for name in ("id", "label", "words", "products", "share")} | {
        "price": medians
    }


def _examples(
    connection: Connection, site_id: int, cluster_ids: Sequence[int], limit: int
) -> defaultdict[int, list[dict[str, Any]]]:
    asked = {"site_id": site_id, "cluster_ids": int_array(cluster_ids), "limit": limit}
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in database.dicts(connection.execute(SQL.examples, asked)):
        found[row.pop("cluster_id")].append(row)
    return found
