"""Products that are found whatever the text is, because the request names them."""

from __future__ import annotations

from collections.abc import Sequence

from ranking.catalog import records
from ranking.strategies.searching.asked import Asked
from ranking.strategies.searching.compared import Found, compared
from schemas.database import Connection


def included(connection: Connection, asked: Asked) -> list[Found]:
    """Those of `search.include` that have not all words, if the filters let them through."""
    named = of_ids(connection, asked, asked.question.search.include)
    return [one for one in named if one.level is None]


def groups_with_all_words(
    connection: Connection, asked: Asked, some: Sequence[Found]
) -> frozenset[int]:
    """Those of the groups of these that have a variant with all words, on whichever page."""
    site_id, given = asked.question.site_id, asked.question.excluded
    numbers = records.with_variants(connection, site_id, {one.product_no for one in some}) - given
    if not numbers:
        return frozenset()
    variants = compared(connection, asked, len(numbers), product_nos=numbers).best
    return frozenset(one.group_key for one in variants if one.level is not None)


def of_ids(connection: Connection, asked: Asked, product_ids: Sequence[str]) -> list[Found]:
    """The products of these ids that are not left out and pass the filters, whatever their
    words."""
    found = records.numbers(connection, asked.question.site_id, product_ids)
    numbers = {one.product_no for one in found} - asked.question.excluded
    if not numbers:
        return []
    return compared(connection, asked, len(numbers), product_nos=numbers).best
