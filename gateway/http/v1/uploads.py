"""What the data routes of `/v1` share: take a body, apply it, answer in Miso's words.

A secret key's upload is all or nothing (its clients send the good records again), with
`?partial=1` the good ones count. Of a publishable key's the good ones always count: nobody sends
a beacon again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from typing import Any
from uuid import UUID

from flask import Response, g, request
from werkzeug.routing import BaseConverter

from gateway import access, admission, idempotency, ingest, inspection
from gateway.access import Key, Source
from gateway.http import auth, door, once, shapes, state
from gateway.http.errors import HttpError, NotFound, Refused, TooLarge
from gateway.reading import ANONYMOUS_ID, CLAIMED, OF_ANOTHER, RecordProblem, Unreadable
from schemas import payload, v1
from schemas.errors import Malformed, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one body may hold, and how many lines its answer."""

    bytes: int
    records: int
    lines: int


# A secret key's clients find the good records by the lines and send them again.
SECRET = Limits(bytes=20 * 1024 * 1024, records=50_000, lines=10_000)
PUBLISHABLE = Limits(bytes=1024 * 1024, records=1_000, lines=1_000)
MOST_PROBLEMS = 1_000

DRY_RUN = "dry-run"  # the task id of what was not stored
_KEPT_HEADERS = ("Content-Type", "Content-Encoding", "User-Agent", once.HEADER)
_TRUE = ("1", "true")

NONE_INSERTED = (
    "None of the records were inserted because at least one of them contained schema errors. "
    "Please see the `data` field for details."
)
NONE_CHANGED = NONE_INSERTED.replace("inserted", "changed")
NO_FIELDS = "The body must be an object of fields."

Answer = dict[str, Any]


class IdConverter(BaseConverter):
    """An id in a path: anything, slashes too, since `a%2Fb` arrives decoded."""

    regex = "(?s:.+)"  # a line break too
    part_isolating = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a body, whether it was applied or only tried."""

    task_id: str
    received: int
    good: int
    problems: Sequence[RecordProblem]


def upload(topic: str, scope: str) -> Answer | Response:
    """Apply the request's body under a topic and answer with Miso's success.

    Raises the errors of the key and the body; Refused (422) with Miso's lines.
    """
    key = auth.authenticate(scope)
    limits = _limits(key)
    body = door.read_body(limits.bytes, few_large=False)
    _check_count(body, limits.records)
    return _deliver(key, topic, body)


def remove(topic: str, scope: str, ids: dict[str, list[str]]) -> Answer | Response:
    """Apply a deletion that has no body of its own, as if it had come as one."""
    key = auth.authenticate(scope)
    return _deliver(key, topic, json.dumps({"data": ids}).encode())


def change(topic: str, scope: str, product_id: str) -> Answer | Response:
    """Apply the fields in the request's body to one record, as if they had come in an upload of it;
    raises NotFound where there is no such record, Refused with pointers into the body."""
    key = auth.authenticate(scope)
    if not v1.is_product_id(product_id):
        raise _no_such_product()
    body = _as_upload(product_id, door.read_body(_limits(key).bytes, few_large=False))
    return _deliver(key, topic, body, alone=True)


def _as_upload(product_id: str, body: bytes) -> bytes:
    """The upload of one record; a body that holds no fields is kept as it is."""
    try:
        fields = payload.parse(body)
    except Malformed:
        return body
    if type(fields) is not dict:
        return body
    named = fields.get("product_id")
    if named is not None and str(named) != product_id:
        told = "It is in the path and cannot change."
        found = [RecordProblem(0, "/data/0/product_id", "refused", told, named)]
        raise _of_one(Refused(told, problems=_problems(found), lines=v1.lines(found)))
    return json.dumps({"data": [{**fields, "product_id": product_id}]}).encode()


def found(record: dict[str, Any] | None) -> Answer:
    """A record's answer; raises NotFound."""
    if record is None:
        raise NotFound
    return {"message": "success", "data": record}


def found_ids(ids: list[str]) -> Answer:
    """The answer of `_ids`; Miso says not found while there is none."""
    if not ids:
        raise NotFound
    return {"message": "success", "data": {"ids": ids}}


def status(family: str, task_id: str) -> Answer:
    """What became of an upload of products or users (the family), by the task id it was answered
    with; raises NotFound."""
    key = auth.authenticate(f"{family}:read")
    started = time.perf_counter()
    try:
        delivery_id = UUID(task_id)
        with state.serving().connection() as connection:
            site = access.site_by_id(connection, key.site_id)
            kept = inspection.delivery(connection, site, delivery_id, limit=0)
    except (ValueError, inspection.Unknown):
        raise NotFound from None
    if kept["topic"] not in (family, f"{family}/_delete", f"{family}/_patch"):
        raise NotFound
    bad = [
        problem
        for problem in kept["problems"]
        if problem["outcome"] != "ignored" and problem["reason"] != OF_ANOTHER
    ]
    return {
        "took": round((time.perf_counter() - started) * 1000),
        "errors": bool(bad),
        "data": v1.lines(
            RecordProblem(p["position"], p["pointer"], p["outcome"], p["reason"])
            for p in bad[: SECRET.lines]
        ),
        "code": _STATUS_CODES.get(kept["outcome"], 200),
    }


