"""What only the database can say of a record: whether the product that it changes is there. Asked
inside the one transaction before anything is written; a record that does not pass is refused like
one that breaks its schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import schemas
from gateway.reading import Translated, problem, refuse_all_for_one
from ranking.catalog import products
from ranking.catalog.products import Stored
from schemas.database import Connection
from schemas.facts import ProductPatch

NO_SUCH_PRODUCT = "There is no such product."
OLDER = "older than the record that is there"


@dataclass(slots=True)
class Admitted:
    """The records as they may be applied, and the products that the patches among them make."""

    records: Sequence[Translated]
    patched: Iterable[Stored] = field(default_factory=tuple)


def admit(
    connection: Connection,
    site_id: int,
    records: Sequence[Translated],
    received_at: datetime,
    *,
    all_or_nothing: bool,
    again: bool,
) -> Admitted:
    """Refuse what does not fit what is stored, and lock the products that are to change.

    The given records stay as they are, since a transaction that lost against another asks anew.
    """
    ids = [fact.product_id for one in records if (fact := _patch_of(one))]
    if not ids:
        return Admitted(records)
    catalog = products.lock(connection, site_id, ids)
    patched: dict[str, Stored] = {}
    admitted = [replace(one) for one in records]
    for one in admitted:
        if (fact := _patch_of(one)) and (after := _patched(one, fact, catalog, received_at, again)):
            patched[fact.product_id] = catalog[fact.product_id] = after
    if all_or_nothing and refuse_all_for_one(admitted):
        patched.clear()
    return Admitted(admitted, patched.values())


def _patched(
    one: Translated,
    patch: ProductPatch,
    catalog: dict[str, Stored],
    received_at: datetime,
    again: bool,
) -> Stored | None:
    """The product after a patch; None where the record is left out, and why."""
    before = catalog.get(patch.product_id)
    if before is None:
        one.leave_out(
            "refused", problem(one, "refused", "/product_id", NO_SUCH_PRODUCT, patch.product_id)
        )
        return None
    after = products.patched(before, patch, received_at, again=again)
    if after is None:
        one.leave_out("ignored", problem(one, "ignored", "", OLDER))
        return None
    try:
        schemas.load({"fact": "product", "record": after.record})
    except schemas.Invalid as error:
        one.leave_out(
            "refused",
            *(
                problem(one, "refused", p.pointer.removeprefix("/record"), p.message, p.value)
                for p in error.problems
            ),
        )
        return None
    return after


def _patch_of(one: Translated) -> ProductPatch | None:
    return next((fact for fact in one.facts if isinstance(fact, ProductPatch)), None)
