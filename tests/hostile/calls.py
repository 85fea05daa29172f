"""A valid request of every route of the URL map; a route without one here fails the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from flask import Flask
from flask.testing import FlaskClient
from psycopg import sql
from werkzeug.test import TestResponse

from gateway import access
from gateway.http.segment import BATCH_BYTES, EVENT_BYTES
from tests.builders import ago, basic, one, track
from tests.conftest import Shop
from tests.connectors import signing
from tests.connectors.signing import segment as sign
from tests.ranking.training.versions import a_version

SENT = {"product_id": "p1", "title": "Mug", "sale_price": 3, "brand": "Acme",
        "categories": [["Home", "Kitchen"]]}  # fmt: skip
VIEW = {"type": "product_detail_page_view", "product_ids": ["p1"], "anonymous_id": "a1"}
VISITOR = {"anonymous_id": "a1"}
MAPPING = {"rules": [{"when": {"/event": "Gesehen"}, "set": {"/event": "Product Viewed"}}]}
ORDER = {"id": 5, "created_at": ago(minutes=5), "updated_at": ago(minutes=5), "currency": "EUR",
         "line_items": [{"id": 1, "product_id": 2, "variant_id": 3, "quantity": 1}]}  # fmt: skip
PIXEL = {"id": "e1", "name": "product_viewed", "type": "standard", "clientId": "c1",
         "timestamp": ago(minutes=5), "data": {"productVariant": {"id": "3"}}}  # fmt: skip
TRACK = {"type": "track", "event": "Product Viewed", "anonymousId": "a1",
         "properties": {"product_id": "p1"}}  # fmt: skip

# (method, rule) → (path, body); {names} are filled with what the site has.
VALID: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/"): ("/", None),
    ("GET", "/healthz"): ("/healthz", None),
    ("GET", "/readyz"): ("/readyz", None),
    ("GET", "/metrics"): ("/metrics", None),
    ("GET", "/openapi.json"): ("/openapi.json", None),
    ("GET", "/docs"): ("/docs", None),
    ("GET", "/demo"): ("/demo", None),
    ("GET", "/demo/<file>"): ("/demo/page.js", None),
    ("GET", "/snippet.js"): ("/snippet.js", None),
    ("POST", "/v1/interactions"): ("/v1/interactions", {"data": [VIEW]}),
    ("DELETE", "/v1/interactions"): ("/v1/interactions", {"user_ids": ["u9"]}),
    ("POST", "/v1/products"): ("/v1/products", {"data": [SENT]}),
    ("PATCH", "/v1/products"): ("/v1/products", {"data": [SENT]}),
    ("POST", "/v1/products/_delete"): (
        "/v1/products/_delete", {"data": {"product_ids": ["p9"]}}
    ),
    ("GET", "/v1/products/_ids"): ("/v1/products/_ids", None),
    ("GET", "/v1/products/_status/<task_id>"): ("/v1/products/_status/{products}", None),
    ("GET", "/v1/products/<id:product_id>"): ("/v1/products/p1", None),
    ("PATCH", "/v1/products/<id:product_id>"): ("/v1/products/p1", {"sale_price": 4}),
    ("DELETE", "/v1/products/<id:product_id>"): ("/v1/products/p9", None),
    ("POST", "/v1/users"): ("/v1/users", {"data": [{"user_id": "u1", "name": "Ann"}]}),
    ("POST", "/v1/users/_delete"): ("/v1/users/_delete", {"data": {"user_ids": ["u9"]}}),
    ("GET", "/v1/users/_ids"): ("/v1/users/_ids", None),
    ("GET", "/v1/users/_status/<task_id>"): ("/v1/users/_status/{users}", None),
    ("GET", "/v1/users/<id:user_id>"): ("/v1/users/u1", None),
    ("DELETE", "/v1/users/<id:user_id>"): ("/v1/users/u9", None),
    **{
        ("POST", f"/v1/recommendation/{name}"): (f"/v1/recommendation/{name}", VISITOR)
        for name in ("user_to_products", "user_to_trending", "user_to_history")
    },
    ("POST", "/v1/recommendation/product_to_products"): (
        "/v1/recommendation/product_to_products", VISITOR | {"product_id": "p1"}
    ),
    ("POST", "/v1/recommendation/feed"): ("/v1/recommendation/feed", VISITOR),
    ("POST", "/v1/recommendation/audience"): (
        "/v1/recommendation/audience", {"product_id": "p1"}
    ),
    ("POST", "/v1/recommendation/user_to_categories"): (
        "/v1/recommendation/user_to_categories", VISITOR | {"root_category": ["*"]}
    ),
    ("POST", "/v1/recommendation/user_to_attributes"): (
        "/v1/recommendation/user_to_attributes", VISITOR | {"field": "brand"}
    ),
    ("POST", "/v1/search/search"): ("/v1/search/search", VISITOR | {"q": "mug"}),
    ("POST", "/v1/search/autocomplete"): (
        "/v1/search/autocomplete",
        VISITOR | {"q": "m", "completion_fields": ["title", "historical_queries"]},
    ),
    ("POST", "/v1/search/mget"): ("/v1/search/mget", VISITOR | {"product_ids": ["p1"]}),
    ("POST", "/v1/bulk"): (
        "/v1/bulk",
        {"requests": [{"api_name": "search/search", "body": VISITOR | {"q": "lamp"}}]},
    ),
    ("GET", "/admin/v1/events"): ("/admin/v1/events", None),
    ("GET", "/admin/v1/visitors/<path:sent_id>"): ("/admin/v1/visitors/a1", None),
    ("GET", "/admin/v1/visitors/<path:sent_id>/similar_users"): (
        "/admin/v1/visitors/a1/similar_users", None
    ),
    ("GET", "/admin/v1/clusters"): ("/admin/v1/clusters", None),
    ("GET", "/admin/v1/clusters/<cluster_id>"): ("/admin/v1/clusters/7", None),
    ("GET", "/admin/v1/deliveries"): ("/admin/v1/deliveries", None),
    ("GET", "/admin/v1/deliveries/<delivery_id>"): ("/admin/v1/deliveries/{delivery}", None),
    ("POST", "/admin/v1/deliveries/<delivery_id>/replay"): (
        "/admin/v1/deliveries/{delivery}/replay", None
    ),
    ("GET", "/admin/v1/feeds"): ("/admin/v1/feeds", None),
    ("POST", "/admin/v1/feeds/<source>/pull"): ("/admin/v1/feeds/{feed}/pull", None),
    ("GET", "/admin/v1/attributes"): ("/admin/v1/attributes", None),
    ("GET", "/admin/v1/queries"): ("/admin/v1/queries", None),
    ("GET", "/admin/v1/models"): ("/admin/v1/models", None),
    ("GET", "/admin/v1/impressions"): ("/admin/v1/impressions", None),
    ("GET", "/admin/v1/settings"): ("/admin/v1/settings", None),
    ("PATCH", "/admin/v1/settings"): ("/admin/v1/settings", {"exclude_bought_days": 30}),
    ("POST", "/admin/v1/models/<version>/promote"): (
        "/admin/v1/models/{model}/promote", None
    ),
    ("POST", "/admin/v1/models/rollback"): ("/admin/v1/models/rollback", None),
    ("GET", "/admin/v1/ledger"): ("/admin/v1/ledger", None),
    ("GET", "/admin/v1/orders"): ("/admin/v1/orders", None),
    ("GET", "/admin/v1/orders/<path:order_id>"): ("/admin/v1/orders/o1", None),
    ("POST", "/admin/v1/merge"): ("/admin/v1/merge", {"ids": ["a1", "a2"]}),
    ("POST", "/admin/v1/unmerge"): ("/admin/v1/unmerge", {"ids": ["a3", "a4"]}),
    ("GET", "/admin/v1/export/<path:sent_id>"): ("/admin/v1/export/a1", None),
    ("POST", "/admin/v1/erase"): ("/admin/v1/erase", {"id": "a9"}),
    ("GET", "/admin/v1/erasures"): ("/admin/v1/erasures", None),
    ("GET", "/admin/v1/sources/<source>/mapping"): ("/admin/v1/sources/{segment}/mapping", None),
    ("PUT", "/admin/v1/sources/<source>/mapping"): (
        "/admin/v1/sources/{segment}/mapping", MAPPING
    ),
    ("POST", "/admin/v1/sources/<source>/mapping/try"): (
        "/admin/v1/sources/{segment}/mapping/try", {"mapping": MAPPING, "last": 5}
    ),
    ("GET", "/admin/v1/requests"): ("/admin/v1/requests", None),
    ("POST", "/webhooks/<connector>"): ("/webhooks/shopify", ORDER),
    ("POST", "/collect/<connector>/<source>"): ("/collect/shopify/{shopify}", PIXEL),
    **{
        (method, "/webhooks/<connector>/<source>"): ("/webhooks/segment/{segment}", TRACK)
        for method in ("POST", "PUT", "PATCH")
    },
    ("POST", "/v1/<call:call>"): ("/v1/track", TRACK),
    ("POST", "/segment/v1/<call:call>"): ("/segment/v1/batch", {"batch": [TRACK]}),
    **{("POST", f"{prefix}/v1/m"): (f"{prefix}/v1/m", None) for prefix in ("", "/segment")},
    **{
        ("GET", f"{prefix}/v1/projects/<write_key>/settings"): (
            prefix + "/v1/projects/{write_key}/settings", None
        )
        for prefix in ("", "/segment")
    },
}  # fmt: skip

STOCK: dict[str, list[dict[str, Any]]] = {
    "products": [SENT, {"product_id": "p2", "title": "Hat"}],
    "users": [{"user_id": "u1", "name": "Ann"}],
    "interactions": [
        VIEW | {"timestamp": ago(minutes=9), "anonymous_id": one}
        for one in ("a1", "a2", "a3", "a4")
    ],
}
BOUGHT = track(
    "Order Completed",
    userId="u1",
    messageId="bought",
    properties={"order_id": "o1", "revenue": 3, "products": [{"product_id": "p1"}]},
)

# Those that neither ask for a key nor need Postgres.
NEED_NOTHING = (
    "/healthz", "/openapi.json", "/docs", "/metrics", "/demo", "/snippet.js", "/v1/m",
    "/segment/v1/m",
)  # fmt: skip


def compact(value: Any) -> bytes:
    """JSON as our senders write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def signed_text(body: bytes) -> bytes:
    """What Segment signs: the body, or of an array its first element."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return compact(sent[0]) if isinstance(sent, list) and sent else body


@dataclass(frozen=True)
class Call:
    """One request; `secret` signs a webhook, `write_key` opens what Segment's clients call, `key`
    every other route."""

    method: str
    rule: str
    path: str
    body: bytes | None
    key: str
    secret: str
    shop: str  # at Shopify
    write_key: str

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"

    @property
    def is_webhook(self) -> bool:
        return self.rule.startswith("/webhooks/")

    @property
    def connector(self) -> str:
        return self.path.split("/")[2]

    @property
    def signature(self) -> str:
        """The header in which a webhook's platform signs."""
        return signing.SIGNATURE[self.connector]

    @property
    def is_collector(self) -> bool:
        return "<call:call>" in self.rule or "<write_key>" in self.rule

    @property
    def refusal(self) -> int:
        """The status of a body that cannot be read."""
        return 200 if self.is_webhook else 400 if self.is_collector else 422

    @property
    def limit_bytes(self) -> int:
        """Of a body, where it is one that tests reach."""
        if not self.is_collector:
            return 20_000_000
        return BATCH_BYTES if self.path.endswith("/batch") else EVENT_BYTES

    @property
    def is_engine(self) -> bool:
        """A question, or a request of ours: what cannot be read leaves nothing."""
        return self.rule.startswith(("/v1/recommendation/", "/v1/search/", "/v1/bulk", "/admin/"))

    @property
    def needs_services(self) -> bool:
        return self.rule != "/" and not self.rule.startswith(NEED_NOTHING)

    def headers(self) -> dict[str, str]:
        kind = {"Content-Type": "application/json"}
        if self.is_webhook and self.connector == "shopify":
            said = {"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": self.shop}
            return signing.shopify(self.body or b"", self.secret) | said
        if self.is_webhook:
            return sign(signed_text(self.body or b""), self.secret)
        if self.is_collector:
            return kind | basic(self.write_key)
        return kind | {"X-API-KEY": self.key}

    def saying(self, body: bytes) -> Call:
        return replace(self, body=body)

    def by(self, other: Shop) -> Call:
        """The same request with the credentials of another site."""
        moved = self.with_key(other.write_key if self.is_collector else other.secret_key)
        return replace(moved, secret=other.segment.secrets[0])

    def with_key(self, key: str) -> Call:
        """The same request with this key in the place of its own."""
        if not self.is_collector:
            return replace(self, key=key)
        path = self.path.replace(self.write_key, quote(key, safe="")) if self.write_key else ""
        return replace(self, write_key=key, path=path or self.path)

    def send(self, client: FlaskClient, **more: Any) -> TestResponse:
        headers = self.headers() | more.pop("headers", {})
        return client.open(self.path, method=self.method, data=self.body, headers=headers, **more)


