"""The parts of a search: what is asked, products with all its words, those near to its meaning,
everything. strategies/search puts them together."""
