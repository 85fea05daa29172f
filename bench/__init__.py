"""Measurements behind every figure in the README: one file a question, run by `make bench`."""
