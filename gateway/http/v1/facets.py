"""What a search should count of what it finds (`facets`), and what its visitor has chosen of that
(`facet_filters`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import Field
from marshmallow.validate import Length, Range

from gateway.http.v1 import names
from ranking.merchandising import filters, patterns
from ranking.merchandising.facets import Bucket, Facet, Facets
from ranking.merchandising.filters import Expression, FilterError
from ranking.merchandising.patterns import PatternError
from schemas.errors import Problem
from schemas.fields import Items, Named, Part, Reader, Text, Whole, wrong_type

MOST_FACETS = 30
MOST_BUCKETS = 50
MOST_IN_ALL = 100  # ranges and queries of a request
MOST_TERMS = 200
MOST_NARROWED = 30
LARGEST = 1000
SIZE = 10


class Bound(Field):
    """A number or a date."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if type(value) not in (int, float, str):
            raise wrong_type("number", value)
        return value


class Term(Field):
    """A value as a product has it: a text, a number, a boolean."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if type(value) not in (int, float, str, bool):
            raise wrong_type("string", value)
        if value == "":
            raise ValidationError("The value must not be empty: no product has such a one.")
        return value


_RangeParts = Schema.from_dict({"key": Text(), "from": Bound(), "to": Bound()})


class FacetRange(_RangeParts):  # type: ignore[valid-type,misc]
    """From one number or date up to, but without, another."""


class FacetQuery(Schema):
    """What a filter lets through."""

    key = Text()
    query = Text(required=True)


def _few(inner: type[Schema], what: str) -> Items:
    error = f"At most {MOST_BUCKETS} {what}."
    return Items(Part(inner), validate=Length(max=MOST_BUCKETS, error=error))


class FacetRequest(Schema):
    """A field whose values are counted, or ranges and filters that are."""

    field = Text(required=True)
    alias = Text()
    size = Whole(validate=Range(0, LARGEST, error=f"Ask for 0 to {LARGEST:,} values."))
    include = Text()
    exclude = Text()  # type: ignore[assignment]
    ranges = _few(FacetRange, "ranges")
    queries = _few(FacetQuery, "queries")


class FacetField(Field):
    """A facet by its field alone, or as an object."""

    def __init__(self) -> None:
        super().__init__(
            metadata={"anyOf": [{"type": "string"}, {"type": "object", "required": ["field"]}]}
        )
        self.reader = Reader(FacetRequest())

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        return {"field": value} if type(value) is str else self.reader.read(value)


class Chosen(Schema):
    """What of a facet was chosen: any of it."""

    terms = Items(Term(), validate=Length(max=MOST_TERMS, error=f"At most {MOST_TERMS} terms."))
    ranges = _few(FacetRange, "ranges")
    queries = _few(FacetQuery, "queries")


class FacetsRequest(Schema):
    """What to count, and what was chosen of it."""

    facets = Items(
        FacetField(), validate=Length(max=MOST_FACETS, error=f"At most {MOST_FACETS} facets.")
    )
    facet_filters = Named(
        Part(Chosen), validate=Length(max=MOST_NARROWED, error=f"At most {MOST_NARROWED} fields.")
    )


# read -------------------------------------------------------------------------------------------


def facets(asked: dict[str, Any], filter: Expression) -> tuple[Facets, list[Problem]]:
    """The facets of a search with that filter, and every problem found."""
    found: list[Problem] = []
    sent = asked.get("facets", [])
    _check_count([one for one in sent if isinstance(one, dict)], asked, found)
    made = [_facet(one, f"/facets/{number}", found) for number, one in enumerate(sent)]
    _check_names(made, found)
    narrowed = [
        (name, _chosen(_field_of(name, made), one, f"/facet_filters/{name}", found))
        for name, one in asked.get("facet_filters", {}).items()
        if any(one.get(kind) for kind in ("terms", "ranges", "queries"))
    ]
    return Facets(tuple(made), filter, tuple(narrowed)), found


def _check_count(sent: list[dict[str, Any]], asked: dict[str, Any], found: list[Problem]) -> None:
    """Each is a condition to be read and counted by."""
    parts = [*sent, *asked.get("facet_filters", {}).values()]
    count = sum(len(one.get(kind, ())) for one in parts for kind in ("ranges", "queries"))
    if count > MOST_IN_ALL:
        message = f"These are {count} ranges and queries: send at most {MOST_IN_ALL} in all."
        found.append(Problem("/facets", message))


def _check_names(made: list[Facet], found: list[Problem]) -> None:
    names = [one.name for one in made]
    for number, name in enumerate(names):
        if name in names[:number]:
            message = f"Two facets are called {name}: give one an alias of its own."
            found.append(Problem(f"/facets/{number}", message, name))


def _facet(sent: dict[str, Any], pointer: str, found: list[Problem]) -> Facet:
    field = sent["field"]
    buckets = list(_buckets(field, sent, pointer, found))
    if not buckets and not filters.countable(field):
        found.append(Problem(f"{pointer}/field", _uncountable(field), field))
    return Facet(
        name=sent.get("alias") or field,
        field=filters.spelled(field),
        size=sent.get("size", SIZE),
        include=_pattern(sent, "include", pointer, found),
        exclude=_pattern(sent, "exclude", pointer, found),
        buckets=tuple(buckets),
    )


def _uncountable(field: str) -> str:
    if not filters.known(filters.spelled(field)):
        return names.unknown(field)
    return f'"{field}" has no values to count: give the facet `ranges` or `queries`.'


def _pattern(sent: dict[str, Any], name: str, pointer: str, found: list[Problem]) -> str | None:
    pattern = sent.get(name)
    if not pattern:
        return None
    try:
        return patterns.translate(pattern)
    except PatternError as error:
        found.append(Problem(f"{pointer}/{name}", str(error), pattern))
        return None


def _buckets(
    field: str, sent: dict[str, Any], pointer: str, found: list[Problem]
) -> Iterator[Bucket]:
    for at, one, condition in _conditions(field, sent, pointer, found):
        if not one.get("key"):
            found.append(Problem(f"{at}/key", "Say under which key to count it."))
        yield Bucket(one.get("key", ""), condition)


def _conditions(
    field: str, sent: dict[str, Any], pointer: str, found: list[Problem]
) -> Iterator[tuple[str, dict[str, Any], Expression]]:
    """Each range and each query with the pointer to it, as a condition."""
    for number, one in enumerate(sent.get("ranges", [])):
        at = f"{pointer}/ranges/{number}"
        if "from" not in one and "to" not in one:
            found.append(Problem(at, "A range needs `from`, `to` or both."))
        start, end = one.get("from"), one.get("to")
        yield at, one, _read(at, one, found, filters.between, field, start, end)
    for number, one in enumerate(sent.get("queries", [])):
        at = f"{pointer}/queries/{number}/query"
        yield (
            at.removesuffix("/query"),
            one,
            _read(at, one["query"], found, filters.parse, one["query"]),
        )


def _read(
    pointer: str, sent: Any, found: list[Problem], read: Callable[..., Expression], *about: Any
) -> Expression:
    try:
        return read(*about)
    except FilterError as error:
        found.append(Problem(pointer, str(error), sent))
        return filters.everything()


def _field_of(name: str, made: list[Facet]) -> str:
    """What is chosen of an alias is chosen of its facet's field."""
    return next((one.field for one in made if one.name == name), name)


def _chosen(field: str, sent: dict[str, Any], pointer: str, found: list[Problem]) -> Expression:
    """Any of what was chosen of one facet."""
    terms = [
        _read(f"{pointer}/terms/{number}", term, found, filters.equal, field, term)
        for number, term in enumerate(sent.get("terms", []))
    ]
    others = [condition for _, _, condition in _conditions(field, sent, pointer, found)]
    return filters.any_of([*terms, *others])
