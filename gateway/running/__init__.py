"""How an installation runs: its services, its roles and whoever supervises them."""
