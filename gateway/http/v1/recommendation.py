"""`/v1/recommendation/*`: personalised lists, in Miso's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

from flask_smorest import Blueprint
from marshmallow import Schema
from marshmallow.validate import Length, Range

from gateway import access, instant, site_settings
from gateway.access import Key, Site
from gateway.http import auth, door, shapes, state
from gateway.http.errors import NotFound
from gateway.http.v1 import engine, rules
from gateway.http.v1.engine import Few, NotBuilt
from ranking.answer import FALLBACK, answer
from ranking.audience import Asked
from ranking.audience import audience as whom
from ranking.merchandising.exploration import Exploring
from ranking.merchandising.rules import Dithering
from ranking.question import Question, UnknownProducts
from schemas.errors import Problem
from schemas.fields import Either, Flag, Id, Number, Reader, Text, Whole, one_or_many

blueprint = Blueprint("recommendation", __name__, url_prefix="/v1/recommendation")

MOST_ANCHORS = 200
LONGEST_ID = 512
DEEPEST = 2000
MOST_FANS = 1000
MOST_DAYS = 400
NOT_BUILT: NotBuilt = {
    **engine.NOT_BUILT,
    "buy_together": (False,),  # of product_to_products only
}
ANCHORS = ("product_id", "product_ids")
ANCHOR_GROUPS = ("product_group_id", "product_group_ids")


class OneOrFew(Either):
    """One product's or group's id, or a list of them."""

    def __init__(self, what: str) -> None:
        super().__init__(Id(), metadata=one_or_many({"type": "string"}))
        self.many = Few(Id(), MOST_ANCHORS, what)


class ListRequest(engine.ListRequest):
    """For whom, how many, which products may be in the list, and how it goes on."""

    pagination_id = Text(
        validate=Length(max=LONGEST_ID, error=f"At most {LONGEST_ID:,} characters.")
    )
    start = Whole()  # counts only with pagination_id
    dithering = Number(validate=Range(1, error="Say how much chance: a number from 1 (none) up."))
    seed = Id(validate=Length(max=LONGEST_ID, error=f"At most {LONGEST_ID:,} characters."))


class VariedRequest(ListRequest, rules.DiversityRequest):
    """The same, and how much the list is to vary."""


class OwnOrderRequest(ListRequest, rules.UnvariedRequest):
    """A list that is mixed already, or goes by time."""


class SimilarRequest(VariedRequest):
    """The same, about one or several products."""

    product_id = OneOrFew("products")
    product_ids = OneOrFew("products")
    product_group_id = OneOrFew("groups")
    product_group_ids = OneOrFew("groups")
    buy_together = Flag()


class AudienceRequest(Schema):
    """Which products, how many visitors, known in how many days."""

    product_id = OneOrFew("products")
    product_ids = OneOrFew("products")
    rows = Whole(validate=Range(0, MOST_FANS, error=f"Ask for 0 to {MOST_FANS:,} visitors."))
    days = Whole(validate=Range(1, MOST_DAYS, error=f"Say 1 to {MOST_DAYS} days."))
    buyers = Flag()


AUDIENCE = Reader(AudienceRequest())
VISITOR = shapes.record(
    {"score": shapes.NUMBER, "because": shapes.many(shapes.OPEN)},
    {"user_id": shapes.TEXT, "anonymous_id": shapes.TEXT},
)
READERS: dict[type[Schema], Reader] = {
    schema: Reader(schema()) for schema in (VariedRequest, OwnOrderRequest, SimilarRequest)
}


@blueprint.route("/user_to_products", methods=["POST"])
@blueprint.doc(**engine.documented(VariedRequest, summary="What may interest a visitor"))
def user_to_products() -> dict[str, Any]:
    """Without what the visitor touched lately or bought; for strangers, what is popular."""
    return _list("recommend", VariedRequest)


@blueprint.route("/user_to_trending", methods=["POST"])
@blueprint.doc(**engine.documented(VariedRequest, summary="What is rising now"))
def user_to_trending() -> dict[str, Any]:
    """Without what the visitor touched lately or bought."""
    return _list("trending", VariedRequest)


@blueprint.route("/user_to_history", methods=["POST"])
@blueprint.doc(**engine.documented(OwnOrderRequest, summary="What a visitor touched lately"))
def user_to_history() -> dict[str, Any]:
    """The newest first, at most the last 50 products."""
    return _list("history", OwnOrderRequest)


@blueprint.route("/product_to_products", methods=["POST"])
@blueprint.doc(**engine.documented(SimilarRequest, summary="Products like these"))
def product_to_products() -> dict[str, Any]:
    """Those asked about are not among them; 404 where none of them is known. With `buy_together`
    what is bought with them."""
    return _list("similar", SimilarRequest)


@blueprint.route("/feed", methods=["POST"])
@blueprint.doc(
    **engine.documented(
        OwnOrderRequest,
        summary="A bit of everything, page by page",
        data={"pagination_id": shapes.TEXT, "next_start": shapes.COUNT},
    )
)
def feed() -> dict[str, Any]:
    """What may interest the visitor, what is rising, like the last and new, each product once; the
    answer says how to ask for the next page."""
    key, asked = _asked(OwnOrderRequest)
    asked["pagination_id"] = asked.get("pagination_id") or str(uuid4())
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        answered = answer(connection, _question("feed", asked, site, key))
    return engine.success(
        answered,
        show=lambda one: engine.product(one) | {"_from": one.source or FALLBACK},
        pagination_id=asked["pagination_id"],
        next_start=_start(asked) + len(answered.products),
    )


@blueprint.route("/audience", methods=["POST"])
@blueprint.doc(
    **engine.documented(
        AudienceRequest,
        summary="Whom products may interest",
        data={"visitors": shapes.many(VISITOR)},
        common={"took": shapes.COUNT},
    )
)
def audience() -> dict[str, Any]:
    """Visitors by the ids that they were sent under, best first; with a secret key only."""
    key = auth.authenticate("users:read")
    asked, found = engine.read(door.read_body(engine.LARGEST_BYTES), AUDIENCE, {})
    if not found and not _anchors(asked):
        message = f"Name the products: one of {', '.join(ANCHORS)} is required."
        found.append(Problem("/product_id", message))
    if found:
        raise engine.refused(found)
    wanted = Asked(
        site_id=key.site_id,
        product_ids=_anchors(asked),
        at=instant.now(),
        rows=asked.get("rows", 100),
        days=asked.get("days", 30),
        buyers=asked.get("buyers", False),
    )
    with state.serving().connection() as connection:
        try:
            fans = whom(connection, wanted)
        except UnknownProducts as error:
            raise NotFound(f"not found: {error}") from None
    visitors = [
        {f"{one.kind}_id": one.sent_id, "score": one.score, "because": one.because} for one in fans
    ]
    return {"message": "success", "data": {"took": engine.took(), "visitors": visitors}}


def _list(strategy: str, schema: type[Schema]) -> dict[str, Any]:
    key, asked = _asked(schema)
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        try:
            return engine.success(answer(connection, _question(strategy, asked, site, key)))
        except UnknownProducts as error:
            raise NotFound(f"not found: {error}") from None


def _asked(schema: type[Schema]) -> tuple[Key, dict[str, Any]]:
    """Who asks, and the checked fields of the request."""
    key = auth.authenticate("engine:read")
    asked = _read(door.read_body(engine.LARGEST_BYTES), schema)
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    return key, asked


def _read(body: bytes, schema: type[Schema]) -> dict[str, Any]:
    """The checked fields of a request; raises Refused with every problem found."""
    not_built = engine.NOT_BUILT if schema is SimilarRequest else NOT_BUILT
    asked, found = engine.read(body, READERS[schema], not_built)
    if not found and schema is SimilarRequest and not (_anchors(asked) or _groups(asked)):
        message = f"Name the products: one of {', '.join(ANCHORS + ANCHOR_GROUPS)} is required."
        found.append(Problem("/product_id", message))
    if not 0 <= _start(asked) <= DEEPEST:
        message = f"A page begins at 0 to {DEEPEST:,}."
        found.append(Problem("/start", message, asked["start"]))
    if found:
        raise engine.refused(found)
    return asked


def _start(asked: dict[str, Any]) -> int:
    """Where the page begins, which counts only in a list that is given out in pages."""
    start: int = asked.get("start", 0)
    return start if asked.get("pagination_id") else 0


def _question(strategy: str, asked: dict[str, Any], site: Site, key: Key) -> Question:
    strategy = "together" if asked.get("buy_together") else strategy
    common = engine.question(strategy, asked, site, key)
    return replace(
        common,
        anchors=_anchors(asked),
        anchor_groups=_groups(asked),
        pagination_id=asked.get("pagination_id", ""),
        start=_start(asked),
        rules=replace(common.rules, dithering=_dithering(asked, common)),
        exploring=_exploring(asked, common, site),
    )


def _exploring(asked: dict[str, Any], common: Question, site: Site) -> Exploring:
    """The same places and products over the pages of a list, and with the same `seed`; else each
    answer draws anew."""
    share = site_settings.of(site, site_settings.EXPLORATION)
    over_pages = f"{common.actor}/{asked['pagination_id']}" if asked.get("pagination_id") else None
    return Exploring(share, asked.get("seed") or over_pages or uuid4().hex)


def _dithering(asked: dict[str, Any], common: Question) -> Dithering | None:
    """Without a seed of its own a list stays as it is for a minute, and over its pages."""
    amount = asked.get("dithering", 1)
    if amount <= 1:
        return None
    while_it_lasts = asked.get("pagination_id") or f"{common.at:%Y-%m-%dT%H:%M}"
    return Dithering(float(amount), asked.get("seed", f"{common.actor}/{while_it_lasts}"))


def _anchors(asked: dict[str, Any]) -> list[str]:
    return [one for name in ANCHORS for one in _many(asked.get(name))]


def _groups(asked: dict[str, Any]) -> list[str]:
    return [one for name in ANCHOR_GROUPS for one in _many(asked.get(name))]


def _many(value: Any) -> list[str]:
    """Ids as a list; clients send one or several."""
    found = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else str(one) for one in found if one is not None]