_STATUS_CODES = {"refused": 422, "failed": 500}


def storable(sent_id: str) -> str:
    """An id from a path; raises NotFound for one that no record can have."""
    if "\0" in sent_id:
        raise NotFound
    return sent_id


def flag(name: str) -> bool:
    """Whether a query parameter is set, in the spellings Miso knows."""
    return request.args.get(name, "").lower() in _TRUE


# deliver ----------------------------------------------------------------------------------------


def _limits(key: Key) -> Limits:
    return SECRET if key.kind == "secret" else PUBLISHABLE


def _check_count(body: bytes, limit: int) -> None:
    """Raise TooLarge where a body holds more records than that, before any is translated."""
    if body.count(b",") < limit:  # a comma stands between any two
        return
    try:
        records = v1.records(payload.parse(body))
    except Malformed:
        return  # who reads the body says what is wrong with it, and keeps it
    if sum(1 for _ in islice(records, limit + 1)) > limit:
        raise TooLarge(f"the body holds more than {limit:,} records: send fewer at once")


def _deliver(key: Key, topic: str, body: bytes, *, alone: bool = False) -> Answer | Response:
    """Apply a body and answer; one that holds a record `alone` is never good in part."""
    source = _source(key)
    headers = _headers(key, source, topic)
    in_part = not alone and not _all_or_nothing(key)

    def answer(outcome: _Outcome, applied: bool) -> Answer:
        try:
            _check(key, topic, outcome, applied=applied, in_part=in_part)
        except Refused as refused:
            raise (_of_one(refused) if alone else refused) from None
        return _success(topic, outcome)

    if flag("dry_run"):
        return answer(_tried(source, topic, headers, body, alone=alone), in_part)

    def told(receipt: ingest.Receipt) -> Answer:
        if receipt.failed and key.kind == "secret":
            raise HttpError(
                f"something went wrong on our side; the delivery is kept as {receipt.delivery_id}"
            )
        outcome = _outcome(receipt, alone=alone)
        return answer(outcome, outcome.good > 0)

    try:
        receipt = ingest.deliver(
            state.ingest(),
            source,
            topic=topic,
            headers=headers,
            body=body,
            all_or_nothing=not in_part,
            once=once.named(key, body, b"partial" if in_part else b"", told),
        )
    except idempotency.NotApplied as error:
        return once.not_applied(error)
    g.source_id, g.delivery_id = source.source_id, str(receipt.delivery_id)
    return told(receipt)


def _outcome(receipt: ingest.Receipt, *, alone: bool) -> _Outcome:
    """What became of an applied body; raises Refused where it had no records."""
    task_id = str(receipt.delivery_id)
    if receipt.error is not None and receipt.refused:
        pointer = receipt.problems[0].pointer if receipt.problems else ""
        raise _unreadable(receipt.error, pointer, alone=alone)
    bad = [p for p in receipt.problems if p.outcome == "refused" and not p.of_another]
    return _Outcome(task_id, receipt.received, receipt.received - receipt.refused, bad)


def _tried(
    source: Source, topic: str, headers: dict[str, str], body: bytes, *, alone: bool
) -> _Outcome:
    """What a body would do, and every problem of it; raises Refused where it has no records."""
    try:
        records = ingest.tried(state.ingest(), source, topic=topic, headers=headers, body=body)
    except Unreadable as error:
        raise _unreadable(str(error), error.pointer, alone=alone) from None
    problems = [p for one in records if one.outcome == "refused" for p in one.problems]
    good = sum(one.outcome != "refused" for one in records)
    return _Outcome(DRY_RUN, len(records), good, problems)


def _unreadable(reason: str, pointer: str, *, alone: bool) -> Refused:
    if alone and reason == v1.NO_RECORDS:
        reason = NO_FIELDS
    problems = [Problem(pointer, reason)]
    return Refused(reason, problems=problems, lines=[v1.unreadable_line(reason)])


def _of_one(refused: Refused) -> HttpError:
    """Of a record that is named in the path: there is none, or pointers into the body as sent."""
    if any(problem.message == admission.NO_SUCH_PRODUCT for problem in refused.problems):
        return _no_such_product()
    refused.problems = [
        replace(one, pointer=one.pointer.removeprefix("/data/0")) for one in refused.problems
    ]
    if field := refused.problems[0].pointer[1:]:
        refused.message = f"nothing was changed: {field}: {refused.problems[0].message}"
    return refused


def _no_such_product() -> NotFound:
    return NotFound(problems=[Problem("", admission.NO_SUCH_PRODUCT)])


