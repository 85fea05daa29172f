"""`/v1/search/*`: products for a text, and products by id, in Miso's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from marshmallow.validate import Length, Range

from gateway import access
from gateway.access import Key, Site
from gateway.http import auth, door, shapes, state
from gateway.http.v1 import engine, rules
from gateway.http.v1.engine import Few, NotBuilt
from ranking.answer import Answer, Ranked, answer
from ranking.catalog import records, spelling
from ranking.question import Question, Search
from ranking.strategies.search import EVERYTHING, WITH_WORDS
from schemas.database import Connection
from schemas.fields import Flag, Id, Number, Part, Reader, Text, Whole

blueprint = Blueprint("search", __name__, url_prefix="/v1/search")

LONGEST_QUERY = 1000
DEEPEST = 10_000
MOST_IDS = 1000
WEIGHT = 5
THRESHOLD = 0.5
NO_ANSWER = UUID(int=0)  # products by id are nobody's list, so nothing remembers it

NOT_BUILT: NotBuilt = {
    **engine.NOT_BUILT,
    "advanced_q": (),
    "category": ([],),
    "enable_matched_fields": (False,),
    "enable_partial_match": (False,),
    "enable_partial_match_threshold": (),
    "exclude_fields_from_search": ([],),
    "facet_filters": ({},),
    "facets": ([],),
    "include": ([],),
    "like": ("",),
    "order_by": ([],),
    # How, where there is a partial match.
    "partial_match_mode": ("blended", "separated"),
    "query_product_existence": ({},),
}


class Query(Text):
    """What somebody typed."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not text.strip():
            raise ValidationError("Say what to search for, or `*` for all products.")
        return text


class Spellcheck(Schema):
    """Whether a search is for the corrected query; the correction is told in any case."""

    enable_auto_spelling_correction = Flag()


class SearchRequest(engine.ListRequest):
    """What for, for whom, how many, and which products may be in the list."""

    q = Query(
        required=True,
        validate=Length(max=LONGEST_QUERY, error=f"At most {LONGEST_QUERY:,} characters."),
    )
    start = Whole(validate=Range(0, DEEPEST, error=f"A list begins at 0 to {DEEPEST:,}."))
    language = Text()
    anchoring_settings = rules.anchor_rules()
    enable_semantic_search = Flag()
    semantic_search_threshold = Number(
        validate=Range(0, 1, error="The threshold is a number from 0 to 1.")
    )
    personalization_weight = Whole(
        validate=Range(0, WEIGHT, error=f"The weight is a whole number from 0 to {WEIGHT}.")
    )
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
    "facet_counts": shapes.record({"facet_fields": shapes.OPEN}),
    "custom_assets": shapes.many(shapes.OPEN),
    "boosting_rules": shapes.many(shapes.OPEN),
    "filtering_rule": shapes.TEXT,
}  # fmt: skip


@blueprint.route("/search", methods=["POST"])
@blueprint.doc(**engine.documented(SearchRequest, summary="Products for a text", data=FOUND))
def search() -> dict[str, Any]:
    """All its words must occur; the visitor's kind first. `*` finds every product."""
    key = auth.authenticate("engine:read")
    asked = _read(SEARCH, NOT_BUILT)
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
    if found:
        raise engine.refused(found)
    return asked


def _question(asked: dict[str, Any], site: Site, key: Key) -> Question:
    near = asked.get("semantic_search_threshold", THRESHOLD)
    return replace(
        engine.question("search", asked, site, key),
        endpoint="search/search",
        start=asked.get("start", 0),
        search=Search(
            text=asked["q"],
            language=asked.get("language", "")[:2].lower(),
            semantic=near if asked.get("enable_semantic_search", False) else None,
            personal=asked.get("personalization_weight", WEIGHT) / WEIGHT,
            corrected=asked.get("spellcheck", {}).get("enable_auto_spelling_correction", True),
        ),
    )


# the answer -------------------------------------------------------------------------------------


def _found(sent: dict[str, Any], asked: Question, answered: Answer) -> dict[str, Any]:
    return engine.success(
        answered,
        show=lambda one: _product(asked, one),
        total=_total(asked, answered),
        start=asked.start,
        spellcheck=_spellcheck(asked.search, answered),
        product_existence={},
        partially_matched_products=[],
        facet_counts={"facet_fields": {}},
        custom_assets=[],
        boosting_rules=rules.shown(sent),
        filtering_rule="",
    )


def _total(asked: Question, answered: Answer) -> int:
    """Never fewer than are seen."""
    seen = asked.start + len(answered.products) if answered.products else 0
    return max(seen, answered.total or 0)


def _product(asked: Question, one: Ranked) -> dict[str, Any]:
    """`_personalization_score` is how well it fits the visitor, 0 where nothing is known; a list of
    everything is ranked by nothing else."""
    fits = min(1.0, one.parts.get("interest", 0.0) / WITH_WORDS["interest"])
    if asked.search.text.strip() == EVERYTHING:
        fits = one.score
    return engine.product(one) | {"_search_score": one.score, "_personalization_score": fits}


def _spellcheck(asked: Search, answered: Answer) -> dict[str, Any]:
    """All of Miso's fields, which its clients read of every search."""
    found = answered.spelling or spelling.unchanged(asked.text)
    return {
        "spelling_errors": found.is_wrong,
        "auto_spelling_correction": found.is_wrong and asked.corrected,
        "original_query": found.original,
        "original_query_with_markups": found.original_marked,
        "corrected_query": found.corrected,
        "corrected_query_with_markups": found.corrected_marked,
    }
