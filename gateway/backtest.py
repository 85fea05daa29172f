"""What the real pipeline would have shown: an archive played into a scratch schema, then asked.

The catalog and the training part go through `ingest`, texts through the encoder, the model through
its fit; each test session is a fresh anonymous visitor asked about at the cut. Simple methods rank
the same instances. The command line calls `run`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
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
from ranking.catalog import embeddings, fitting, neighbours, popularity
from ranking.catalog.encoder import Encoder
from ranking.question import Question
from ranking.training import evaluate, judged
from ranking.training.baselines import Vectors
from ranking.training.clickstream import Click, Instance, Split
from ranking.training.evaluate import Lists
from ranking.training.judged import Judged, Told
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError
from schemas.facts import Event

SITE = "backtest"
PRODUCTS_A_BODY = 500
EVENTS_A_BODY = 1000


class BadArchive(AttuneError):
    """A line of the archive that the pipeline refuses."""


class Busy(AttuneError):
    """Another training runs in this database, and one runs at a time."""

    def __init__(self) -> None:
        super().__init__("another training runs, and one runs at a time: try again once it ended")


@dataclass(frozen=True)
class Scratch:
    """A site of its own in a schema that is dropped afterwards."""

    pool: ConnectionPool[Connection]
    site_id: int
    source: Source


def run(
    settings: Settings,
    catalog: list[dict[str, Any]],
    split: Split,
    cut: datetime,
    told: Told,
    *,
    simple: Sequence[str] = judged.SIMPLE,
    seeds: int = 1,
) -> Judged:
    """What ours and the simple methods list for the test sessions; nothing of it is kept. Ours is
    trained anew with each of so many seeds."""
    ids = [str(item["product_id"]) for item in catalog]
    with scratch(settings, cut, split) as site:
        load(site, catalog, split, cut, told)
        with site.pool.connection() as connection:
            connection.execute("set statement_timeout = 0")
            instances = judged.instances_of(split)
            lists, trainings = ours(connection, site.site_id, cut, instances, told, seeds=seeds)
            texts = text_vectors(connection, site.site_id)
            found = judged.judge(ids, split, cut.timestamp(), lists, texts, told, simple=simple)
            return replace(found, trainings=trainings)


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
        neighbours.refresh(connection, site.site_id, cut)


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


def ours(
    connection: Connection,
    site_id: int,
    cut: datetime,
    instances: Mapping[int, list[Instance]],
    told: Told,
    *,
    seeds: int = 1,
) -> tuple[dict[str, dict[int, list[Lists]]], list[dict[str, Any]]]:
    """Our lists by method and k, before anything is trained and after, with each of so many seeds;
    and the reports of the trainings.

    A training is the trainer role's: what it does not prove to be better never answers. Raises
    Busy where another one runs.
    """
    ask = partial(_ranked, connection, site_id, cut, told)
    untrained = {k: [ask(judged.UNTRAINED, some)] for k, some in instances.items()}
    trained: dict[int, list[Lists]] = {k: [] for k in instances}
    trainings = []
    for seed in range(seeds):
        learning.forget(connection, site_id)
        report = learning.train(connection, site_id, cut, seed=seed, told=told)
        if report["outcome"] == "busy":
            raise Busy
        trainings.append(report)
        is_live = report["outcome"] == "promoted"
        for k, some in instances.items():
            # Of somebody unknown no training knows more.
            same = untrained[k][0] if not is_live or not k else None
            trained[k].append(same or ask(f"{judged.OURS}, seed {seed}", some))
    return {judged.OURS: trained, judged.UNTRAINED: untrained}, trainings


def _ranked(
    connection: Connection,
    site_id: int,
    cut: datetime,
    told: Told,
    name: str,
    instances: Sequence[Instance],
) -> Lists:
    lists = []
    for number, instance in enumerate(instances, 1):
        lists.append(listed(connection, site_id, instance, cut, evaluate.LIST_LENGTH))
        if number % 100 == 0 or number == len(instances):
            told(f"{name}, k = {instance.k}", number, len(instances))
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


def text_vectors(connection: Connection, site_id: int) -> Vectors:
    """The served text vectors by product id; none where the catalog has no text."""
    model = embeddings.live(connection, site_id)
    statement = sql.SQL(
        "select p.product_id, v.vector from {} v "
        "join products p using (site_id, product_no) where site_id = %s order by 1"
    ).format(model.vectors)
    rows = connection.execute(statement, [site_id]).fetchall()
    return {product_id: vector.to_numpy().astype(np.float32) for product_id, vector in rows}
