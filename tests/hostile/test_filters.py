"""`fq` as anybody may write it, through the route: an answer or a sentence, never a 5xx."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import embeddings
from tests.conftest import Shop
from tests.hostile.calls import rows_of, stocked
from tests.ranking.market import Words

ROUTES = ("user_to_products", "user_to_trending", "user_to_history", "product_to_products")
LONGEST_S = 5.0

HOSTILE = [
    "(", ")", "()", "((((", '"', "'", "\\", 'brand:"', "brand:", ":", ":x", "AND", "NOT", "OR OR",
    "NOT NOT NOT brand:a", "brand:a AND", "a b c", "*", "*:*", "brand:*", "brand:a*b*c*", "-", "--",
    "brand:\0", "\0", "brand:'; drop table products; --", 'brand:"\\"', "brand:%s",
    "brand:%(site)s",
    "brand:{where}", "{vectors}", "brand:a) or (true", "1=1", "sale_price:[", "sale_price:[1 TO",
    "sale_price:[1 TO 2", "sale_price:[* TO *]", "sale_price:[a TO b]", "sale_price:[NaN TO 1]",
    "sale_price:[1e400 TO *]", "sale_price:[-1e308 TO 1e308]", "sale_price:" + "9" * 4000,
    "sale_price:[" + "9" * 400 + " TO *]", "sale_price:{1 TO 2}", "rating:[2 TO 1]", "rating:1e999",
    "created_at:[NOW TO *]", "created_at:[0000-00-00 TO *]", "created_at:[9999999-01-01 TO *]",
    "created_at:[2026-13-45T99:99:99Z TO *]", "created_at:\u0661\u0662", "sale_price:\u0661",
    "brand:\ud83d\ude00", "brand:\U0001f45c", "\u202ebrand:a", "brand\uff1aa", "br\u0430nd:a",
    "custom_attributes.:x", "custom_attributes.a.b.c:x", "custom_attributes." + "a" * 3000 + ":x",
    "__class__:x", "site_id:1", "product_no:1", "record:x", "terms:1", "nosuchfield:x",
    "brand:" + "x" * 9000, "x" * 100_000, "(" * 5000 + "brand:a" + ")" * 5000,
    "NOT " * 2000 + "brand:a", " OR ".join(f"brand:b{n}" for n in range(800)),
    " AND ".join(f"brand:b{n}" for n in range(600)), " OR ".join(["sale_price:[1 TO 2]"] * 200),
    "brand:(" + " OR ".join(f"b{n}" for n in range(900)) + ")", "brand:/(a+)+$/", "brand:a~2",
    "brand:a^2", "_query_:x", "{!func}x", "brand:a\nAND\rsale_price:1", "\t", " ",
    "available:maybe",
]  # fmt: skip


def ask(client: FlaskClient, shop: Shop, route: str, fq: Any) -> int:
    """The status of the answer, which must be quick and say what is wrong."""
    began = time.monotonic()
    answer = client.post(
        f"/v1/recommendation/{route}",
        data=json.dumps({"anonymous_id": "a1", "fq": fq} | about(route)),
        headers={"X-API-KEY": shop.publishable_key},
    )
    assert time.monotonic() - began < LONGEST_S, fq
    assert answer.status_code in (200, 422), f"{fq!r}: {answer.text}"
    if answer.status_code == 422:
        told: Any = answer.json
        assert told["problems"][0]["pointer"] == "/fq"
        assert told["problems"][0]["message"]
        assert told["detail"][0]["loc"] == ["body", "fq"]
    return answer.status_code


def about(route: str) -> dict[str, str]:
    return {"product_id": "p1"} if route.startswith("product") else {}


@pytest.fixture
def encoded(client: FlaskClient, shop: Shop) -> Shop:
    """A site whose products have vectors, so that every filter meets rows."""
    stocked(client, shop)
    with shop.pool.connection() as connection:
        assert embeddings.drain(connection, shop.site.site_id, Words()) == 2
    return shop


@pytest.mark.parametrize("fq", HOSTILE, ids=lambda fq: ascii(fq)[:40])
def test_a_hostile_filter_is_answered_or_explained(
    client: FlaskClient, encoded: Shop, fq: str
) -> None:
    before = rows_of(encoded, "answers", "profiles", "queries")
    assert len({ask(client, encoded, route, fq) for route in ROUTES}) == 1
    assert rows_of(encoded, "answers", "profiles", "queries") == before


words = st.sampled_from(
    ["brand", "title", "sale_price", "rating", "available", "created_at", "tags", "a", "*", "NOW",
     ":", "[", "]", "{", "}", "(", ")", "AND", "OR", "NOT", "TO", '"', "\\", "-", "+", "1", "-2.5",
     "1e9", "2026-01-01T00:00:00Z", " ", "custom_attributes.x", "\0", "\u00e9"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fq=st.text(max_size=60) | st.lists(words, max_size=14).map(" ".join)
       | st.lists(words, max_size=14).map("".join))  # fmt: skip
def test_no_text_is_a_server_error(client: FlaskClient, encoded: Shop, fq: str) -> None:
    ask(client, encoded, "user_to_products", fq)
