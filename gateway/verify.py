"""What a host that speaks Miso's wire must answer: a list of checks, for `verify URL`.

A check is one request, what the wire says of its answer, and the expectation that judges it.
Nothing here sends anything. Left out is what the wire leaves open to each host, and what this
gateway does not have yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from gateway.expectation import (
    FORBIDDEN,
    GONE,
    NOT_AUTHENTIC,
    NOT_FOUND,
    Expectation,
    every,
    found_in_order,
    has_task,
    holds,
    lists_ids,
    no_errors,
    preflighted,
    ranked,
    readable,
    refused,
    refused_request,
    says,
    scored,
    searched,
    status,
    success,
    task_told,
    without,
)  # fmt: skip

JSON, BEACON = "application/json", "text/plain;charset=UTF-8"
WRONG_KEY = "attune-verify-no-such-key"

Body = Any  # JSON to be, or bytes as they are sent
KeyIn = Literal["header", "query", "wrong header", "wrong query", "nowhere"]


@dataclass(frozen=True)
class Check:
    """One request and what must come; `{task_id}` in the path is that of the upload before."""

    group: str
    name: str
    reference: str
    method: str
    path: str
    expect: Expectation
    body: Body = None
    key: KeyIn = "header"
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """The ids of one run, all under its random prefix; none is anybody else's."""

    prefix: str

    @property
    def products(self) -> list[str]:
        return [f"{self.prefix}-{name}" for name in ("one", "two", "a/b c", "bad", "dry")]

    @property
    def users(self) -> list[str]:
        return [f"{self.prefix}-{name}" for name in ("ann", "ben", "bad")]

    @property
    def visitor(self) -> str:
        """The user that stored interactions name, by whom they are erased."""
        return f"{self.prefix}-visitor"

    @property
    def stranger(self) -> str:
        """The anonymous id that lists are asked for; nothing is stored under it."""
        return f"{self.prefix}-stranger"


# the checks --------------------------------------------------------------------------------------

TO_VISITOR = "/v1/recommendation/user_to_products"
SEARCH = "/v1/search/search"


def for_secret_key(made: Made) -> list[Check]:
    """In the order in which they are asked: later ones build on what earlier ones stored."""
    return [
        *_keys(made), *_cors(made), *_products(made), *_users(made), *_stored(made),
        *_interactions(made), *_lists(made), *_searches(made), *_by_id(made), *_deletions(made),
    ]  # fmt: skip


def for_publishable_key(made: Made) -> list[Check]:
    """The same without what such a key may not do, which is asked for to be refused."""
    return [
        *_keys(made), *_cors(made), *_scopes(made), *_interactions(made), *_lists(made),
        *_searches(made),
    ]  # fmt: skip


# Asked first: 403 is a publishable key's answer, 401 that of a key which is none.
WHICH_KEY = Check("keys", "kind", "", "GET", "/v1/products/_ids", lambda answer: None)


def _keys(made: Made) -> list[Check]:
    who = {"anonymous_id": made.stranger, "rows": 1}
    placed: list[tuple[str, str, Expectation, KeyIn]] = [
        ("key in the header", "X-API-KEY works on every endpoint", ranked(1), "header"),
        ("key in the query", "?api_key= works on every endpoint", ranked(1), "query"),
        ("no key", '401 {"message": "invalid api key."}', NOT_AUTHENTIC, "nowhere"),
        ("wrong key in the header", "401, readable by a page", NOT_AUTHENTIC, "wrong header"),
        ("wrong key in the query", "401, readable by a page", NOT_AUTHENTIC, "wrong query"),
    ]
    return [
        Check("keys", name, reference, "POST", TO_VISITOR, expect, who, key=key)
        for name, reference, expect, key in placed
    ]


def _cors(made: Made) -> list[Check]:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    allowed = "2xx without a key; methods, headers and Max-Age for pages"
    preflights = [
        Check("CORS", f"preflight of {path}", allowed, "OPTIONS", path,
              every(preflighted, readable), key="nowhere", headers=asks)
        for path in (SEARCH, TO_VISITOR, "/v1/interactions", "/v1/products/_ids")
    ]  # fmt: skip
    who = {"anonymous_id": made.stranger, "rows": 1}
    return [
        *preflights,
        Check("CORS", "a success", "Access-Control-Allow-Origin on every answer", "POST",
              TO_VISITOR, every(ranked(1), readable), who),
        Check("CORS", "a refusal", "the same on errors", "POST", SEARCH,
              every(refused_request("q"), readable), {}),
    ]  # fmt: skip


