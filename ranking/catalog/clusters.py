"""Style clusters: products whose texts are alike, under a name that people can read.

The trainer role refits them where a catalog has changed enough, going on from what it had, so that
ids and names stay where the products stay; embeddings places a product as it encodes it; profiles
read what the clusters are called and what their products cost.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pgvector import HalfVector

from ranking.catalog import labels, models
from ranking.catalog.labels import Label
from ranking.catalog.models import Model
from ranking.catalog.records import int_array
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

LEAST_PRODUCTS = 100  # of a catalog: a smaller one is seen at a glance
LEAST_CLUSTERS, MOST_CLUSTERS = 5, 200
# Of so many products centres are found; all are then placed.
SAMPLE = 20_000
LEAST_MEMBERS = 3  # in the sample: fewer are no group
TRIES = 2  # of a first fit, of which the closer one is taken
STEPS = 60
GROWN, SHRUNK = 1.2, 0.8  # of the catalog that was fitted: then it is due
MORE = 1.25  # as many clusters wanted as there are: then some are added
STAYED = 0.5  # of a cluster's products: then it is still what it is called
TYPICAL = 200  # products of a cluster, the nearest to its centre, that name it
CHUNK = 2_000
WRITTEN_AT_ONCE = 5_000
QUANTILES = tuple(step / 20 for step in range(21))

SEPARATOR = " · "

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Prices = dict[int, dict[str, list[float]]]  # by cluster (0: all) and currency: QUANTILES


class Site(NamedTuple):
    """What is known of a site's last fit; version 0: there was none."""

    version: int = 0
    model_id: int = 0
    fitted_on: int = 0
    last_id: int = 0


@dataclass(frozen=True)
class Centres:
    """Where clusters lie, each of unit length; `ids` rise."""

    ids: Ints
    vectors: Floats

    def nearest(self, vectors: Floats) -> tuple[Ints, Floats]:
        """The cluster of each vector of unit length and its cosine with the centre; of two that are
        equally near the one with the lower id."""
        cosines = vectors @ self.vectors.T
        best = cosines.argmax(axis=1)
        return self.ids[best], cosines[np.arange(len(best)), best].astype(np.float32)


class Placed(NamedTuple):
    """Products with the cluster of each and how near its centre they are."""

    product_nos: Ints
    cluster_ids: Ints
    likeness: Floats


def wanted(products: int) -> int:
    """How many clusters that many products make: the root of half their number, a rule of thumb
    (Mardia, Kent and Bibby, "Multivariate Analysis", 1979, p. 365); none below LEAST_PRODUCTS."""
    if products < LEAST_PRODUCTS:
        return 0
    return min(MOST_CLUSTERS, max(LEAST_CLUSTERS, round(math.sqrt(products / 2))))


def is_due(connection: Connection, site_id: int) -> bool:
    """Whether the catalog is another one than was fitted: grown, shrunk, or in another space."""
    model, site = models.live(connection, site_id), _site(connection, site_id)
    counted = _count(connection, model)
    if not wanted(counted):
        return site.fitted_on > 0
    return site.model_id != model.model_id or not (
        SHRUNK * site.fitted_on < counted < GROWN * site.fitted_on
    )


def refresh(connection: Connection, site_id: int, *, seed: int = 0) -> dict[str, int]:
    """Fit if that is due, place what has no cluster yet, count and price them all; returns how many
    clusters and products there are, and how many were placed.

    The connection is in autocommit: no upload waits for a fit. While it is written a product may
    still be where it was before. Killed at any point, the next one does it all.
    """
    with _alone(connection, site_id) as alone:
        fitted = alone and is_due(connection, site_id)
        if fitted:
            _fit(connection, site_id, seed)
    placed = 0 if fitted else _place_missing(connection, site_id)
    parameters = {"site_id": site_id, "quantiles": list(QUANTILES)}
    connection.execute(SQL.describe, parameters)
    site = _site(connection, site_id)
    named = connection.execute(SQL.named, {"site_id": site_id}).fetchall()
    return {"fitted": int(fitted), "clusters": len(named), "products": site.fitted_on,
            "placed": placed}  # fmt: skip


