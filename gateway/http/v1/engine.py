"""What the engine routes of `/v1` share: their common fields, the question made of them, and the
answer in Miso's words.

Every field of Miso's is known by name: what is not built yet is refused unless it asks for
nothing, because a list that silently ignored a rule would be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import g
from marshmallow import Schema, ValidationError
from marshmallow.fields import Field
from marshmallow.validate import Length, Range

import schemas
from gateway import instant, site_settings
from gateway.access import Key, Site
from gateway.http import shapes
from gateway.http.errors import Refused
from gateway.http.v1 import cohort, geo, rules
from ranking.answer import Answer, Ranked
from ranking.merchandising import filters
from ranking.merchandising.filters import Expression, FilterError
from ranking.question import Question
from ranking.visitors.identity import actor_id
from schemas import payload, v1
from schemas.errors import Invalid, Problem
from schemas.event import at_most
from schemas.fields import Anything, Flag, Id, Items, PersonId, Reader, Text, Whole, problems

LARGEST_BYTES = 1024 * 1024
MOST_ROWS = 500
MOST_ADDITIONAL = 200
MOST_FIELDS = 200
MOST_EXCLUDED = 10_000
MOST_PROBLEMS = 100
# Each statement has its own limit, but of one request there may be dozens.
ANSWER_S = 4.0

# Fields by name with the values that ask for nothing.
NotBuilt = Mapping[str, tuple[Any, ...]]

NOT_BUILT: NotBuilt = {
    "boosting_tags": ([],),
    "custom_context": ({},),
    # There are no stored rules to switch off.
    "enable_boosting_campaigns": (True, False),
}


class Few(Items):
    """A list that is counted before any of it is read."""

    def __init__(self, inner: Field, most: int, what: str, **kwargs: Any) -> None:
        self.check = Length(max=most, error=f"At most {most:,} {what}.")
        super().__init__(inner, validate=self.check, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if type(value) in (list, dict):
            self.check(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Name(Text):
    """A field's name, which is not checked: clients ask for some that Miso alone has."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, attr, data, **kwargs)
        if not name.strip():
            raise ValidationError("The name must not be empty.")
        return name


class EngineRequest(Schema):
    """For whom, and which fields of the products."""

    user_id = PersonId(validate=at_most(512))
    anonymous_id = PersonId(validate=at_most(1024))
    user_hash = Text()
    engine_id = Text()
    fl = Few(Name(), MOST_FIELDS, "fields")


class ListRequest(EngineRequest, rules.RulesRequest, geo.GeoRequest):
    """How many, which products may be in the list, and in which order."""

    type = Text()
    rows = Whole(validate=Range(0, MOST_ROWS, error=f"Ask for 0 to {MOST_ROWS} products."))
    fq = Text()
    exclude = Few(Id(), MOST_EXCLUDED, "products")  # type: ignore[assignment]
    dedupe_product_group_id = Flag()
    additional_interactions = Few(Anything(), MOST_ADDITIONAL, "interactions")
    explain = Flag()
    user_cohort = cohort.field()


def documented(
    shape: type[Schema],
    summary: str,
    data: shapes.Shape | None = None,
    *,
    common: shapes.Shape | None = None,
) -> dict[str, Any]:
    """The OpenAPI parts of an engine route, its body under every content type that is sent; `data`
    is what it answers beside the `common` parts (a list's)."""
    content = {kind: {"schema": shape} for kind in ("application/json", "text/plain")}
    answered = shapes.record((common or LIST) | (data or {}), MAYBE)
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": shapes.ok(shapes.record({"message": shapes.TEXT, "data": answered})),
    }


# A product has the fields asked for by `fl` beside these.
PRODUCT = shapes.record(
    {"product_id": shapes.TEXT},
    {
        "_personalization_score": shapes.NUMBER,
        "_search_score": shapes.NUMBER,
        "_boosted": shapes.FLAG,
        "_boosted_rules": shapes.many(shapes.TEXT),
        "_explored": shapes.FLAG,
        "_found": shapes.FLAG,
        "_missing_keywords": shapes.many(shapes.TEXT),
        "_matched_fields": shapes.many(shapes.TEXT),
        "_highlights": shapes.OPEN,
        "_from": shapes.TEXT,
        "_explanation": shapes.OPEN,
    },
    more=True,
)
ANSWER = {"took": shapes.COUNT, "miso_id": shapes.UUID}
LIST = ANSWER | {"products": shapes.many(PRODUCT)}
MAYBE = {"interests": shapes.OPEN, "fallback": shapes.TEXT}