def _product(product_id: str, **more: Any) -> dict[str, Any]:
    """Not available, so that no visitor is recommended it while the checks run."""
    return {"product_id": product_id, "title": "attune verify", "type": "attune-verify",
            "availability": "OUT_OF_STOCK", **more}  # fmt: skip


def _upload(
    family: str, name: str, reference: str, body: Body, expect: Expectation, query: str = ""
) -> Check:
    return Check(family, name, reference, "POST", f"/v1/{family}{query}", expect, body)


def _products(made: Made) -> list[Check]:
    one, two, odd, bad, dry = made.products
    taken = every(success(), has_task)
    full = _product(one, brand="attune verify", cover_image=None)
    return [
        _upload("products", "upload", "`success` with `data.task_id`; null is absent",
                {"data": [full, _product(two)]}, taken),
        Check("products", "task", "took, errors, data, code", "GET",
              "/v1/products/_status/{task_id}", every(status(200), task_told)),
        Check("products", "unknown task", "404", "GET",
              f"/v1/products/_status/{UUID(int=0)}", NOT_FOUND),
        Check("products", "read", "`data` is the record", "GET", _at("products", one),
              every(success(), holds("product_id", one), holds("brand", "attune verify"))),
        _upload("products", "upload again", "`success`", {"data": [_product(one)]}, taken),
        Check("products", "read what was replaced", "an upload replaces the whole record", "GET",
              _at("products", one), every(success(), holds("brand", None))),
        Check("products", "upload as text/plain", "JSON whatever the content type", "POST",
              "/v1/products", taken, {"data": [_product(odd)]}, content_type=BEACON),
        Check("products", "read an id with slash and blank", "a%2Fb reaches the record", "GET",
              _at("products", odd), every(success(), holds("product_id", odd))),
        Check("products", "ids", "`data.ids`", "GET", "/v1/products/_ids",
              every(success(), lists_ids([one, two, odd]))),
        Check("products", "ids of a type", "`data.ids` of ?type=", "GET",
              "/v1/products/_ids?type=attune-verify", every(success(), lists_ids([one, two]))),
        _upload("products", "a bad record", "422 with a line `data.1.rating (9) is invalid. …`",
                {"data": [_product(bad), _product(bad, rating=9)]}, refused(1, "rating")),
        _upload("products", "an unknown field", "422 with a line about it",
                {"data": [_product(bad, attune_verify=1)]}, refused(0, "attune_verify")),
        Check("products", "good beside bad", "one bad record, none stored", "GET",
              _at("products", bad), GONE),
        _upload("products", "broken JSON", "422 in the same shape", b'{"data": [', refused()),
        _upload("products", "no body", "422 in the same shape", b"", refused()),
        _upload("products", "dry run", "?dry_run=1 answers the same",
                {"data": [_product(dry)]}, success(), "?dry_run=1"),
        Check("products", "after the dry run", "nothing is stored", "GET", _at("products", dry),
              GONE),
    ]  # fmt: skip


def _users(made: Made) -> list[Check]:
    ann, ben, bad = made.users
    taken = every(success(), has_task)
    return [
        _upload("users", "upload", "`success` with `data.task_id`",
                {"data": [{"user_id": ann, "name": "attune verify"}, {"user_id": ben}]}, taken),
        Check("users", "task", "took, errors, data, code", "GET",
              "/v1/users/_status/{task_id}", every(status(200), task_told)),
        Check("users", "read", "`data` is the record", "GET", _at("users", ann),
              every(success(), holds("user_id", ann), holds("name", "attune verify"))),
        Check("users", "ids", "`data.ids`", "GET", "/v1/users/_ids",
              every(success(), lists_ids([ann, ben]))),
        _upload("users", "a bad record", "422 with a line `data.1.attune_verify … is invalid. …`",
                {"data": [{"user_id": bad}, {"user_id": bad, "attune_verify": 1}]},
                refused(1, "attune_verify")),
        Check("users", "good beside bad", "one bad record, none stored", "GET",
              _at("users", bad), GONE),
    ]  # fmt: skip


def _view(made: Made, **who: str) -> dict[str, Any]:
    return {"type": "product_detail_page_view", "product_ids": made.products[:1], **who}


