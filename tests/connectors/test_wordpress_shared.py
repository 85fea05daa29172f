"""Every captured delivery against the table of outcomes; prints the counts (-s)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from connectors.wordpress.receive import authenticate, is_ping
from tests.connectors import wordpress_outcomes as expected
from tests.connectors.reading import outcome, outcomes
from tests.connectors.wordpress_deliveries import FOLDER, Delivery, deliveries, needed

pytestmark = needed
# As nothing of this is collected where the files are not.
CAPTURED = deliveries() if FOLDER.exists() else []
PING = "001"
SIGNED = [one for one in CAPTURED if one.number != PING]
PERSONAL = (
    "@example.com", "lovelace", "weg 2", "invalidenstr", "030 1", "+49301234", "10117", "10115",
    "wc_order_", "127.0.0.1\"", "mozilla", "gravatar", "ring twice", "hidden",
)  # fmt: skip


def words(one: Delivery) -> str:
    """What a delivery became, as the table says it."""
    if is_ping(one.lowered, one.body):
        return "ping"
    [result] = outcomes("wordpress", one.body, {}, one.lowered)
    if isinstance(result, dict):
        return next(iter(result))
    return ", ".join(map(word, result))


def word(fact: dict[str, Any]) -> str:
    match fact["fact"]:
        case "order":
            return f"{fact['told']} {fact['order_id']}"
        case "removed":
            return f"removed {fact['kind']} {fact['id']}"
        case kind:
            return f"{kind} {fact['record'][f'{kind}_id']}"


def test_each_delivery_becomes_what_the_reference_says() -> None:
    found = {one.number: words(one) for one in CAPTURED}
    print(f"\n{dict(Counter(said.partition(' ')[0] for said in found.values()).most_common())}")
    assert found == expected.OUTCOMES


@pytest.mark.parametrize("one", SIGNED, ids=lambda one: one.number)
def test_each_is_authentic_and_not_with_a_byte_less(one: Delivery) -> None:
    assert hashlib.sha256(one.body).hexdigest() == one.body_sha256
    assert authenticate(one.headers, one.body, ["another", one.secret])
    assert not authenticate(one.headers, one.body[:-1], [one.secret])
    assert not authenticate(one.headers, one.body, ["another"])


def test_the_ping_is_known_and_not_authentic() -> None:
    [ping] = [one for one in CAPTURED if one.number == PING]
    assert is_ping(ping.lowered, ping.body)
    assert not authenticate(ping.headers, ping.body, [ping.secret])
    assert not any(is_ping(one.lowered, one.body) for one in SIGNED)


def test_nothing_personal_is_in_any_fact() -> None:
    found = [outcomes("wordpress", one.body, {}, one.lowered) for one in SIGNED]
    orders = [fact for [facts] in found for fact in facts if isinstance(fact, dict)]
    for fact in orders:
        text = json.dumps(fact, ensure_ascii=False).lower()
        names = ("lovelace",) if fact["fact"] == "user" else ()
        assert [part for part in PERSONAL if part in text and part not in names] == []


# the same shapes over REST -----------------------------------------------------------------------


def listed(name: str) -> list[Any]:
    answer = json.loads((FOLDER / "rest" / f"{name}.json").read_text(encoding="utf-8"))
    records = answer["body"]
    return json.loads(records) if isinstance(records, str) else records


def facts(topic: str, record: Any, **settings: Any) -> Any:
    return outcome("wordpress", record, settings, topic=topic)


def test_the_sample_catalog_is_all_products_but_the_hidden_one() -> None:
    catalog = listed("sample-catalog-page-1") + listed("sample-catalog-page-2")
    found = [facts("product.updated", record, currency="EUR")[0] for record in catalog]
    kinds = Counter((fact["fact"], fact.get("record", {}).get("type")) for fact in found)
    print(f"\n{dict(kinds)}")
    hidden = [str(one["id"]) for one in catalog if one["catalog_visibility"] == "hidden"]
    assert [fact["id"] for fact in found if fact["fact"] == "removed"] == hidden
    assert len(found) == 18
    for fact in found:
        if fact["fact"] == "product":
            assert fact["record"]["original_price"] > 0
            assert fact["record"]["custom_attributes"]["currency"] == "EUR"


def test_a_post_over_rest_is_a_product() -> None:
    [[fact], *_] = [facts("post.updated", record) for record in listed("wp-posts")]
    assert fact["record"]["title"] == "Hello world!"
    assert fact["record"]["type"] == "post"
    assert fact["record"]["description"].startswith("Welcome to WordPress.")
    assert fact["record"]["categories"] == [["Uncategorized"]]
    assert fact["record"]["authors"] == ["owner"]
    assert fact["as_of"] == "2026-11-24T05:42:15+00:00"
