"""The captured deliveries of WooCommerce, which lie beside the repository."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.connectors.reading import SHARED

FOLDER = SHARED / "wordpress"
needed = pytest.mark.skipif(not FOLDER.exists(), reason="the shared fixtures are not here")


@dataclass(frozen=True)
class Delivery:
    """One request of a shop, as it came."""

    number: str
    secret: str
    headers: dict[str, str]
    body: bytes
    body_sha256: str
    received_at: datetime

    @property
    def lowered(self) -> dict[str, str]:
        """Its headers with names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}


def deliveries() -> list[Delivery]:
    """All of them in the order in which they came."""
    index = FOLDER / "deliveries" / "index.json"
    return [_delivery(one["file"]) for one in json.loads(index.read_text(encoding="utf-8"))]


def _delivery(name: str) -> Delivery:
    told = json.loads((FOLDER / "deliveries" / name).read_text(encoding="utf-8"))
    request = told["request"]
    return Delivery(
        name[:3],
        told["secret"],
        dict(request["headers"]),
        request["body"].encode(),
        told["body_sha256"],
        datetime.fromtimestamp(told["received_at"], UTC),
    )