def _stored(made: Made) -> list[Check]:
    """Under a user's id, by which DELETE erases them."""
    sent = {"data": [_view(made, user_id=made.visitor)]}
    taken, path = success(), "/v1/interactions"
    return [
        Check("interactions", "upload", "`success`, `errors` absent or false", "POST", path, taken,
              sent),
        Check("interactions", "beacon", "text/plain with the key in the query", "POST", path,
              every(taken, readable), sent, key="query", content_type=BEACON),
    ]  # fmt: skip


# The extra fields that Miso's table gives to a type; those of no entry name products alone.
TYPES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"duration": 7} for name in ("product_detail_page_view", "promo_page_view", "read",
                                          "watch", "listen")},
    **{name: {} for name in ("remove_from_cart", "refund", "subscribe", "unsubscribe", "click",
                             "add_to_collection", "remove_from_collection", "like", "dislike",
                             "share", "bookmark", "complete", "impression", "submit",
                             "viewable_impression", "product_image_view")},
    "add_to_cart": {"quantities": [2]},
    "checkout": {"quantities": [2], "revenue": 9.5},
    "rate": {"rating": 4},
    "custom": {"custom_action_name": "attune_verify"},
    "home_page_view": {"product_ids": None},
    "category_page_view": {"product_ids": None, "category": ["a", "b"]},
    "search": {"product_ids": None, "search": {"keywords": "a", "filters": {"brand": ["b"]}}},
    "feedback": {"product_ids": None, "question_id": "q", "result_type": "r", "value": "v"},
}  # fmt: skip


def _interactions(made: Made) -> list[Check]:
    """Dry runs: none of these is stored, so none must be erased."""
    who = {"anonymous_id": made.stranger}
    context = {"page": {"url": "https://shop.example/a"}, "custom_context": {"site": "verify"}}
    of_each = [_view(made, **who) | {"type": name, "context": context, **more}
               for name, more in TYPES.items()]  # fmt: skip
    unknown = {"data": [_view(made, **who), _view(made, **who, attune_verify="1")]}
    nameless = {"data": [_view(made, **who) | {"type": "custom"}]}

    def dry(name: str, reference: str, body: Body, expect: Expectation) -> Check:
        return _upload("interactions", name, reference, body, expect, "?dry_run=1")

    return [
        dry("every type with its fields", "all types of the table", {"data": of_each}, success()),
        dry("of nobody", "neither user_id nor anonymous_id: taken", {"data": [_view(made)]},
            success()),
        dry("an unknown field", "422 with a line `data.1.… is invalid. …`", unknown,
            refused(1, "attune_verify")),
        dry("custom without a name", "`custom_action_name` is required", nameless,
            refused(0, "custom_action_name")),
        dry("an unknown type", "422 with a line about `type`",
            {"data": [_view(made, **who) | {"type": "attune_verify"}]}, refused(0, "type")),
        dry("broken JSON", "422 in the same shape", b"{", refused()),
    ]  # fmt: skip


def _lists(made: Made) -> list[Check]:
    who = {"anonymous_id": made.stranger}

    def asked(name: str, reference: str, engine: str, body: Body, expect: Expectation) -> Check:
        path = f"/v1/recommendation/{engine}"
        return Check("lists", name, reference, "POST", path, expect, body, content_type=BEACON)

    personal = ("user_to_products", "user_to_trending", "user_to_history")
    return [
        *(asked(name, "took, miso_id, products; text/plain is read", name, who,
                every(ranked(5), scored("_personalization_score"))) for name in personal),
        asked("rows", "how many", "user_to_products", who | {"rows": 2}, ranked(2)),
        asked("fl", "fields to return, `product_id` always", "user_to_products",
              who | {"fl": ["title"]}, ranked(5, ["title"])),
        asked("for nobody", "not personalised, not an error", "user_to_products", {}, ranked(5)),
        asked("an unknown field", "422 with FastAPI's `detail`", "user_to_products",
              {"attune_verify": 1}, refused_request("attune_verify")),
        asked("rows that are no number", "422 with FastAPI's `detail`", "user_to_products",
              {"rows": "many"}, refused_request("rows")),
        asked("like an unknown product", "404", "product_to_products",
              who | {"product_id": f"{made.prefix}-unknown"}, NOT_FOUND),
        asked("like no product", "one of product_id, product_ids, … is needed",
              "product_to_products", who, status(422)),
    ]  # fmt: skip


