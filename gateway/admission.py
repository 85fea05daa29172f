"""What only the database can say of a record: whether the product that it changes is there, whether
its custom attributes have the types of other records. Asked inside the one transaction before
anything else is written; a record that does not pass is refused like one that breaks its schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import schemas
from gateway import access, attributes
from gateway.access import Source
from gateway.attributes import Kind, Types
from gateway.reading import RecordProblem, Translated, place, problem, refuse_all_for_one
from ranking.catalog import products
from ranking.catalog.products import Stored
from schemas.database import Connection
from schemas.facts import Fact, Product, ProductPatch, User
from schemas.fields import escape

NO_SUCH_PRODUCT = "There is no such product."
OLDER = "older than the record that is there"
LEFT_OUT = "left out of the record, of another type than in other records: "
INCONSISTENT = "Its data type is not consistent with other records"

_ASKED: frozenset[type] = frozenset((Product, ProductPatch, User))


@dataclass(slots=True)
class Admitted:
    """The records as they may be applied, the products that the patches among them make, and what
    was left out of records that are applied."""

    records: Sequence[Translated]
    patched: Iterable[Stored] = ()
    notes: Sequence[RecordProblem] = ()


def admit(
    connection: Connection,
    source: Source,
    records: Sequence[Translated],
    received_at: datetime,
    *,
    all_or_nothing: bool = False,
    again: bool = False,
) -> Admitted:
    """Refuse what does not fit what is stored, and lock the products that are to change.

    The given records stay as they are, since a transaction that lost against another asks anew.
    """
    if _ASKED.isdisjoint({type(fact) for one in records for fact in one.facts}):
        return Admitted(records)
    names = {
        (kind, name)
        for one in records
        for fact in one.facts
        for kind, told in _attributes(fact)
        for name in told
    }
    if not names and not any(_patch_of(one) for one in records):
        return Admitted(records)
    admission = _Admission(connection, source, received_at, all_or_nothing, again)
    while True:
        try:
            return admission.of(records, attributes.types(connection, source.site_id, names))
        except _Overtaken:
            continue


class _Overtaken(Exception):
    """Names were decided for records that are not admitted, or by another delivery meanwhile."""


@dataclass(slots=True)
class _Admission:
    """Of one delivery; asked again where it was overtaken, with what it found out by then."""

    connection: Connection
    source: Source
    received_at: datetime
    all_or_nothing: bool
    again: bool
    left_out: dict[int, Translated] = field(default_factory=dict)

    def of(self, records: Sequence[Translated], types: Types) -> Admitted:
        notes: list[RecordProblem] = []
        admitted = [self.left_out.get(one.position) or replace(one) for one in records]
        for one in admitted:
            notes += self._types(one, types)
        if self.all_or_nothing and refuse_all_for_one(admitted):
            return Admitted(admitted)
        # A name is decided before a product is locked, as uploads do; if in vain, it is undone.
        with self.connection.transaction() if types.new else nullcontext():
            if types.new and not self._remember(types):
                raise _Overtaken
            patched, left_out = self._patched(admitted)
            if types.new and left_out:
                self.left_out |= {one.position: one for one in left_out}
                raise _Overtaken
        if self.all_or_nothing and refuse_all_for_one(admitted):
            patched.clear()
        return Admitted(admitted, patched.values(), notes)

    def _remember(self, types: Types) -> bool:
        site_id = self.source.site_id
        return attributes.remember(self.connection, site_id, types.new, self.received_at)

    # attributes -------------------------------------------------------------------------------

    def _types(self, one: Translated, types: Types) -> list[RecordProblem]:
        """Refuse a record with an attribute of another type; of one that its sender cannot mend
        only the attribute is left out, and noted."""
        told = [told for fact in one.facts for told in _attributes(fact)]
        odd = [(kind, name, its[name]) for kind, its in told for name in types.odd(kind, its)]
        if not odd:
            for kind, its in told:
                types.add(kind, its)
            return []
        problems = [
            self._problem(one, "refused", f"/custom_attributes/{escape(name)}", INCONSISTENT, value)
            for _, name, value in odd
        ]
        if self.source.connector == access.API:
            one.leave_out("refused", *problems)
            return []
        names = {name for _, name, _ in odd}
        one.facts = [_without(fact, names) for fact in one.facts]
        for kind, its in told:
            types.add(kind, {name: value for name, value in its.items() if name not in names})
        reason = LEFT_OUT + ", ".join(sorted(names))
        return [replace(problems[0], outcome="ignored", reason=reason)]

    # patches ----------------------------------------------------------------------------------

    def _patched(
        self, admitted: Sequence[Translated]
    ) -> tuple[dict[str, Stored], list[Translated]]:
        """The products after the patches, in the order of these, and the records left out."""
        patches = [(one, patch) for one in admitted if (patch := _patch_of(one))]
        ids = {patch.product_id for _, patch in patches}
        catalog = products.lock(self.connection, self.source.site_id, ids) if ids else {}
        patched: dict[str, Stored] = {}
        for one, patch in patches:
            if after := self._after(one, patch, catalog.get(patch.product_id)):
                patched[patch.product_id] = catalog[patch.product_id] = after
        return patched, [one for one, _ in patches if one.outcome != "ready"]

    def _after(self, one: Translated, patch: ProductPatch, before: Stored | None) -> Stored | None:
        """A product after a patch; None where the record is left out, and why."""
        if before is None:
            # A platform sends the whole product again; of an upload nobody else knows the rest.
            outcome: Literal["ignored", "refused"] = (
                "refused" if self.source.connector == access.API else "ignored"
            )
            sent = patch.product_id
            told = self._problem(one, outcome, "/product_id", NO_SUCH_PRODUCT, sent)
            one.leave_out(outcome, told)
            return None
        after = products.patched(before, patch, self.received_at, again=self.again)
        if after is None:
            one.leave_out("ignored", problem(one, "ignored", "", OLDER))
            return None
        try:
            schemas.load({"fact": "product", "record": after.record})
        except schemas.Invalid as error:
            problems = (
                self._problem(one, "refused", p.pointer.removeprefix("/record"), p.message, p.value)
                for p in error.problems
            )
            one.leave_out("refused", *problems)
            return None
        return after

    def _problem(
        self,
        one: Translated,
        outcome: Literal["ignored", "refused"],
        pointer: str,
        reason: str,
        value: Any,
    ) -> RecordProblem:
        """With a pointer into the record as it was sent."""
        return problem(one, outcome, place(self.source.connector, pointer), reason, value)


def _patch_of(one: Translated) -> ProductPatch | None:
    return next((fact for fact in one.facts if isinstance(fact, ProductPatch)), None)


def _attributes(fact: Fact) -> Iterator[tuple[Kind, dict[str, Any]]]:
    if isinstance(fact, (Product, ProductPatch, User)) and fact.record.get("custom_attributes"):
        yield ("user" if isinstance(fact, User) else "product"), fact.record["custom_attributes"]


def _without(fact: Fact, names: set[str]) -> Fact:
    """A record without these attributes."""
    for _, its in _attributes(fact):
        kept = {name: value for name, value in its.items() if name not in names}
        return replace(fact, record=fact.record | {"custom_attributes": kept})  # type: ignore
    return fact