@contextmanager
def _alone(connection: Connection, site_id: int) -> Iterator[bool]:
    """Whether nobody else fits this site; ends with the connection however it ends."""
    row = connection.execute(SQL.lock, {"site_id": site_id}).fetchone()
    alone = bool(row and row[0])
    try:
        yield alone
    finally:
        if alone and not connection.broken:
            connection.execute(SQL.unlock, {"site_id": site_id})


def place(connection: Connection, model: Model, product_nos: Sequence[int], served: Floats) -> None:
    """Give products whose vectors are being written their clusters, in the same transaction."""
    centres = _known_centres(connection, model)
    if centres is not None and len(product_nos):
        found = centres.nearest(served.astype(np.float32, copy=False))
        _write_members(connection, model.site_id, Placed(np.array(product_nos), *found))


def prices(connection: Connection, site_id: int, cluster_ids: Iterable[int]) -> Prices:
    """What products of these clusters cost, and under 0 those of the whole catalog."""
    parameters = {"site_id": site_id, "cluster_ids": int_array(cluster_ids)}
    return dict(connection.execute(SQL.prices, parameters).fetchall())


# finding centres: pure ----------------------------------------------------------------------------


def centres_of(vectors: Floats, before: Ints, count: int, last_id: int, seed: int) -> Centres:
    """`count` clusters of these vectors of unit length; where `before` says in which cluster each
    is (0: none), from the means of those, which keep their ids. New ids follow `last_id`.

    Spherical k-means (Dhillon and Modha, "Concept Decompositions", Machine Learning 42, 2001), as
    Lloyd's on vectors of unit length, whose centres are made so too. The same vectors, clusters and
    seed give the same.
    """
    kept = _means(vectors, before)
    more = count if not len(kept.ids) else count - len(kept.ids)
    if len(kept.ids) and count <= MORE * len(kept.ids):
        more = 0
    begun = _with_more(vectors, kept, more, last_id, seed) if len(kept.ids) else None
    found = _lloyd(vectors, begun, count, seed)
    ids = begun.ids if begun else np.arange(last_id + 1, last_id + 1 + len(found))
    return _of_some_size(Centres(ids, models.unit(found)), vectors)


def _means(vectors: Floats, before: Ints) -> Centres:
    ids = np.unique(before[before > 0])
    sums = (
        np.stack([vectors[before == one].sum(axis=0) for one in ids]) if len(ids) else vectors[:0]
    )
    return Centres(ids, models.unit(sums))


def _with_more(vectors: Floats, kept: Centres, more: int, last_id: int, seed: int) -> Centres:
    """Further centres among the vectors, each drawn by how far the nearest one is (Arthur and
    Vassilvitskii, "k-means++", SODA 2007)."""
    chance = np.random.default_rng(seed)
    chosen = list(kept.vectors)
    far = 1 - (vectors @ kept.vectors.T).max(axis=1)
    for _ in range(max(0, more)):
        far = np.maximum(far, 0)
        if not far.sum() > 0:
            break
        chosen.append(vectors[chance.choice(len(vectors), p=far / far.sum())])
        far = np.minimum(far, 1 - vectors @ chosen[-1])
    added = np.arange(last_id + 1, last_id + 1 + len(chosen) - len(kept.ids))
    return Centres(np.concatenate([kept.ids, added]), np.stack(chosen))


def _lloyd(vectors: Floats, begun: Centres | None, count: int, seed: int) -> Floats:
    # Here, because whoever only places products need not load them.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    means = KMeans(
        n_clusters=len(begun.ids) if begun else min(count, len(vectors)),
        init=begun.vectors if begun else "k-means++",
        n_init=1 if begun else TRIES,
        max_iter=STEPS,
        random_state=seed,
        algorithm="lloyd",
    )
    with threadpool_limits(1):  # sums of several threads come in any order
        found: Floats = means.fit(vectors).cluster_centers_
    return found


def _of_some_size(centres: Centres, vectors: Floats) -> Centres:
    """Without the clusters that hold next to nothing of these vectors."""
    counted = Counter(centres.nearest(vectors)[0].tolist())
    some = [at for at, one in enumerate(centres.ids) if counted[int(one)] >= LEAST_MEMBERS]
    some = some or [0]
    return Centres(centres.ids[some], centres.vectors[some])


