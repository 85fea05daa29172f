"""A site of its own to ask for lists in: products with vectors, visitors who did something.

Everything is written as the doors write it; only the encoder is a small one of words, so that a
test can see from two titles how near their products are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from gateway import access, apply, effects, reading, sealing
from gateway.access import Site, Source
from ranking.answer import Answer, answer
from ranking.catalog import embeddings, queries
from ranking.question import Question, Search
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from ranking.visitors.profile import Profile
from schemas.database import Connection
from tests.conftest import SECRET_KEY

NOW = datetime.now(UTC)
# What `ask` takes of a search, its text as `query`.
SEARCH = ("query", *(one.name for one in fields(Search) if one.name != "text"))


class Words:
    """Encodes a text as the mean of one random direction a word."""

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> np.ndarray[Any, Any]:
        total = np.sum([self._word(word) for word in text.lower().split()], axis=0)
        return (total / np.linalg.norm(total)).astype(np.float32)

    def _word(self, word: str) -> np.ndarray[Any, Any]:
        seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
        direction = np.random.default_rng(seed).normal(size=384)
        return direction / np.linalg.norm(direction)


@dataclass
class Market:
    """One site; `now` is the time of every question and, minute by minute, of every event."""

    connection: Connection
    site: Site
    source: Source
    now: datetime = NOW
    minutes: int = field(default=0)

    @property
    def site_id(self) -> int:
        return self.site.site_id

    def stock(self, *titles: str, encode: bool = True, **fields: Any) -> list[str]:
        """Products whose id is their title; returns the ids."""
        for title in titles:
            self.product(title, encode=False, **fields)
        if encode:
            self.encode()
        return list(titles)

    def product(self, product_id: str, *, encode: bool = True, **fields: Any) -> str:
        """One product, its title being its id unless said otherwise."""
        record = {"product_id": product_id, "title": product_id, **fields}
        self.post("products", record)
        if encode:
            self.encode()
        return product_id

    def remove(self, product_id: str) -> None:
        body = {"data": {"product_ids": [product_id]}}
        self.deliver("products/_delete", json.dumps(body).encode())

    def encode(self) -> None:
        """What the encoder role does."""
        embeddings.drain(self.connection, self.site_id, Words())

    def happens(self, visitor: str, *events: tuple[str, str] | dict[str, Any]) -> None:
        """Events of an anonymous visitor, a minute apart: (type, product id) or a whole one."""
        for event in events:
            self.minutes += 1
            whole = event if isinstance(event, dict) else a_interaction(*event)
            at = self.now - timedelta(hours=6) + timedelta(minutes=self.minutes)
            self.post(
                "interactions", {"anonymous_id": visitor, "timestamp": at.isoformat()} | whole
            )

    def searches(self, visitor: str, text: str) -> None:
        """A search, whose words somebody has searched for before."""
        queries.vectors(self.connection, self.site_id, [text], encodes=Words())
        self.happens(visitor, {"type": "search", "search": {"keywords": text}})

    def popular(self, *product_ids: str) -> None:
        """These are the most popular ones, the first one most."""
        numbers = self.numbers()
        for rank, product_id in enumerate(product_ids):
            share = float(len(product_ids) - rank)
            self.connection.execute(
                "insert into popularity values (%s, %s, %s, %s, %s)",
                [self.site_id, numbers[product_id], share, 100 - share, self.now],
            )

    def numbers(self) -> dict[str, int]:
        rows = self.connection.execute(
            "select product_id, product_no from products where site_id = %s", [self.site_id]
        )
        return dict(rows.fetchall())

    def actor(self, visitor: str, kind: str = "anonymous") -> UUID:
        return actor_id(self.site.pepper, kind, visitor)

    def profile(self, visitor: str, kind: str = "anonymous", **more: Any) -> Profile:
        actor = self.actor(visitor, kind)
        return profile.current(self.connection, self.site_id, actor, at=self.now, **more)

    def ask(self, visitor: str | None = None, strategy: str = "recommend", **more: Any) -> Answer:
        """The answer to a question about that visitor; a query counts by its words' directions."""
        if more.get("query"):
            queries.vectors(self.connection, self.site_id, [more["query"]], encodes=Words())
        search = {name: more.pop(name) for name in SEARCH if name in more}
        actor = self.actor(visitor) if visitor else None
        question = Question(
            site_id=self.site_id,
            strategy=strategy,
            at=more.pop("at", self.now),
            search=Search(text=search.pop("query", ""), **search),
            **{"actor": actor, **more},
        )
        return answer(self.connection, question)

    def list(
        self, visitor: str | None = None, strategy: str = "recommend", **more: Any
    ) -> list[str]:
        """The ids of that answer."""
        return ids(self.ask(visitor, strategy, **more))

    def post(self, topic: str, *records: dict[str, Any]) -> None:
        self.deliver(topic, json.dumps({"data": records}).encode())

    def deliver(self, topic: str, body: bytes) -> None:
        """Apply a body as `ingest` does, inside the test's own transaction."""
        records = reading.read("api", topic, body, self.source.settings, {}, self.now)
        self.now += timedelta(milliseconds=1)
        incoming = effects.Incoming(self.source, topic, {}, body, self.now, uuid4())
        receipt = apply.apply(self.connection, incoming, records)
        assert receipt.outcome == "applied", receipt


def a_interaction(type: str, product_id: str) -> dict[str, Any]:
    """An interaction with one product."""
    return {"type": type, "product_ids": [product_id]}


def ids(answer: Answer) -> list[str]:
    """The products of an answer."""
    return [product.product_id for product in answer.products]


def open_market(connection: Connection, name: str = "market") -> Market:
    """A new site on this connection, whose transaction it begins: blocks inside are savepoints."""
    connection.execute("select 1")
    sealing.unlock(SECRET_KEY)
    access.create_site(connection, name)
    site = access.site(connection, name)
    return Market(connection, site, access.api_source(connection, site.site_id))