def _searches(made: Made) -> list[Check]:
    who = {"anonymous_id": made.stranger}

    def asked(name: str, reference: str, body: Body, expect: Expectation) -> Check:
        return Check("search", name, reference, "POST", SEARCH, expect, body, content_type=BEACON)

    return [
        asked("everything", "q `*`: products, total, start, spellcheck, facet_counts, …",
              who | {"q": "*", "rows": 2}, every(ranked(2), scored("_search_score"), searched)),
        asked("nothing found", "the same with no products",
              who | {"q": f"zzqx{made.prefix[-6:]}"}, every(ranked(0), searched)),
        asked("no text", "q must not be empty", who | {"q": ""}, refused_request("q")),
    ]  # fmt: skip


def _by_id(made: Made) -> list[Check]:
    one, two, *_ = made.products
    unknown = f"{made.prefix}-unknown"
    like = "/v1/recommendation/product_to_products"
    return [
        Check("search", "by id", "the given order, each with `_found`", "POST", "/v1/search/mget",
              every(ranked(3, None), found_in_order([two, one], [unknown])),
              {"product_ids": [two, one, unknown]}),
        *(Check("lists", f"like a product, {said}", "took, miso_id, products; not itself", "POST",
                like, every(ranked(5), without(one)), {"product_id": given})
          for said, given in (("its id as text", one), ("its id in a list", [one]))),
    ]  # fmt: skip


def _deletions(made: Made) -> list[Check]:
    one, two, odd, *_ = made.products
    ann, ben, _ = made.users
    deleted, say = every(success("deleted"), has_task), "`deleted` with `data.task_id`"

    def several(family: str, name: str, ids: Body) -> Check:
        path = f"/v1/{family}/_delete"
        return Check(
            family, name, say, "POST", path, deleted, {"data": {f"{family[:-1]}_ids": ids}}
        )

    return [
        several("products", "delete several", [one]),
        several("products", "delete, ids as an object", {"3": two}),
        # Python's client sends `{}` with every DELETE.
        Check("products", "delete one", say, "DELETE", _at("products", odd), deleted, {}),
        Check("products", "delete an unknown one", "is a success", "DELETE",
              _at("products", f"{made.prefix}-unknown"), deleted),
        Check("products", "read what is deleted", "404 not found", "GET", _at("products", one),
              GONE),
        Check("products", "read what was in the object", "its values are the ids", "GET",
              _at("products", two), GONE),
        several("users", "delete several", [ann]),
        Check("users", "delete one", say, "DELETE", _at("users", ben), deleted, {}),
        Check("users", "read what is deleted", "404 not found", "GET", _at("users", ann), GONE),
        Check("interactions", "erase a user", "`message`; their events are gone", "DELETE",
              "/v1/interactions", every(status(200), says(), no_errors),
              {"user_ids": [made.visitor]}),
    ]  # fmt: skip


def _scopes(made: Made) -> list[Check]:
    """What a publishable key may not do; nothing would be stored or deleted if it might."""
    nothing: Body = {"data": {"product_ids": [], "user_ids": []}}
    asked: list[tuple[str, str, Body]] = [
        ("POST", "/v1/products?dry_run=1", {"data": [_product(made.products[0])]}),
        ("GET", _at("products", made.products[0]), None),
        ("GET", "/v1/products/_ids", None),
        ("POST", "/v1/products/_delete", nothing),
        ("POST", "/v1/users?dry_run=1", {"data": [{"user_id": made.users[0]}]}),
        ("GET", "/v1/users/_ids", None),
        ("POST", "/v1/users/_delete", nothing),
        ("DELETE", "/v1/interactions", {"user_ids": [made.visitor]}),
    ]
    return [
        *(Check("scopes", f"{method} {path.partition('?')[0].replace(made.prefix, '…')}",
                "403 with a publishable key", method, path, FORBIDDEN, body)
          for method, path, body in asked),
        Check("scopes", "a user_id without user_hash", "403 with a publishable key", "POST",
              TO_VISITOR, FORBIDDEN, {"user_id": made.visitor}),
    ]  # fmt: skip


def cleaning(made: Made) -> list[Check]:
    """What takes away all that the checks may have stored; each is a success though it is gone."""
    deleted = success("deleted")
    return [
        Check("clean-up", "products", "", "POST", "/v1/products/_delete", deleted,
              {"data": {"product_ids": made.products}}),
        Check("clean-up", "users", "", "POST", "/v1/users/_delete", deleted,
              {"data": {"user_ids": [*made.users, made.visitor]}}),
        Check("clean-up", "interactions", "", "DELETE", "/v1/interactions",
              every(status(200), no_errors), {"user_ids": [made.visitor]}),
    ]  # fmt: skip


def _at(family: str, sent_id: str) -> str:
    return f"/v1/{family}/{quote(sent_id, safe='')}"
