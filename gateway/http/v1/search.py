"""`/v1/search/*`: products for a text, and products by id, in Miso's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema
from marshmallow.validate import Range

from gateway import access
from gateway.access import Key, Site
from gateway.http import auth, door, shapes, state
from gateway.http.v1 import engine, facets, finding, geo, ordering, rules
from gateway.http.v1.engine import Few, NotBuilt
from ranking.answer import Answer, Ranked, answer
from ranking.catalog import records, spelling
from ranking.merchandising import filters
from ranking.question import Question, Search
from ranking.strategies.search import fit
from schemas.database import Connection
from schemas.errors import Problem
from schemas.fields import Flag, Id, Part, Reader, Whole

blueprint = Blueprint("search", __name__, url_prefix="/v1/search")

DEEPEST = 10_000
MOST_IDS = 1000
NO_ANSWER = UUID(int=0)  # products by id are nobody's list, so nothing remembers it


class Spellcheck(Schema):
    """Whether a search is for the corrected query; the correction is told in any case."""

    enable_auto_spelling_correction = Flag()


class SearchRequest(
    engine.ListRequest,
    finding.FindingRequest,
    facets.FacetsRequest,
    ordering.OrderRequest,
    rules.DiversityRequest,
):
    """What for, for whom, how many, and which products may be in the list."""

    start = Whole(validate=Range(0, DEEPEST, error=f"A list begins at 0 to {DEEPEST:,}."))
    anchoring_settings = rules.anchor_rules()
    spellcheck = Part(Spellcheck)


class GetRequest(engine.EngineRequest):
    """Which products, with which fields (all, unless said)."""

    product_ids = Few(Id(), MOST_IDS, "products", required=True)


SEARCH, GET = Reader(SearchRequest()), Reader(GetRequest())


FOUND = {
    "total": shapes.COUNT,
    "start": shapes.COUNT,
    "spellcheck": shapes.record(
        {"spelling_errors": shapes.FLAG, "auto_spelling_correction": shapes.FLAG}
        | dict.fromkeys(
            (
                "original_query", "original_query_with_markups",
                "corrected_query", "corrected_query_with_markups",
            ),
            shapes.TEXT,
        )
    ),
    "product_existence": shapes.OPEN,
    "partially_matched_products": shapes.many(engine.PRODUCT),
    "facet_counts": shapes.record(
        {"facet_fields": shapes.map_of(shapes.many({"type": "array", "items": {}}))}
    ),
    "custom_assets": shapes.many(shapes.OPEN),
    "boosting_rules": shapes.many(shapes.OPEN),
    "filtering_rule": shapes.TEXT,
}  # fmt: skip


@blueprint.route("/search", methods=["POST"])
@blueprint.doc(**engine.documented(SearchRequest, summary="Products for a text", data=FOUND))
def search() -> dict[str, Any]:
    """All its words must occur; the visitor's kind first. `*` finds every product."""
    key = auth.authenticate("engine:read")
    asked = _read(SEARCH, engine.NOT_BUILT)
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        asked_for = _question(asked, site, key)
        return _found(asked, asked_for, answer(connection, asked_for))


@blueprint.route("/mget", methods=["POST"])
@blueprint.doc(**engine.documented(GetRequest, summary="Products by id"))
def mget() -> dict[str, Any]:
    """In the order of the ids, each with `_found`."""
    key = auth.authenticate("engine:read")
    asked = _read(GET, {})
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    wanted, ids = asked.get("fl", ["*"]), asked["product_ids"]
    with state.serving().connection() as connection:
        known = _known(connection, key.site_id, ids)
    return {
        "message": "success",
        "data": {
            "took": engine.took(),
            "miso_id": str(NO_ANSWER),
            "products": [
                records.picked(known.get(one, {}), wanted)
                | {"product_id": one, "_found": one in known}
                for one in ids
            ],
        },
    }


def _known(
    connection: Connection, site_id: int, product_ids: list[str]
) -> dict[str, dict[str, Any]]:
    """The whole records by id; unknown and deleted products are left out."""
    numbers = {one.product_no: one for one in records.numbers(connection, site_id, product_ids)}
    kept = records.fields(connection, site_id, numbers)
    return {numbers[number].product_id: record for number, record in kept.items()}


def _read(reader: Reader, not_built: NotBuilt) -> dict[str, Any]:
    asked, found = engine.read(door.read_body(engine.LARGEST_BYTES), reader, not_built)
    if reader is SEARCH and (asked or not found):
        found += finding.problems(asked)
    if found:
        raise engine.refused(found)
    return asked


def _question(asked: dict[str, Any], site: Site, key: Key) -> Question:
    common = engine.question("search", asked, site, key)
    condition = filters.all_of([common.filter, *finding.conditions(asked)])
    counting, found = facets.facets(asked, condition)
    order, unreadable = ordering.keys(asked)
    if order and asked.get("diversity"):
        message = "An order that is asked for by order_by is kept: leave out one of them."
        found.append(Problem("/diversity", message, asked["diversity"]))
    if found := found + unreadable:
        raise engine.refused(found)
    return replace(
        common,
        order=order,
        filter=counting.condition,
        facets=counting,
        endpoint="search/search",
        start=asked.get("start", 0),
        search=replace(finding.search(asked), corrected=_is_corrected(asked)),
    )


def _is_corrected(asked: dict[str, Any]) -> bool:
    """Unless it is asked for as it was typed."""
    wanted: bool = asked.get("spellcheck", {}).get("enable_auto_spelling_correction", True)
    return wanted


# the answer -------------------------------------------------------------------------------------


def _found(sent: dict[str, Any], asked: Question, answered: Answer) -> dict[str, Any]:
    return engine.success(
        answered,
        show=lambda one: _product(asked, one),
        total=_total(asked, answered),
        start=asked.start,
        spellcheck=_spellcheck(asked.search, sent, answered),
        product_existence=finding.existence(asked.search, answered),
        partially_matched_products=[_product(asked, one) for one in answered.others],
        facet_counts={"facet_fields": answered.facets},
        custom_assets=[],
        boosting_rules=rules.shown(sent) + geo.shown(sent),
        filtering_rule="",
    )


def _total(asked: Question, answered: Answer) -> int:
    """Never fewer than are seen."""
    seen = asked.start + len(answered.products) if answered.products else 0
    return max(seen, answered.total or 0)


def _product(asked: Question, one: Ranked) -> dict[str, Any]:
    """`_personalization_score` is how well it fits the visitor, 0 where nothing is known."""
    scores = {
        "_search_score": one.score,
        "_personalization_score": fit(asked, one.score, one.parts),
    }
    return engine.product(one) | scores | finding.product(asked.search, one)


def _spellcheck(asked: Search, sent: dict[str, Any], answered: Answer) -> dict[str, Any]:
    """All of Miso's fields, which its clients read of every search."""
    found = answered.spelling or spelling.unchanged(asked.text or sent["advanced_q"])
    return {
        "spelling_errors": found.is_wrong,
        "auto_spelling_correction": found.is_wrong and asked.corrected,
        "original_query": found.original,
        "original_query_with_markups": found.original_marked,
        "corrected_query": found.corrected,
        "corrected_query_with_markups": found.corrected_marked,
    }
