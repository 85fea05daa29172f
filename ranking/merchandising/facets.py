"""What a search should count of its matches, and by what its visitor has narrowed it already.

Pure: the door makes them, `ranking.counts` counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ranking.merchandising import filters
from ranking.merchandising.filters import Expression


@dataclass(frozen=True, slots=True)
class Bucket:
    """What has this condition is counted under this key."""

    key: str
    condition: Expression


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of a field, shown under `name`: `size` of those that match `include`
    and not `exclude` (regular expressions of Postgres, for the whole value); or, in their order,
    these buckets."""

    name: str
    field: str
    size: int = 10
    include: str | None = None
    exclude: str | None = None
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class Facets:
    """All facets of a search, its filter without what it is narrowed by, and this: a condition for
    each name or field."""

    asked: tuple[Facet, ...] = ()
    filter: Expression = field(default_factory=filters.everything)
    narrowed: tuple[tuple[str, Expression], ...] = ()

    @property
    def condition(self) -> Expression:
        """What the search finds must have all this."""
        return filters.all_of([self.filter, *(condition for _, condition in self.narrowed)])

    def others(self, facet: Facet) -> Expression:
        """The same without the facet's own: a visitor who chose one brand sees how many others
        there are."""
        own = (facet.name, facet.field)
        narrowed = [each for name, each in self.narrowed if name not in own]
        return filters.all_of([self.filter, *narrowed])


NO_FACETS = Facets()