# a fit --------------------------------------------------------------------------------------------


def _fit(connection: Connection, site_id: int, seed: int) -> None:
    models.uncache(connection, site_id)
    model, site = models.live(connection, site_id), _site(connection, site_id)
    counted = _count(connection, model)
    if not wanted(counted):
        _drop(connection, site_id, site)
        return
    vectors, before = _sample(connection, model, seed)
    centres = centres_of(vectors, before, wanted(counted), site.last_id, seed)
    placed = _placed(_chunks(connection, model, "read"), centres)
    names = _names(connection, site_id, placed)
    _write(connection, model, centres, placed, names, site)
    _place_missing(connection, site_id)


def _drop(connection: Connection, site_id: int, site: Site) -> None:
    """The catalog has become too small for clusters."""
    with connection.transaction():
        connection.execute(SQL.drop_others, {"site_id": site_id, "kept": "{}"})
        connection.execute(SQL.drop_members, {"site_id": site_id})
        written = {"model_id": 0, "fitted_on": 0, "last_id": site.last_id}
        connection.execute(SQL.write_site, {"site_id": site_id} | written)


def _sample(connection: Connection, model: Model, seed: int) -> tuple[Floats, Ints]:
    statement = SQL.fill("sample", vectors=model.vectors)
    parameters = {"site_id": model.site_id, "seed": seed, "limit": SAMPLE}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(statement, parameters).fetchall()
    vectors = np.stack([vector.to_numpy() for vector, _ in rows]).astype(np.float32)
    return models.unit(vectors), np.array([cluster for _, cluster in rows])


def _chunks(connection: Connection, model: Model, name: str) -> Iterator[tuple[Ints, Floats]]:
    """Numbers and vectors of a site, some at a time."""
    statement, after = SQL.fill(name, vectors=model.vectors), 0
    while True:
        with connection.cursor(binary=True) as cursor:
            asked = {"site_id": model.site_id, "after": after, "limit": CHUNK}
            rows = cursor.execute(statement, asked).fetchall()
        if not rows:
            return
        numbers = np.array([number for number, _ in rows])
        yield numbers, np.stack([vector.to_numpy() for _, vector in rows]).astype(np.float32)
        after = int(numbers[-1])