# the request ------------------------------------------------------------------------------------


def read(body: bytes, reader: Reader, not_built: NotBuilt) -> tuple[dict[str, Any], list[Problem]]:
    """The checked fields of a request, and every problem found; raises Refused for what is not a
    JSON object."""
    sent = payload.parse(body)
    if type(sent) is not dict:
        raise Refused("the body must be a JSON object", problems=[Problem("", "not an object")])
    found = list(_not_built(sent, not_built))
    built = {name: value for name, value in sent.items() if name not in not_built}
    try:
        asked = reader.read(built)
    except ValidationError as error:
        return {}, found + problems(error, sent)
    beyond = (*rules.problems(asked), *geo.problems(asked), *cohort.problems(asked))
    return asked, [*found, *beyond]


def _not_built(sent: dict[str, Any], not_built: NotBuilt) -> Iterator[Problem]:
    for name, nothing in not_built.items():
        value = sent.get(name)
        if value is not None and value not in nothing:
            yield Problem(
                f"/{name}", f"`{name}` is not supported by this route: leave it out.", value
            )


def refused(found: list[Problem]) -> Refused:
    """The 422 of these problems."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Refused(
        f"{first.pointer[1:] or 'body'}: {first.message}{more}", problems=found[:MOST_PROBLEMS]
    )


def question(strategy: str, asked: dict[str, Any], site: Site, key: Key) -> Question:
    """The question that the common fields ask; raises Refused for a filter or an interaction."""
    at = instant.now()
    asked_rules = rules.rules(asked, at)
    return Question(
        site_id=site.site_id,
        strategy=strategy,
        until=time.monotonic() + ANSWER_S,
        at=at,
        actor=_actor(asked, site),
        alone=_alone(asked, key),
        rows=asked.get("rows", 5),
        filter=_filter(asked),
        exclude=asked.get("exclude", ()),
        rules=replace(asked_rules, boosts=asked_rules.boosts + geo.boosts(asked)),
        cohort=cohort.cohort(asked),
        one_per_group=asked.get("dedupe_product_group_id", True),
        fields=asked.get("fl", ()),
        additional=_additional(asked.get("additional_interactions", [])),
        explain=asked.get("explain", False),
        bought_days=site_settings.of(site, site_settings.BOUGHT_DAYS),
        new_lift=site_settings.of(site, site_settings.NEW_LIFT),
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
        raise refused([Problem("/fq", str(error), asked["fq"])]) from None
    if asked.get("type"):
        conditions.append(filters.equals("type", asked["type"]))
    return filters.all_of(conditions + geo.conditions(asked))


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
        raise refused(found)
    return [fact for fact in facts if isinstance(fact, schemas.Event)]


# the answer -------------------------------------------------------------------------------------


def product(one: Ranked) -> dict[str, Any]:
    """A product of a list."""
    shown = {
        **one.fields,
        "product_id": one.product_id,
        "_personalization_score": one.score,
        "_boosted": bool(one.boosts),
    }
    if named := [name for name in one.boosts if name]:
        shown["_boosted_rules"] = named
    if one.explored:
        shown["_explored"] = True
    return shown if one.explanation is None else shown | {"_explanation": one.explanation}


def success(
    answered: Answer, show: Callable[[Ranked], dict[str, Any]] = product, **more: Any
) -> dict[str, Any]:
    """A list's envelope; `more` is what the route has beside the common parts."""
    data: dict[str, Any] = {
        "took": took(),
        "miso_id": str(answered.miso_id),
        "products": [show(one) for one in answered.products],
        **more,
    }
    if answered.interests is not None:
        data["interests"] = answered.interests
    if answered.fallback is not None:
        data["fallback"] = answered.fallback
    return {"message": "success", "data": data}


def took() -> int:
    """Milliseconds since the request began."""
    return int((time.perf_counter() - g.started_at) * 1000)