def every_call(app: Flask, shop: Shop, deliveries: Mapping[str, str]) -> list[Call]:
    """A valid request of each route and method of the application."""
    rules = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert rules == set(VALID), "tests/hostile/calls.py must hold a request of every route"
    names = {
        "segment": shop.segment.public_id,
        "secret": shop.segment.secrets[0],
        "write_key": shop.write_key,
        **_at_shopify(shop),
        **deliveries,
    }
    return [
        Call(
            method,
            rule,
            path.format(**names),
            None if body is None else compact(body),
            shop.secret_key,
            names["shopify_secret"] if rule == "/webhooks/<connector>" else names["secret"],
            names["shop"],
            shop.write_key,
        )
        for (method, rule), (path, body) in sorted(VALID.items())
    ]


def stocked(client: FlaskClient, shop: Shop) -> dict[str, str]:
    """Give a site something of everything; returns the ids of its deliveries by what they hold."""
    headers = {"X-API-KEY": shop.secret_key}
    deliveries = {}
    for path, records in STOCK.items():
        answer = client.post(f"/v1/{path}", json={"data": records}, headers=headers)
        assert answer.status_code == 200 and answer.json, answer.text
        deliveries[path] = str(answer.json.get("task_id") or answer.json["data"]["task_id"])
    # Not numbered: what number it gets depends on what ran before, and others send m1 to m6.
    body = compact([track(userId="u1", messageId="stocked"), BOUGHT])
    signed = sign(signed_text(body), shop.segment.secrets[0])
    answer = client.post(f"/webhooks/segment/{shop.segment.public_id}", data=body, headers=signed)
    assert answer.status_code == 200 and answer.json, answer.text
    joined = client.post("/admin/v1/merge", json={"ids": ["a3", "a4"]}, headers=headers)
    assert joined.status_code == 200, joined.text
    _a_cluster(shop)
    return deliveries | {
        "delivery": str(answer.json["delivery"]),
        "feed": _a_feed(shop),
        "model": str(_a_model(shop)),
    }


