"""The base of every error that carries a sentence for a person."""


class AttuneError(Exception):
    """What is wrong, where, and what to do: `str(error)` is shown as it stands."""
