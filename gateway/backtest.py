"""What the real pipeline would have shown: an archive played into a scratch schema, then asked.

The catalog and the training part go through `ingest`, texts through the encoder, the model through
its fit; each test session is a fresh anonymous visitor asked about at the cut. Baselines rank the
same instances. The command line calls `run`.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from gateway import access, ingest, learning
from gateway.access import Source
from gateway.importing import common_format
from gateway.settings import Settings
from ranking import answer as answering
from ranking.catalog import embeddings, fitting, popularity
from ranking.catalog.encoder import Encoder
from ranking.question import Question
from ranking.training import evaluate
from ranking.training.clickstream import HORIZONS, Click, Instance, Split
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError
from schemas.facts import Event

SITE = "backtest"
PRODUCTS_A_BODY = 500
EVENTS_A_BODY = 1000
POPULARITY_WINDOW_S = 7 * 86400
TEXT_DECAY = 0.8  # a step back, of the text-whitened baseline

Told = Callable[[str, int, int], None]  # (stage, done, of)
Lists = list[list[str]]


class BadArchive(AttuneError):
    """A line of the archive that the pipeline refuses."""


@dataclass(frozen=True)
class Scratch:
    """A site of its own in a schema that is dropped afterwards."""

    pool: ConnectionPool[Connection]
    site_id: int
    source: Source


def run(
    settings: Settings, catalog: list[dict[str, Any]], split: Split, cut: datetime, told: Told
) -> list[dict[str, Any]]:
    """One result a method and k, as `evaluate.results` gives them; nothing of it is kept."""
    ids = [str(item["product_id"]) for item in catalog]
    seen = {click.product_id for click in split.train}
    cold = frozenset(ids) - seen
    by_horizon = {k: split.instances(k) for k in HORIZONS}
    with scratch(settings, cut, split) as site:
        load(site, catalog, split, cut, told)
        learn(site, cut, told)
        methods: dict[str, Callable[[Sequence[Instance]], Lists]] = {
            "attune": lambda instances: _attune(site, instances, cut, told),
            "popularity-7d": lambda instances: _popular(ids, split, cut, instances),
        }
        texts = text_vectors(site)
        if texts:
            methods["text-whitened"] = lambda instances: _by_text(texts, instances)
        return [
            evaluate.results(name, k, instances, rank(instances), catalog_size=len(ids), cold=cold)
            for name, rank in methods.items()
            for k, instances in by_horizon.items()
            if instances and (k or name != "text-whitened")
        ]


@contextmanager
def scratch(settings: Settings, cut: datetime, split: Split) -> Iterator[Scratch]:
    """A migrated schema beside the live one, dropped at the end whatever happens."""
    name = f"backtest_{secrets.token_hex(4)}"
    schema = sql.Identifier(name)
    url = make_conninfo(settings.database_url, options=f"-c search_path={name},public")
    first = min((click.ts for click in split.train), default=cut.timestamp())
    age = cut - datetime.fromtimestamp(first, UTC)
    with database.connect(settings.database_url) as connection:
        connection.execute("create extension if not exists vector")
        connection.execute(sql.SQL("create schema {}").format(schema))
    try:
        database.migrate(url, at=cut, events_days=min(age.days + 1, settings.retention_events_days))
        with database.open_pool(
            url, size=2, options=database.INGEST_OPTIONS, name="backtest"
        ) as pool:
            yield Scratch(pool, *_site(pool))
    finally:
        access.forget()
        with database.connect(settings.database_url) as connection:
            _drop(connection, name)


def _site(pool: ConnectionPool[Connection]) -> tuple[int, Source]:
    with pool.connection() as connection:
        access.create_site(connection, SITE)
        site_id = access.site(connection, SITE).site_id
        return site_id, access.api_source(connection, site_id)


def _drop(connection: Connection, schema: str) -> None:
    """Table by table: one DROP SCHEMA would need more locks than Postgres grants by default."""
    tables = connection.execute(
        "select relname from pg_class where relnamespace = %s::regnamespace "
        "and relkind in ('r', 'p') order by relispartition desc",
        [schema],
    ).fetchall()
    for (table,) in tables:
        connection.execute(
            sql.SQL("drop table if exists {} cascade").format(sql.Identifier(schema, table))
        )
    connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))


# loading ----------------------------------------------------------------------------------------


def load(
    site: Scratch, catalog: list[dict[str, Any]], split: Split, cut: datetime, told: Told
) -> None:
    """Play the catalog and the training part through `ingest`, encode and fit."""
    products = [common_format.product(item) for item in catalog]
    _upload(site, "products", products, PRODUCTS_A_BODY, cut, told)
    with site.pool.connection() as connection:
        embeddings.drain(
            connection,
            site.site_id,
            Encoder(),
            lambda done, total: told("encoding", done, total),
        )
        fitting.fit(connection, site.site_id)
    interactions = [common_format.interaction(click._asdict()) for click in split.train]
    _upload(site, "interactions", interactions, EVENTS_A_BODY, cut, told)
    with site.pool.connection() as connection:
        popularity.refresh(connection, site.site_id, cut)


def learn(site: Scratch, cut: datetime, told: Told) -> dict[str, Any]:
    """Train on the training part, as the trainer role does; the report. What is proved better
    answers from then on."""
    with site.pool.connection() as connection:
        connection.execute("set statement_timeout = 0")
        return learning.train(connection, site.site_id, cut, told=told)


def _upload(
    site: Scratch, topic: str, records: list[dict[str, Any]], size: int, at: datetime, told: Told
) -> None:
    for start in range(0, len(records), size):
        batch = records[start : start + size]
        body = msgspec.json.encode({"data": batch})
        receipt = ingest.deliver(
            site.pool, site.source, topic=topic, headers={}, body=body, received_at=at
        )
        if receipt.refused or receipt.failed:
            problem = receipt.error or receipt.problems[0].reason
            raise BadArchive(f"the archive's {topic} are not all valid: {problem}")
        told(topic, start + len(batch), len(records))


# methods ----------------------------------------------------------------------------------------


def _attune(site: Scratch, instances: Sequence[Instance], cut: datetime, told: Told) -> Lists:
    """The lists that `user_to_products` gives a visitor of whom only the context is known."""
    lists = []
    with site.pool.connection() as connection:
        for number, instance in enumerate(instances, 1):
            lists.append(listed(connection, site.site_id, instance, cut, evaluate.LIST_LENGTH))
            if number % 100 == 0 or number == len(instances):
                told(f"lists at k = {instance.k}", number, len(instances))
    return lists


def listed(
    connection: Connection, site_id: int, instance: Instance, at: datetime, rows: int
) -> list[str]:
    """What `user_to_products` gives a stranger of whom only the context is known."""
    question = Question(
        site_id=site_id,
        strategy="recommend",
        at=at,
        rows=rows,
        additional=[event(click, at) for click in instance.context],
    )
    found = answering.answer(connection, question, remember=False)
    return [product.product_id for product in found.products]


def event(click: Click, at: datetime) -> Event:
    """A click of a context as it happens now."""
    kind = common_format.TYPES.get(click.type, click.type)
    return Event(
        type="purchase" if kind == "checkout" else kind,
        anonymous_id=click.session_id,
        occurred_at=at,
        product_ids=[click.product_id],
        rating=click.rating,
    )


def _popular(ids: list[str], split: Split, cut: datetime, instances: Sequence[Instance]) -> Lists:
    """Events of the last seven days of the training part; ties by all of it."""
    since = cut.timestamp() - POPULARITY_WINDOW_S
    recent = Counter(click.product_id for click in split.train if click.ts >= since)
    ever = Counter(click.product_id for click in split.train)
    ranked = sorted(ids, key=lambda product_id: (-recent[product_id], -ever[product_id]))
    return [without(ranked, instance) for instance in instances]


def _by_text(texts: dict[str, np.ndarray[Any, Any]], instances: Sequence[Instance]) -> Lists:
    """Nearest to the recency-weighted mean of the context's half-whitened text vectors."""
    ids = list(texts)
    matrix = np.stack([texts[product_id] for product_id in ids])
    lists = []
    for instance in instances:
        known = [click.product_id for click in instance.context if click.product_id in texts]
        weights = TEXT_DECAY ** np.arange(len(known))[::-1]
        mean = sum(
            (weight * texts[one] for weight, one in zip(weights, known, strict=True)),
            np.zeros(matrix.shape[1]),
        )
        order = np.argsort(-(matrix @ mean), kind="stable")[: evaluate.LIST_LENGTH + instance.k]
        lists.append(without([ids[n] for n in order], instance))
    return lists


def without(ranked: Sequence[str], instance: Instance) -> list[str]:
    """The first 20 that the context does not hold."""
    context = {click.product_id for click in instance.context}
    first = ranked[: evaluate.LIST_LENGTH + len(context)]
    return [one for one in first if one not in context][: evaluate.LIST_LENGTH]


def text_vectors(site: Scratch) -> dict[str, np.ndarray[Any, Any]]:
    """The served text vectors by product id; none where the catalog has no text."""
    with site.pool.connection() as connection:
        model = embeddings.live(connection, site.site_id)
        rows = connection.execute(
            sql.SQL(
                "select p.product_id, v.vector from {} v "
                "join products p using (site_id, product_no) where site_id = %s order by 1"
            ).format(model.vectors),
            [site.site_id],
        ).fetchall()
    return {product_id: vector.to_numpy().astype(np.float32) for product_id, vector in rows}
