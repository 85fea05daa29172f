"""`/v1/recommendation/*`: personalised lists, in Miso's words.

Every field of Miso's is known by name: what is not built yet is refused unless it asks for
nothing, because a list that silently ignored a rule would be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import g
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from marshmallow.fields import Field
from marshmallow.validate import Length, Range

import schemas
from gateway import access
from gateway.access import Key, Site
from gateway.http import auth, door, state
from gateway.http.errors import NotFound, Refused
from ranking.answer import Answer, Ranked, answer
from ranking.merchandising import filters
from ranking.merchandising.filters import Expression, FilterError
from ranking.question import BOUGHT_DAYS, Question, UnknownProducts
from ranking.visitors.identity import actor_id
from schemas import payload, v1
from schemas.errors import Invalid, Problem
from schemas.event import at_most
from schemas.fields import (
    Anything,
    Either,
    Flag,
    Id,
    Items,
    PersonId,
    Reader,
    Text,
    Whole,
    one_or_many,
    problems,
)

blueprint = Blueprint("recommendation", __name__, url_prefix="/v1/recommendation")

LARGEST_BYTES = 1024 * 1024
MOST_ROWS = 500
MOST_ADDITIONAL = 200
MOST_FIELDS = 200
MOST_ANCHORS = 200
MOST_EXCLUDED = 10_000
MOST_PROBLEMS = 100
BOUGHT_DAYS_SETTING = "exclude_bought_days"

# Miso's fields that are not built yet, with the values that ask for nothing.
NOT_BUILT: dict[str, tuple[Any, ...]] = {
    "boost_fq": ("",),
    "boost_positions": ([],),
    "boost_rule_name": ("",),
    "boost_rules": ([],),
    "boosting_tags": ([],),
    "buy_together": (False,),
    "custom_context": ({},),
    "dithering": (1,),
    "diversification": ({},),
    # There are no stored rules to switch off.
    "enable_boosting_campaigns": (True, False),
    "geo": ({},),
    "pagination_id": ("",),
    "user_cohort": ({},),
}
ANCHORS = ("product_id", "product_ids")
ANCHOR_GROUPS = ("product_group_id", "product_group_ids")


class Few(Items):
    """A list that is counted before any of it is read."""

    def __init__(self, inner: Field, most: int, what: str) -> None:
        self.check = Length(max=most, error=f"At most {most:,} {what}.")
        super().__init__(inner, validate=self.check)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if type(value) in (list, dict):
            self.check(value)
        return super()._deserialize(value, attr, data, **kwargs)


class OneOrFew(Either):
    """One product's or group's id, or a list of them."""

    def __init__(self, what: str) -> None:
        super().__init__(Id(), metadata=one_or_many({"type": "string"}))
        self.many = Few(Id(), MOST_ANCHORS, what)


class ListRequest(Schema):
    """For whom, how many, and which products may be in the list."""

    user_id = PersonId(validate=at_most(512))
    anonymous_id = PersonId(validate=at_most(1024))
    user_hash = Text()
    engine_id = Text()
    type = Text()
    rows = Whole(validate=Range(0, MOST_ROWS, error=f"Ask for 0 to {MOST_ROWS} products."))
    start = Whole()  # counts only with pagination_id
    fl = Few(Text(), MOST_FIELDS, "fields")
    fq = Text()
    exclude = Few(Id(), MOST_EXCLUDED, "products")  # type: ignore[assignment]
    dedupe_product_group_id = Flag()
    additional_interactions = Few(Anything(), MOST_ADDITIONAL, "interactions")
    explain = Flag()


class SimilarRequest(ListRequest):
    """The same, about one or several products."""

    product_id = OneOrFew("products")
    product_ids = OneOrFew("products")
    product_group_id = OneOrFew("groups")
    product_group_ids = OneOrFew("groups")


READERS: dict[type[Schema], Reader] = {
    schema: Reader(schema()) for schema in (ListRequest, SimilarRequest)
}


def _documented(shape: type[Schema], summary: str) -> dict[str, Any]:
    content = {kind: {"schema": shape} for kind in ("application/json", "text/plain")}
    return {"summary": summary, "requestBody": {"required": True, "content": content}}


@blueprint.route("/user_to_products", methods=["POST"])
@blueprint.doc(**_documented(ListRequest, summary="What may interest a visitor"))
def user_to_products() -> dict[str, Any]:
    """Without what the visitor touched lately or bought; for strangers, what is popular."""
    return _list("recommend", ListRequest)


@blueprint.route("/user_to_trending", methods=["POST"])
@blueprint.doc(**_documented(ListRequest, summary="What is rising now"))
def user_to_trending() -> dict[str, Any]:
    """Without what the visitor touched lately or bought."""
    return _list("trending", ListRequest)


@blueprint.route("/user_to_history", methods=["POST"])
@blueprint.doc(**_documented(ListRequest, summary="What a visitor touched lately"))
def user_to_history() -> dict[str, Any]:
    """The newest first, at most the last 50 products."""
    return _list("history", ListRequest)


@blueprint.route("/product_to_products", methods=["POST"])
@blueprint.doc(**_documented(SimilarRequest, summary="Products like these"))
def product_to_products() -> dict[str, Any]:
    """Those asked about are not among them; 404 where none of them is known."""
    return _list("similar", SimilarRequest)


def _list(strategy: str, schema: type[Schema]) -> dict[str, Any]:
    key = auth.authenticate("engine:read")
    asked = _read(door.read_body(LARGEST_BYTES), schema)
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        try:
            return _success(answer(connection, _question(strategy, asked, site, key)))
        except UnknownProducts as error:
            raise NotFound(f"not found: {error}") from None


# the request ------------------------------------------------------------------------------------


def _read(body: bytes, schema: type[Schema]) -> dict[str, Any]:
    """The checked fields of a request; raises Refused with every problem found."""
    sent = payload.parse(body)
    if type(sent) is not dict:
        raise Refused("the body must be a JSON object", problems=[Problem("", "not an object")])
    found = list(_not_built(sent))
    built = {name: value for name, value in sent.items() if name not in NOT_BUILT}
    try:
        asked = READERS[schema].read(built)
    except ValidationError as error:
        found += problems(error, sent)
    if not found and schema is SimilarRequest and not (_anchors(asked) or _groups(asked)):
        message = f"Name the products: one of {', '.join(ANCHORS + ANCHOR_GROUPS)} is required."
        found.append(Problem("/product_id", message))
    if found:
        raise _refused(found)
    return asked


def _not_built(sent: dict[str, Any]) -> Iterator[Problem]:
    for name, nothing in NOT_BUILT.items():
        value = sent.get(name)
        if value is not None and value not in nothing:
            yield Problem(f"/{name}", f"`{name}` is not supported yet: leave it out.", value)


def _refused(found: list[Problem]) -> Refused:
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Refused(
        f"{first.pointer[1:] or 'body'}: {first.message}{more}", problems=found[:MOST_PROBLEMS]
    )


def _question(strategy: str, asked: dict[str, Any], site: Site, key: Key) -> Question:
    return Question(
        site_id=site.site_id,
        strategy=strategy,
        at=datetime.now(UTC),
        actor=_actor(asked, site),
        alone=_alone(asked, key),
        rows=asked.get("rows", 5),
        filter=_filter(asked),
        exclude=asked.get("exclude", ()),
        anchors=_anchors(asked),
        anchor_groups=_groups(asked),
        one_per_group=asked.get("dedupe_product_group_id", True),
        fields=asked.get("fl", ()),
        additional=_additional(asked.get("additional_interactions", [])),
        explain=asked.get("explain", False),
        bought_days=site.settings.get(BOUGHT_DAYS_SETTING, BOUGHT_DAYS),
    )


def _actor(asked: dict[str, Any], site: Site) -> UUID | None:
    """A request with both ids is served as the user."""
    for kind in ("user", "anonymous"):
        sent_id = asked.get(f"{kind}_id")
        if sent_id:
            return actor_id(site.pepper, kind, sent_id)
    return None


def _alone(asked: dict[str, Any], key: Key) -> bool:
    """Anybody can claim with a publishable key that an anonymous id is some user's: without that
    user's proof the id is answered from what it sent itself."""
    return key.kind != "secret" and not asked.get("user_id")


