"""Segment: what its servers push to us (webhook destinations)."""
