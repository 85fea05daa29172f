"""What a shop decides for its own site: one table, which the doors, the command line and the docs
show. The values lie in `sites.settings`; who answers or counts for a site asks `of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import Field
from marshmallow.validate import Range

from gateway import access
from gateway.access import Site
from ranking import question
from ranking.catalog import newcomers
from ranking.merchandising import exploration
from schemas.database import Connection
from schemas.errors import Invalid, Problem
from schemas.fields import Number, Reader, Whole, escape, problems

BOUGHT_DAYS = "exclude_bought_days"
REQUESTS_PER_SECOND = "requests_per_second"
NEW_LIFT = "new_products_lift"
EXPLORATION = "exploration"
EXPLORATION_CHANCES = "exploration_chances"


@dataclass(frozen=True, slots=True)
class SiteSetting:
    """One setting; without a default nothing is set."""

    name: str
    field: Field
    default: Any
    doc: str


def _between(least: float, most: float) -> Range:
    return Range(least, most, error=f"It is from {least} to {most:,}.")


# A new one is a line here and one in docs/reference/settings.md.
TABLE = (
    SiteSetting(BOUGHT_DAYS, Whole(validate=_between(0, 3_650)), question.BOUGHT_DAYS,
                "For how many days what a visitor bought is not recommended again."),
    SiteSetting(REQUESTS_PER_SECOND, Whole(validate=_between(1, 1_000_000)), None,
                "What one key may ask for in a second; `keys limit` says it of a single key."),
    SiteSetting(NEW_LIFT, Number(validate=_between(0, 4)), question.NEW_LIFT,
                "By how many logits recommendations lift products without a history."),
    SiteSetting(EXPLORATION, Number(validate=_between(0, exploration.MOST_SHARE)), 0.0,
                "Which share of the free places of a list goes to products without a history."),
    SiteSetting(EXPLORATION_CHANCES, Whole(validate=_between(1, 100_000)), newcomers.ENOUGH,
                "After how many times seen such a product has had its chance."),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in TABLE}
UNKNOWN = f"There is no such setting: choose among {', '.join(BY_NAME)}."
MOST_PROBLEMS = 10
READER = Reader(Schema.from_dict({one.name: one.field for one in TABLE})())


def of(site: Site, name: str) -> Any:
    """The value in force."""
    value = site.settings.get(name)
    return BY_NAME[name].default if value is None else value


def shown(site: Site) -> dict[str, Any]:
    """By name the values in force, and the names of those that were `set`."""
    return {
        "settings": {one.name: of(site, one.name) for one in TABLE},
        "set": sorted(name for name in site.settings if name in BY_NAME),
    }


def change(connection: Connection, site: Site, changes: Any) -> Site:
    """Set these, None takes one away; the site as it is then. Raises Invalid."""
    access.change_site_settings(connection, site, checked(changes))
    return access.site(connection, site.name)


def checked(changes: Any) -> Mapping[str, Any]:
    """The changes as they are kept; raises Invalid."""
    if type(changes) is not dict or not changes:
        raise Invalid([Problem("", f"Send an object with some of: {', '.join(BY_NAME)}.")])
    # What means absent, as null and an empty name do, would pass the reader under any name.
    if unknown := [name for name in changes if name not in BY_NAME]:
        raise Invalid([Problem(f"/{escape(name)}", UNKNOWN) for name in unknown[:MOST_PROBLEMS]])
    try:
        read = READER.read(changes)
    except ValidationError as error:
        raise Invalid(problems(error, changes)) from None
    return {name: read.get(name) for name in changes}