def _filter(asked: dict[str, Any]) -> Expression:
    try:
        conditions = [filters.parse(asked["fq"])] if asked.get("fq") else []
    except FilterError as error:
        raise _refused([Problem("/fq", str(error), asked["fq"])]) from None
    if "type" in asked:
        conditions.append(filters.equals("type", asked["type"]))
    return filters.all_of(conditions)


def _anchors(asked: dict[str, Any]) -> list[str]:
    return [one for name in ANCHORS for one in _many(asked.get(name))]


def _groups(asked: dict[str, Any]) -> list[str]:
    return [one for name in ANCHOR_GROUPS for one in _many(asked.get(name))]


def _many(value: Any) -> list[str]:
    """Ids as a list; clients send one or several."""
    found = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else str(one) for one in found if one is not None]


def _additional(interactions: list[dict[str, Any]]) -> list[schemas.Event]:
    """Interactions that count as if they had happened, whoever they say it was."""
    facts, found = [], []
    for position, interaction in enumerate(interactions):
        try:
            translated = v1.translate("interactions", interaction, {"anonymous_id": "additional"})
            facts += [schemas.load(fact) for fact in translated]
        except Invalid as error:
            pointer = f"/additional_interactions/{position}"
            found += [Problem(pointer + p.pointer, p.message, p.value) for p in error.problems]
    if found:
        raise _refused(found)
    return [fact for fact in facts if isinstance(fact, schemas.Event)]


# the answer -------------------------------------------------------------------------------------


def _success(answered: Answer) -> dict[str, Any]:
    data: dict[str, Any] = {
        "took": round((time.perf_counter() - g.started_at) * 1000),
        "miso_id": str(answered.miso_id),
        "products": [_product(one) for one in answered.products],
    }
    if answered.interests is not None:
        data["interests"] = answered.interests
    if answered.fallback is not None:
        data["fallback"] = answered.fallback
    return {"message": "success", "data": data}


def _product(one: Ranked) -> dict[str, Any]:
    shown = {
        **one.fields,
        "product_id": one.product_id,
        "_personalization_score": one.score,
        "_boosted": False,
    }
    return shown if one.explanation is None else shown | {"_explanation": one.explanation}
