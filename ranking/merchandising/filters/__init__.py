"""Miso's `fq` filters: which products may be in a list. The catalog stores `columns`, answers
`parse` and `compile` a filter.
"""

from ranking.merchandising.filters.terms import FilterColumns, columns, term

__all__ = ["FilterColumns", "columns", "term"]