def _at_shopify(shop: Shop) -> dict[str, str]:
    domain = f"{shop.site.name}.myshopify.com"
    with shop.pool.connection() as connection:
        made = access.create_source(connection, shop.site, "shopify", settings={"shop": domain})
    return {
        "shopify": made.source.public_id,
        "shopify_secret": made.secret,
        "shop": domain,
    }


def _a_cluster(shop: Shop) -> None:
    """Number 7, of the one product p1."""
    site = {"site_id": shop.site.site_id}
    with shop.pool.connection() as connection:
        connection.execute(
            "insert into clusters (site_id, cluster_id, label, words, products) "
            "values (%(site_id)s, 7, 'Kitchen, Mug', '{Kitchen,Mug}', 1)",
            site,
        )
        connection.execute(
            "insert into product_clusters select site_id, product_no, 7, 0.9 from products "
            "where site_id = %(site_id)s and product_id = 'p1'",
            site,
        )


def _a_feed(shop: Shop) -> str:
    with shop.pool.connection() as connection:
        settings = {"url": "https://shop.example/feed.xml"}
        made = access.create_source(connection, shop.site, "feed", settings=settings)
    return made.source.public_id


def _a_model(shop: Shop) -> int:
    """A learned version that could serve, but does not."""
    with shop.pool.connection() as connection:
        return a_version(connection, shop.site.site_id).model_id


def rows_of(shop: Shop, *but: str) -> dict[str, str]:
    """A digest of each table's rows of one site, some tables left out."""
    with shop.pool.connection() as connection:
        tables = connection.execute(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid "
            "where a.attname = 'site_id' and c.relkind in ('r', 'p') and not c.relispartition "
            "and c.relnamespace = 'public'::regnamespace and c.relname <> all(%s) order by 1",
            [list(but)],
        ).fetchall()
        return {name: _digest(connection, name, shop.site.site_id) for (name,) in tables}


def _digest(connection: Any, table: str, site_id: int) -> str:
    statement = sql.SQL(
        "select count(*) || ' rows ' || coalesce(md5(string_agg(t::text, '' order by t::text)), '')"
        " from {} t where site_id = %s"
    ).format(sql.Identifier(table))
    [(found,)] = connection.execute(statement, [site_id]).fetchall()
    return str(found)


def failures(shop: Shop) -> int:
    """Deliveries that our own code failed on."""
    found: int = one(shop.pool, "select count(*) from deliveries where failed > 0")
    return found