def _check(key: Key, topic: str, outcome: _Outcome, *, applied: bool, in_part: bool) -> None:
    """Raise Refused for bad records, unless the sender asked for the good ones alone."""
    if not outcome.problems or (in_part and key.kind == "secret"):
        return
    message = NONE_CHANGED if topic == "products/_patch" else NONE_INSERTED
    if applied and outcome.good:
        message = (
            f"{outcome.good} of {outcome.received} records were applied, the others contain "
            "schema errors. Please see the `data` field for details."
        )
    listed = outcome.problems[: _limits(key).lines]
    raise Refused(
        message + _and_more(len(outcome.problems) - len(listed)),
        problems=_problems(listed[:MOST_PROBLEMS]),
        lines=v1.lines(listed),
    )


def _all_or_nothing(key: Key) -> bool:
    return key.kind == "secret" and not flag("partial")


def _source(key: Key) -> Source:
    with state.ingest().connection() as connection:
        return access.api_source(connection, key.site_id)


def _headers(key: Key, source: Source, topic: str) -> dict[str, str]:
    """What is kept with a body; interactions may name nobody, then the address does."""
    headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
    if key.kind != "secret":
        headers[CLAIMED] = "1"
    if topic == "interactions":
        headers[ANONYMOUS_ID] = _anonymous_id(source)
    return headers


def _anonymous_id(source: Source) -> str:
    """One a day for each address and agent, as Miso makes it; neither can be read from it."""
    day = datetime.now(UTC).date().isoformat()
    seen = "\n".join((request.remote_addr or "", request.headers.get("User-Agent", ""), day))
    digest = blake2b(seen.encode("utf-8", "replace"), key=source.pepper[:64], digest_size=16)
    return f"ip-{digest.hexdigest()}"


# answer -----------------------------------------------------------------------------------------


def _success(topic: str, outcome: _Outcome) -> Answer:
    deleted = topic in ("products/_delete", "users/_delete")
    answer: Answer = {"message": "deleted" if deleted else "success", "errors": False}
    # Miso's PHP client reads `data` of every answer, of interactions too.
    answer["data"] = [] if topic.startswith("interactions") else {"task_id": outcome.task_id}
    if topic.startswith("interactions"):
        answer["task_id"] = outcome.task_id
    if outcome.problems:
        listed = outcome.problems[:MOST_PROBLEMS]
        more = _and_more(len(outcome.problems) - len(listed))
        answer["message"] = f"{outcome.good} of {outcome.received} records were applied{more}"
        answer["problems"] = [
            {"pointer": problem.pointer, "message": problem.reason} for problem in listed
        ]
    return answer


def _and_more(count: int) -> str:
    return f" (and {count:,} more errors than are listed)" if count else ""


def _problems(found: Iterable[RecordProblem]) -> list[Problem]:
    return [Problem(problem.pointer, problem.reason, problem.value) for problem in found]


# documents --------------------------------------------------------------------------------------


def documented(
    shape: dict[str, Any] | None,
    *,
    summary: str,
    query: Sequence[str] = (),
    changes: bool = False,
    answer: shapes.Shape | None = None,
) -> dict[str, Any]:
    """The OpenAPI parts of a data route, its body under every content type that is sent; what has
    a body `changes` something. It answers as uploads do unless told otherwise."""
    parameters = [
        {"in": "query", "name": name, "schema": {"type": "string"}, "description": _QUERY[name]}
        for name in query
    ]
    if changes or shape is not None:
        parameters.append(once.DOCUMENTED)
    described: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": shapes.ok(answer or UPLOADED),
    }
    if shape is not None:
        content = {kind: {"schema": shape} for kind in ("application/json", "text/plain")}
        described["requestBody"] = {"required": True, "content": content}
    return described


UPLOADED = shapes.record(
    {
        "message": shapes.TEXT,
        "errors": shapes.FLAG,
        "data": {"oneOf": [shapes.record({"task_id": shapes.TEXT}), shapes.many(shapes.OPEN)]},
    },
    {"task_id": shapes.TEXT, "problems": shapes.many(shapes.PROBLEM)},
)
FOUND = shapes.record({"message": shapes.TEXT, "data": shapes.OPEN})
FOUND_IDS = shapes.record(
    {"message": shapes.TEXT, "data": shapes.record({"ids": shapes.many(shapes.TEXT)})}
)
STATUS = shapes.record(
    {
        "took": shapes.COUNT,
        "errors": shapes.FLAG,
        "data": shapes.many(shapes.TEXT),
        "code": shapes.COUNT,
    }
)

UPLOAD_QUERY = ("dry_run", "async", "partial")
_QUERY = {
    "dry_run": "1 or true: check only, store nothing.",
    "async": "1 or true: accepted as Miso does; an answer always means that it was applied.",
    "partial": "1 or true, secret keys: apply the good records, answer 200 with `problems`.",
    "type": "Only products of this type.",
}
