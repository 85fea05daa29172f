"""Whose request it is, as the web loop sees it: where Segment's clients put their write key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway import access
from gateway.http import tenants
from tests.builders import basic
from tests.conftest import Shop


def arriving(path: str, **fields: Any) -> Any:
    """A request whose head, and perhaps the beginning of its body, is here."""
    empty = {"method": b"POST", "query": b"", "key": b"", "authorization": b"", "received": b""}
    return SimpleNamespace(**empty | {"path": path.encode()} | fields)


@pytest.fixture
def known(shop: Shop) -> Shop:
    """A shop whose write key was used a moment ago."""
    with shop.pool.connection() as connection:
        assert access.key_for(connection, shop.write_key)
    return shop


def each_place(key: str) -> dict[str, Any]:
    header = basic(key)["Authorization"].encode()
    body = f'{{"batch": [{{"type": "page"}}], "writeKey" : "{key}"}}'.encode()
    return {
        "header": arriving("/v1/batch", authorization=header),
        "header, prefix": arriving("/segment/v1/t", authorization=header),
        "body": arriving("/v1/t", received=b"POST /v1/t HTTP/1.1\r\n\r\n" + body),
        "path": arriving(f"/v1/projects/{key}/settings", method=b"GET"),
        "path, prefix": arriving(f"/segment/v1/projects/{key}/settings", method=b"GET"),
    }


def test_a_known_write_key_is_its_sites_wherever_it_lies(known: Shop) -> None:
    for place, conn in each_place(known.write_key).items():
        assert tenants.of(conn) == known.site.site_id, place
        limited = tenants.limited_key_of(conn)
        assert (limited is None) == place.startswith("path"), place


def test_unknown_write_keys_share_a_lane(known: Shop) -> None:
    for place, conn in each_place("wk_unknown").items():
        assert tenants.of(conn) == tenants.UNKNOWN, place
        assert tenants.limited_key_of(conn) is None


@pytest.mark.parametrize("authorization", [b"", b"Basic", b"Basic ***", b"Bearer x", b"Basic Og=="])
def test_without_a_key_it_is_a_page(authorization: bytes) -> None:
    conn = arriving("/v1/batch", authorization=authorization, received=b'{"writeKey":""}')
    assert tenants.of(conn) == tenants.PAGES


def test_a_preflight_is_not_limited(known: Shop) -> None:
    header = basic(known.write_key)["Authorization"].encode()
    assert (
        tenants.limited_key_of(arriving("/v1/t", method=b"OPTIONS", authorization=header)) is None
    )
