"""Shopify: what its servers push to us, what its web pixel sends, and its bulk export."""
