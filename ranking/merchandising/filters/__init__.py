"""Miso's `fq` filters: which products may be in a list. The catalog stores `columns`; answers
`parse` a filter, add their own conditions with `all_of` and `compile` it into a WHERE.
"""

from ranking.merchandising.filters.expressions import (
    Expression,
    all_of,
    any_of,
    available,
    equals,
    everything,
    has,
    negated,
)
from ranking.merchandising.filters.grammar import FilterError, parse
from ranking.merchandising.filters.terms import FilterColumns, columns, known, term
from ranking.merchandising.filters.where import Filter, compile

__all__ = [
    "Expression",
    "Filter",
    "FilterColumns",
    "FilterError",
    "all_of",
    "any_of",
    "available",
    "columns",
    "compile",
    "equals",
    "everything",
    "has",
    "known",
    "negated",
    "parse",
    "term",
]
