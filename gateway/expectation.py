"""What may be wrong with a host's answer, for the checks of `verify`: each expectation judges one
answer and says in a few words what does not fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

ORIGIN = "https://shop.example"  # of the page that asks


@dataclass(frozen=True)
class Answer:
    """What a host answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body's JSON object, empty where it is none."""
        try:
            read = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return read if isinstance(read, dict) else {}

    @property
    def data(self) -> dict[str, Any]:
        """The envelope's `data`, empty where it is no object."""
        data = self.json.get("data")
        return data if isinstance(data, dict) else {}


# What is wrong with an answer, None where nothing is.
Expectation = Callable[[Answer], str | None]

LINE = re.compile(r"data(\.(?P<index>\d+)(\.(?P<path>\S+))?)? (\(.*\) )?is invalid\. .+", re.DOTALL)


def every(*expectations: Expectation) -> Expectation:
    """All of them, the first that is not met tells why."""
    return lambda answer: next(
        (reason for one in expectations if (reason := one(answer)) is not None), None
    )


def status(expected: int) -> Expectation:
    """This status, and JSON with a `message`, which SDKs show."""

    def judge(answer: Answer) -> str | None:
        if answer.status != expected:
            return f"the status is not {expected}"
        if not answer.json:
            return "the body is no JSON object"
        return None

    return judge


def says(expected: str | None = None) -> Expectation:
    """A `message` that is text, or this text."""

    def judge(answer: Answer) -> str | None:
        message = answer.json.get("message")
        if not isinstance(message, str) or not message:
            return "`message` is no text"
        return f"`message` is not {expected!r}" if expected not in (None, message) else None

    return judge


def no_errors(answer: Answer) -> str | None:
    """The browser SDK throws on any truthy `errors`."""
    return "`errors` is there and not false" if answer.json.get("errors") else None


def has_task(answer: Answer) -> str | None:
    """The id under which an upload's fate is asked for."""
    return None if _is_text(answer.data.get("task_id")) else "`data.task_id` is no text"


def success(message: str = "success") -> Expectation:
    """The envelope of a success."""
    return every(status(200), says(message), no_errors)


def holds(name: str, expected: Any) -> Expectation:
    """The record in `data` has this value, None: not the field."""

    def judge(answer: Answer) -> str | None:
        return None if answer.data.get(name) == expected else f"`data.{name}` is not {expected!r}"

    return judge


def lists_ids(expected: Sequence[str]) -> Expectation:
    """These are among `data.ids`."""

    def judge(answer: Answer) -> str | None:
        ids = answer.data.get("ids")
        if not isinstance(ids, list):
            return "`data.ids` is no list"
        missing = [one for one in expected if one not in ids]
        return f"{missing[0]!r} is not in `data.ids`" if missing else None

    return judge


def task_told(answer: Answer) -> str | None:
    """What became of an upload, without an envelope."""
    told = answer.json
    if not _is_count(told.get("took")) or not _is_count(told.get("code")):
        return "`took` or `code` is no number"
    if told.get("errors") is not False or not isinstance(told.get("data"), list):
        return "`errors` is not false or `data` no list"
    return None


def refused(index: int | None = None, path: str | None = None) -> Expectation:
    """The 422 of an upload: each line in the form that machines read, one of them about this
    record and path."""

    def judge(answer: Answer) -> str | None:
        lines = answer.json.get("data")
        if answer.json.get("errors") is not True:
            return "`errors` is not true"
        if not isinstance(lines, list) or not lines:
            return "`data` is no list of lines"
        found = [LINE.fullmatch(line) if isinstance(line, str) else None for line in lines]
        if None in found:
            return "a line of `data` has not the form `data.<index>.<path> (<value>) is invalid. …`"
        about = {(one["index"], one["path"]) for one in found if one}
        wanted = (None if index is None else str(index), path)
        return None if index is None or wanted in about else f"no line names data.{index}.{path}"

    return every(status(422), says(), judge)


def refused_request(name: str) -> Expectation:
    """The 422 of an engine: FastAPI's `detail` with the field."""

    def judge(answer: Answer) -> str | None:
        detail = answer.json.get("detail")
        if not isinstance(detail, list) or not all(isinstance(one, dict) for one in detail):
            return "`detail` is no list of objects"
        if not all(_is_text(one.get("msg")) and _is_text(one.get("type")) for one in detail):
            return "`detail` lacks `msg` or `type`"
        located = [one.get("loc") for one in detail]
        return None if ["body", name] in located else f"no `loc` is ['body', '{name}']"

    return every(status(422), judge)