def _placed(chunks: Iterable[tuple[Ints, Floats]], centres: Centres) -> Placed:
    parts = [Placed(numbers, *centres.nearest(vectors)) for numbers, vectors in chunks]
    if not parts:
        return Placed(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Placed(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _place_missing(connection: Connection, site_id: int) -> int:
    model = models.live(connection, site_id)
    centres = _known_centres(connection, model)
    if centres is None:
        return 0
    placed = _placed(_chunks(connection, model, "read_missing"), centres)
    _write_members(connection, site_id, placed)
    connection.execute(SQL.fill("drop_gone", vectors=model.vectors), {"site_id": site_id})
    return len(placed.product_nos)


# names --------------------------------------------------------------------------------------------


def _names(connection: Connection, site_id: int, placed: Placed) -> dict[int, Label]:
    """The label of each cluster; one that still has half of its products keeps its own."""
    site = {"site_id": site_id}
    known = {one: tuple(label) for one, label in connection.execute(SQL.named, site)}
    before = dict(connection.execute(SQL.members, site).fetchall())
    kept = {one: known[one] for one in _staying(before, placed) if known.get(one)}
    said = _said(connection, site_id, _typical(placed))
    return labels.labels(said, kept)


def _staying(before: Mapping[int, int], placed: Placed) -> set[int]:
    """The clusters of which half the products, before and now together, are in both."""
    now = dict(zip(placed.product_nos.tolist(), placed.cluster_ids.tolist(), strict=True))
    sizes, new = Counter(before.values()), Counter(now.values())
    same = Counter(one for number, one in before.items() if now.get(number) == one)
    return {one for one, count in same.items() if count >= STAYED * (sizes[one] + new[one] - count)}


def _typical(placed: Placed) -> dict[int, list[int]]:
    """By cluster the products nearest to its centre."""
    order = np.lexsort((placed.product_nos, -placed.likeness))
    found: dict[int, list[int]] = {}
    for at in order:
        some = found.setdefault(int(placed.cluster_ids[at]), [])
        if len(some) < TYPICAL:
            some.append(int(placed.product_nos[at]))
    return found


def _said(
    connection: Connection, site_id: int, typical: Mapping[int, Sequence[int]]
) -> dict[int, list[labels.Said]]:
    """The words of each cluster's typical products, read cluster by cluster."""
    found = {}
    for cluster, numbers in typical.items():
        parameters = {"site_id": site_id, "product_nos": int_array(numbers)}
        records = dict(connection.execute(SQL.records, parameters).fetchall())
        found[cluster] = [labels.said(records[one]) for one in numbers if one in records]
    return found


# Postgres -----------------------------------------------------------------------------------------

_cache: dict[tuple[str, int], tuple[int, Centres]] = {}
_cache_lock = threading.Lock()
MOST_CACHED = 64  # sites, of some 300 kB


def _site(connection: Connection, site_id: int) -> Site:
    row = connection.execute(SQL.site, {"site_id": site_id}).fetchone()
    return Site(*row) if row else Site()


def _count(connection: Connection, model: Model) -> int:
    statement = SQL.fill("count", vectors=model.vectors)
    row = connection.execute(statement, {"site_id": model.site_id}).fetchone()
    return int(row[0]) if row else 0


def _known_centres(connection: Connection, model: Model) -> Centres | None:
    """Where the site's clusters lie in the space of this model; None where it has none there."""
    site = _site(connection, model.site_id)
    if not site.fitted_on or site.model_id != model.model_id:
        return None
    key = (connection.info.dbname, model.site_id)
    known = _cache.get(key)
    if known and known[0] == site.version:
        return known[1]
    centres = _read_centres(connection, model.site_id)
    with _cache_lock:
        if len(_cache) >= MOST_CACHED:
            _cache.clear()
        _cache[key] = (site.version, centres)
    return centres


def _read_centres(connection: Connection, site_id: int) -> Centres:
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(SQL.centres, {"site_id": site_id}).fetchall()
    return Centres(
        np.array([one for one, _ in rows]),
        np.stack([vector.to_numpy() for _, vector in rows]).astype(np.float32),
    )


def _write(
    connection: Connection,
    model: Model,
    centres: Centres,
    placed: Placed,
    names: Mapping[int, Label],
    site: Site,
) -> None:
    some = np.isin(centres.ids, list(names))
    ids = centres.ids[some].tolist()
    rows = [
        {"cluster_id": one, "label": SEPARATOR.join(names[one]), "words": names[one]} for one in ids
    ]
    where = {"site_id": model.site_id}
    kept = {
        "rows": database.jsonb(rows),
        "cluster_ids": ids,
        "centres": [HalfVector(one) for one in centres.vectors[some]],
    }
    fitted = {
        "model_id": model.model_id,
        "fitted_on": len(placed.product_nos),
        "last_id": max([site.last_id, *ids]),
    }
    connection.execute(SQL.write, where | kept)
    # Piece by piece: a row that is being written holds up whoever encodes its product, and that
    # holds up uploads.
    _write_members(connection, model.site_id, placed)
    with connection.transaction():
        connection.execute(SQL.drop_others, where | {"kept": int_array(ids)})
        connection.execute(SQL.write_site, where | fitted)


def _write_members(connection: Connection, site_id: int, placed: Placed) -> None:
    for at in range(0, len(placed.product_nos), WRITTEN_AT_ONCE):
        part = slice(at, at + WRITTEN_AT_ONCE)
        parameters = {
            "site_id": site_id,
            "product_nos": int_array(placed.product_nos[part].tolist()),
            "cluster_ids": int_array(placed.cluster_ids[part].tolist()),
            "likeness": _real_array(placed.likeness[part].tolist()),
        }
        connection.execute(SQL.write_members, parameters)


def _real_array(values: Iterable[float]) -> str:
    return f"{{{','.join(f'{value:.4f}' for value in values)}}}"
