"""Miso's `fq` filters: which products may be in a list. The catalog stores `columns`; answers
`parse` a filter, add their own conditions with `all_of` and `compile` it into a WHERE.
"""

from ranking.merchandising.filters.expressions import (
    Expression,
    Near,
    all_of,
    any_of,
    available,
    equals,
    everything,
    negated,
)
from ranking.merchandising.filters.grammar import FilterError, between, equal, parse
from ranking.merchandising.filters.places import degrees
from ranking.merchandising.filters.terms import (
    COLUMN_FIELDS,
    CUSTOM,
    FilterColumns,
    Scalar,
    columns,
    countable,
    facets,
    known,
    number,
    orderable,
    spelled,
    term,
)
from ranking.merchandising.filters.where import PRODUCTS, Filter, compile

__all__ = [
    "COLUMN_FIELDS",
    "CUSTOM",
    "PRODUCTS",
    "Expression",
    "Filter",
    "FilterColumns",
    "FilterError",
    "Near",
    "Scalar",
    "all_of",
    "any_of",
    "available",
    "between",
    "columns",
    "compile",
    "countable",
    "degrees",
    "equal",
    "equals",
    "everything",
    "facets",
    "known",
    "negated",
    "number",
    "orderable",
    "parse",
    "spelled",
    "term",
]
