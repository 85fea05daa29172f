"""An endless day of a shop: messages with ids and times of their own, so that any order and any
number of copies of them must come to the same state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from tests.connectors.signing import segment as signature
from tests.faults.installation import Installation, Keys
from tests.faults.senders import Headers, Sender

VISITORS = 40
USERS = 12
PRODUCTS = 60
EVENTS = ("Product Viewed", "Product Added", "Product Removed", "Products Searched")
BEGAN = datetime.now(UTC).replace(microsecond=0)

Records = list[dict[str, Any]]


def senders(at: Installation, keys: Keys, seed: int = 0) -> list[Sender]:
    """Two of Segment's single messages, one of its batches, one each of interactions, products."""
    signed, secret = _signed(keys), _with_key(keys)
    path, port = keys.segment_path, at.port
    return [
        Sender(port, path, signed, messages(Random(seed + 1), "one"), _alone),
        Sender(port, path, signed, messages(Random(seed + 2), "two"), _alone),
        Sender(port, path, signed, batches(Random(seed + 3)), _array),
        Sender(port, "/v1/interactions", secret, interactions(Random(seed + 4)), _data),
        Sender(port, "/v1/products", secret, products(Random(seed + 5)), _data),
    ]


def message_id(record: dict[str, Any]) -> str:
    """Names a record's message whichever door it came through."""
    sent: str = record.get("messageId") or record["context"]["custom_context"]["uuid"]
    return sent


def records_of(body: bytes) -> Records:
    """The records of a body of any of these senders."""
    sent = json.loads(body)
    found: Records = sent if isinstance(sent, list) else sent.get("data", [sent])
    return found


# messages ---------------------------------------------------------------------------------------


def messages(random: Random, name: str = "single") -> Iterator[Records]:
    number = 0
    while True:
        number += 1
        yield [_message(random, f"{name}-{number}")]


def batches(random: Random) -> Iterator[Records]:
    """1 to 150 messages, a tenth of them sent before."""
    sent: Records = []
    number = 0
    while True:
        size = random.choice((1, 5, 30, 60, 150))
        fresh = [_message(random, f"batch-{number + n}") for n in range(size)]
        number += size
        again = random.sample(sent, min(len(sent), size // 10))
        sent = [*sent[-500:], *fresh]
        batch = [*fresh, *again]
        random.shuffle(batch)
        yield batch


def _message(random: Random, name: str) -> dict[str, Any]:
    kind = random.random()
    user, visitor = f"u{random.randrange(USERS)}", f"a{random.randrange(VISITORS)}"
    common = {"messageId": name, "timestamp": _time(random)}
    if kind < 0.06:
        traits = {"age": random.randrange(20, 60)}
        return common | {
            "type": "identify", "userId": user, "anonymousId": visitor, "traits": traits
        }  # fmt: skip
    if kind < 0.08:
        return common | {"type": "alias", "previousId": visitor, "userId": user}
    who = {"anonymousId": visitor} | ({"userId": user} if kind > 0.8 else {})
    if kind > 0.96:
        return common | who | _order(random, name)
    event = random.choice(EVENTS)
    if event == "Products Searched":
        properties: dict[str, Any] = {"query": f"word {random.randrange(9)}"}
    else:
        properties = _item(random)
    return common | who | {"type": "track", "event": event, "properties": properties}


def _item(random: Random) -> dict[str, Any]:
    number = random.randrange(PRODUCTS)
    return {
        "product_id": f"p{number}",
        "name": f"Mug {number} of colour {random.randrange(3)}",
        "price": random.randrange(1, 99),
        "currency": "EUR",
    }


def _order(random: Random, name: str) -> dict[str, Any]:
    lines = [_item(random) | {"quantity": random.randrange(1, 4)} for _ in range(3)]
    properties = {"order_id": f"order-{name}", "total": 42.5, "currency": "EUR", "products": lines}
    return {"type": "track", "event": "Order Completed", "properties": properties}


def interactions(random: Random) -> Iterator[Records]:
    while True:
        yield [
            {
                "type": random.choice(("product_detail_page_view", "add_to_cart", "like")),
                "product_ids": [f"p{random.randrange(PRODUCTS)}"],
                "anonymous_id": f"a{random.randrange(VISITORS)}",
                "timestamp": _time(random),
                "context": {"custom_context": {"uuid": str(UUID(int=random.getrandbits(128)))}},
            }
            for _ in range(random.choice((1, 10, 80)))
        ]


def products(random: Random) -> Iterator[Records]:
    while True:
        yield [
            {
                "product_id": f"p{random.randrange(PRODUCTS)}",
                "title": f"Uploaded mug {random.randrange(9)}",
                "sale_price": random.randrange(1, 99),
                "updated_at": _time(random),
            }
            for _ in range(random.choice((1, 20)))
        ]


def _time(random: Random) -> str:
    return (BEGAN - timedelta(seconds=random.randrange(1, 86_400))).isoformat()


# the wire ---------------------------------------------------------------------------------------


def _alone(records: Records) -> bytes:
    return _compact(records[0])


def _array(records: Records) -> bytes:
    return _compact(records)


def _data(records: Records) -> bytes:
    return _compact({"data": records})


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _signed(keys: Keys) -> Headers:
    """Segment signs a batch by its first message alone."""

    def headers(body: bytes) -> dict[str, str]:
        records = json.loads(body)
        text = _compact(records[0]) if isinstance(records, list) else body
        return signature(text, keys.segment_secret)

    return headers


def _with_key(keys: Keys) -> Headers:
    return lambda body: {"X-API-KEY": keys.secret_key, "Content-Type": "application/json"}
