"""Miso's `fq` filters: which products may be in a list. The catalog stores `columns`; answers
`parse` a filter, add their own conditions with `all_of` and `compile` it into a WHERE.
"""

from ranking.merchandising.filters.expressions import (
    And,
    Expression,
    FullText,
    Or,
    Words,
    all_of,
    any_of,
    available,
    equals,
    everything,
    in_category,
    negated,
    nothing,
    texts,
    told,
)
from ranking.merchandising.filters.grammar import FilterError, parse, parse_advanced
from ranking.merchandising.filters.terms import (
    HAS_CATEGORIES,
    IN_CATEGORIES,
    FilterColumns,
    category_term,
    columns,
    known,
    term,
)
from ranking.merchandising.filters.where import Filter, compile

__all__ = [
    "HAS_CATEGORIES",
    "IN_CATEGORIES",
    "And",
    "Expression",
    "Filter",
    "FilterColumns",
    "FilterError",
    "FullText",
    "Or",
    "Words",
    "all_of",
    "any_of",
    "available",
    "category_term",
    "columns",
    "compile",
    "equals",
    "everything",
    "in_category",
    "known",
    "negated",
    "nothing",
    "parse",
    "parse_advanced",
    "term",
    "texts",
    "told",
]
