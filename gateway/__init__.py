"""The gateway: doors, ingest, jobs, commands."""

VERSION = "0.1.0"  # as in pyproject.toml, which a test compares
