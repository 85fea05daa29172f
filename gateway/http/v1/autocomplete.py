"""`/v1/search/autocomplete`: what completes the text that a visitor types, in Miso's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask_smorest import Blueprint
from marshmallow import ValidationError
from marshmallow.validate import Length, Range

from gateway import access
from gateway.access import Key
from gateway.http import auth, door, shapes, state
from gateway.http.v1 import engine
from gateway.http.v1.engine import Few, NotBuilt
from ranking.autocomplete import Asked, Completed, complete
from ranking.catalog.completions import CUSTOM, FIELDS, HISTORICAL, TITLE
from ranking.merchandising import filters
from schemas.fields import Language, Reader, Text, Whole

blueprint = Blueprint("autocomplete", __name__, url_prefix="/v1/search")

LONGEST_QUERY = 200
MOST_FIELDS = 10
MOST_ROWS = 50
LEAST_VISITORS = 5

NOT_BUILT: NotBuilt = {
    **engine.NOT_BUILT,
    "diversification": ({},),
    "diversity": (0,),
    "explain": (False,),
}


def _completable(name: str) -> None:
    top, dot, inner = filters.spelled(name).partition(".")
    if name not in (*FIELDS, HISTORICAL) and not (top == CUSTOM and dot and inner):
        raise ValidationError(
            f"Name fields that hold names: {', '.join((*FIELDS, HISTORICAL))}, {CUSTOM}.…"
        )


class AutocompleteRequest(engine.ListRequest):
    """What is typed, for whom, and which fields of products complete it."""

    q = Text(
        required=True,
        validate=Length(max=LONGEST_QUERY, error=f"At most {LONGEST_QUERY:,} characters."),
    )
    completion_fields = Few(Text(validate=_completable), MOST_FIELDS, "fields")
    min_query_users = Whole(validate=Range(1, error="A query has at least 1 user."))
    language = Language()
    rows = Whole(validate=Range(0, MOST_ROWS, error=f"Ask for 0 to {MOST_ROWS} completions."))


READER = Reader(AutocompleteRequest())

COMPLETION = shapes.record(
    dict.fromkeys(("text", "text_with_markups", "text_with_inverted_markups"), shapes.TEXT),
    {"product": engine.PRODUCT},
)
ANSWER = shapes.record(
    {
        "message": shapes.TEXT,
        "data": shapes.record(
            {
                "took": shapes.COUNT,
                "miso_id": shapes.UUID,
                "completions": shapes.map_of(shapes.many(COMPLETION)),
            },
            {"min_query_users": shapes.COUNT},
        ),
    }
)


@blueprint.route("/autocomplete", methods=["POST"])
@blueprint.doc(
    **engine.documented(AutocompleteRequest, summary="Completions of what is typed")
    | {"responses": shapes.ok(ANSWER)}
)
def autocomplete() -> dict[str, Any]:
    """A space at the end of `q` finishes its last word. An empty `q` gives what is popular."""
    key = auth.authenticate("engine:read")
    asked, found = engine.read(door.read_body(engine.LARGEST_BYTES), READER, NOT_BUILT)
    if found:
        raise engine.refused(found)
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        question = engine.question("autocomplete", asked, site, key)
        question = replace(question, endpoint="search/autocomplete")
        wanted = _asked(asked, key)
        answered = complete(connection, question, wanted)
    data = {
        "took": engine.took(),
        "miso_id": str(answered.miso_id),
        "completions": {
            name: [_shown(one) for one in ones] for name, ones in answered.fields.items()
        },
    }
    if HISTORICAL in wanted.fields:
        data["min_query_users"] = wanted.least_visitors
    return {"message": "success", "data": data}


def _asked(asked: dict[str, Any], key: Key) -> Asked:
    """What few have searched for may tell of one of them: no key that stands in a page shows it,
    and the answer says of how many it is."""
    least = asked.get("min_query_users", LEAST_VISITORS)
    return Asked(
        text=asked["q"],
        fields=tuple(dict.fromkeys(asked.get("completion_fields") or [TITLE])),
        least_visitors=least if key.kind == "secret" else max(least, LEAST_VISITORS),
        language=asked.get("language", ""),
    )


def _shown(one: Completed) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "text": one.text,
        "text_with_markups": one.text_marked,
        "text_with_inverted_markups": one.text_inverted,
    }
    if one.product_id is None:
        return shown
    product = {**(one.fields or {}), "product_id": one.product_id, "_boosted": bool(one.boosts)}
    if named := [name for name in one.boosts if name]:
        product["_boosted_rules"] = named
    return shown | {"product": product}
