"""Feeds: catalogs that a shop keeps at an address, which we fetch (Google Merchant, CSV, JSON)."""
