"""From a body's bytes to facts: parse, take apart, map, translate, load. Pure; ingest, dry runs and
the raw-beside-mapped view all read a delivery through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import schemas
from connectors import CONNECTORS, lowered, mapping
from schemas import payload, v1
from schemas.errors import AttuneError, Ignored, Malformed, Unsupported, Withheld
from schemas.facts import Fact

READERS: dict[str, Any] = {**CONNECTORS, "api": v1}

# The door's own headers, kept with a delivery so that a replay knows them too: who a record is
# about that names nobody, that one bad record refuses all, the hash of the sender's own key of the
# request, and that a browser claims it: anybody can.
ANONYMOUS_ID = "Attune-Anonymous-Id"
ALL_OR_NOTHING = "Attune-All-Or-Nothing"
ONCE = "Attune-Once"
CLAIMED = "Attune-Claimed"
OF_ANOTHER = "another record of the same request is invalid"
# What stands in a kept body for the record of somebody who was erased since, or did not consent.
ERASED: dict[str, Any] = {"erased": True}
WITHHELD: dict[str, Any] = {"withheld": True}
GONE = ((ERASED, "erased on the person's request"), (WITHHELD, "withheld for want of consent"))
NOTHING_FOR_US = "nothing in this record concerns us"


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """Why one record was not applied; `pointer` leads into the sender's body."""

    position: int
    pointer: str
    outcome: Literal["ignored", "refused", "failed"]
    reason: str
    value: Any = None
    of_another: bool = False  # the record itself is good: one beside it refused the whole request


@dataclass(slots=True)
class Translated:
    """One record of a body: its facts, or why there are none. `record` is as it was sent, before
    the source's mapping."""

    position: int
    pointer: str
    record: Any
    topic: str | None = None
    message_id: str | None = None  # of the delivery, where its platform names it
    record_id: str | None = None  # of the record, where its sender names it
    facts: list[Fact] = field(default_factory=list)
    outcome: Literal["ready", "ignored", "refused"] = "ready"
    is_withheld: bool = False  # nothing of it may be kept
    problems: list[RecordProblem] = field(default_factory=list)

    def leave_out(self, outcome: Literal["ignored", "refused"], *problems: RecordProblem) -> None:
        self.facts, self.outcome, self.problems = [], outcome, list(problems)


class Unreadable(AttuneError):
    """The body as a whole could not be read; its text says why."""

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(reason)
        self.pointer = pointer


def read(
    connector: str,
    topic: str | None,
    body: bytes,
    settings: Mapping[str, Any],
    headers: Mapping[str, str],
    received_at: datetime,
    parsed: Any = None,
) -> list[Translated]:
    """Every record of a body, in order, with its facts or its problems; `parsed` is its value where
    that is known.

    Raises Unreadable where there is no telling records apart (not JSON, not the connector's form).
    """
    reader = READERS[connector]
    settings = {**settings, "received_at": received_at}
    if ANONYMOUS_ID in headers:
        settings["anonymous_id"] = headers[ANONYMOUS_ID]
    rules = mapping.compiled(settings["mapping"]) if settings.get("mapping") else ()
    if connector in CONNECTORS:
        settings |= reader.told(lowered(headers))
    try:
        records = list(reader.records(payload.parse(body) if parsed is None else parsed))
    except Malformed as error:
        raise Unreadable(str(error), error.pointer) from error
    message_id = settings.get("message_id")
    read_id = reader.record_id if connector in CONNECTORS else _no_id
    return [
        _translate(
            reader,
            topic,
            Translated(position, pointer, record, topic, message_id, read_id(record)),
            settings,
            rules,
        )
        for position, (pointer, record) in enumerate(records)
    ]


def _no_id(record: Any) -> None:
    return None


def without_withheld(body: bytes, records: Sequence[Translated]) -> bytes:
    """The body as it may be kept: of records that are withheld nothing but their place, and where
    all are, nothing of what stands beside them."""
    pointers = [one.pointer for one in records if one.is_withheld]
    if len(pointers) < len(records) or not records:
        return payload.overwritten(body, pointers, _WITHHELD) if pointers else body
    if [one.pointer for one in records] == [""]:
        return _WITHHELD
    return b"[" + b",".join([_WITHHELD] * len(records)) + b"]"


def of_nobody(headers: Mapping[str, str]) -> dict[str, str]:
    """What may be kept of the headers of a body of which nothing may: nothing about its sender."""
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("Attune-") or name.lower() in ("content-type", "content-encoding")
    }


_WITHHELD = b'{"withheld":true}'


def refuse_all_for_one(records: Sequence[Translated]) -> bool:
    """Where one record is refused refuse them all, and say so; the good ones keep no problem of
    their own."""
    if not any(one.outcome == "refused" for one in records):
        return False
    for one in records:
        if one.outcome == "ready":
            one.leave_out(
                "refused",
                RecordProblem(one.position, one.pointer, "refused", OF_ANOTHER, of_another=True),
            )
    return True


def _translate(
    reader: Any,
    topic: str | None,
    one: Translated,
    settings: Mapping[str, Any],
    rules: mapping.Mapping,
) -> Translated:
    for stands_for, why in GONE:
        if one.record == stands_for:
            one.leave_out("ignored", problem(one, "ignored", "", why))
            return one
    try:
        record = mapping.applied(one.record, rules)
        one.facts = [schemas.load(fact) for fact in reader.translate(topic, record, settings)]
    except Withheld as error:
        one.leave_out("ignored", problem(one, "ignored", "", str(error)))
        one.is_withheld = True
    except (Ignored, Unsupported) as error:
        one.leave_out("ignored", problem(one, "ignored", "", str(error)))
    except Malformed as error:
        one.leave_out("refused", problem(one, "refused", error.pointer, str(error)))
    except schemas.Invalid as error:
        one.leave_out(
            "refused",
            *(
                problem(one, "refused", _sent_as(reader, p.pointer), p.message, p.value)
                for p in error.problems
            ),
        )
    else:
        if not one.facts:
            one.leave_out("ignored", problem(one, "ignored", "", NOTHING_FOR_US))
    return one


def place(connector: str, pointer: str) -> str:
    """Where the sender's record holds what a product's or user's record has at `pointer`."""
    reader = READERS[connector]
    return pointer if reader.pointers is None else _sent_as(reader, f"/record{pointer}")


def _sent_as(reader: Any, pointer: str) -> str:
    """Where the sender's record holds what a fact has at `pointer`."""
    if reader.pointers is None:
        return pointer
    while pointer and pointer not in reader.pointers:
        pointer = pointer.rpartition("/")[0]
    return str(reader.pointers.get(pointer, ""))


def problem(
    one: Translated,
    outcome: Literal["ignored", "refused"],
    pointer: str,
    reason: str,
    value: Any = None,
) -> RecordProblem:
    """What is wrong with a record, `pointer` leading into it."""
    return RecordProblem(one.position, one.pointer + pointer, outcome, reason, value)