def ranked(most: int, fields: Sequence[str] | None = ()) -> Expectation:
    """An engine's envelope: at most so many products, each with its id, what was asked for and
    underscore fields, and no others; None: any."""

    def judge(answer: Answer) -> str | None:
        if not _is_count(answer.data.get("took")) or not _is_uuid(answer.data.get("miso_id")):
            return "`data.took` is no whole number or `data.miso_id` no UUID"
        products = answer.data.get("products")
        if not isinstance(products, list) or not all(isinstance(one, dict) for one in products):
            return "`data.products` is no list of objects"
        if len(products) > most:
            return f"there are more than {most} products"
        if not all(_is_text(one.get("product_id")) for one in products):
            return "a product has no `product_id`"
        allowed = {"product_id", *(fields or ())}
        odd = [name for one in products for name in one if name[:1] != "_" and name not in allowed]
        return f"a product has `{odd[0]}`, not asked for" if odd and fields is not None else None

    return every(success(), judge)


def scored(name: str) -> Expectation:
    """Each product has this number."""

    def judge(answer: Answer) -> str | None:
        scores = [one.get(name) for one in answer.data["products"]]
        good = all(isinstance(one, int | float) and not isinstance(one, bool) for one in scores)
        return None if good else f"a product's `{name}` is no number"

    return judge


SPELLING = {
    "spelling_errors": bool,
    "auto_spelling_correction": bool,
    "original_query": str,
    "original_query_with_markups": str,
    "corrected_query": str,
    "corrected_query_with_markups": str,
}


def searched(answer: Answer) -> str | None:
    """What a search has beside the products."""
    data = answer.data
    if not _is_count(data.get("total")) or not _is_count(data.get("start")):
        return "`data.total` or `data.start` is no whole number"
    spelling = _object(data.get("spellcheck"))
    odd = [name for name, kind in SPELLING.items() if not isinstance(spelling.get(name), kind)]
    if odd:
        return f"`data.spellcheck.{odd[0]}` is missing or of another type"
    if not isinstance(_object(data.get("facet_counts")).get("facet_fields"), dict):
        return "`data.facet_counts.facet_fields` is no object"
    lists = ("partially_matched_products", "custom_assets", "boosting_rules")
    odd = [name for name in lists if not isinstance(data.get(name), list)]
    if odd:
        return f"`data.{odd[0]}` is no list"
    marked = all(isinstance(one.get("_boosted"), bool) for one in data["products"])
    return None if marked else "a product's `_boosted` is neither true nor false"


def found_in_order(known: Sequence[str], unknown: Sequence[str]) -> Expectation:
    """Products by id: those known and unknown, in this order, each with `_found`."""

    def judge(answer: Answer) -> str | None:
        got = [(one.get("product_id"), one.get("_found")) for one in answer.data["products"]]
        wanted = [(one, True) for one in known] + [(one, False) for one in unknown]
        return None if got == wanted else "ids or `_found` are not those asked for, in their order"

    return judge


def without(product_id: str) -> Expectation:
    """This product is not among those that are like it."""

    def judge(answer: Answer) -> str | None:
        ids = [one["product_id"] for one in answer.data["products"]]
        return "the product itself is among them" if product_id in ids else None

    return judge


def readable(answer: Answer) -> str | None:
    """A page of another origin may read it."""
    allowed = answer.headers.get("access-control-allow-origin")
    if allowed in ("*", ORIGIN):
        return None
    return f"Access-Control-Allow-Origin is {allowed!r}, neither * nor {ORIGIN}"


def preflighted(answer: Answer) -> str | None:
    """What a browser asks before it sends a key as a header."""
    if not 200 <= answer.status < 300:
        return "the status is not 2xx"
    methods = _words(answer, "access-control-allow-methods")
    if missing := {"get", "post", "delete"} - methods:
        return f"Access-Control-Allow-Methods lacks {', '.join(sorted(missing))}"
    headers = _words(answer, "access-control-allow-headers")
    if missing := {"content-type", "x-api-key", "authorization"} - headers:
        return f"Access-Control-Allow-Headers lacks {', '.join(sorted(missing))}"
    kept = answer.headers.get("access-control-max-age", "")
    return None if kept.isdigit() else "Access-Control-Max-Age is no number"


def _words(answer: Answer, name: str) -> set[str]:
    return {word.strip().lower() for word in answer.headers.get(name, "").split(",")}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value).hex)
    except ValueError:
        return False


NOT_AUTHENTIC = every(status(401), says("invalid api key."), readable)
NOT_FOUND = every(status(404), says())
FORBIDDEN = every(status(403), says())
GONE = every(status(404), says("not found"))
