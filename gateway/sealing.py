"""Encrypts what we must use again and hashes what we only have to find, with ATTUNE_SECRET_KEY.

`gateway.access` is the one caller.
"""

from __future__ import annotations

import hashlib
from functools import cache

from cryptography.fernet import Fernet, InvalidToken

from gateway import settings
from schemas.errors import AttuneError


class CannotOpen(AttuneError):
    """A stored secret was sealed with another ATTUNE_SECRET_KEY."""


_secret_key: str | None = None


def unlock(secret_key: str) -> None:
    """Use this key in this process instead of the one its environment names."""
    global _secret_key
    _secret_key = secret_key
    for cached in (_box, _hash_key):
        cached.cache_clear()


def seal(text: str) -> bytes:
    """Encrypt a text."""
    return _box().encrypt(text.encode())


def open_sealed(sealed: bytes) -> str:
    """The text that was sealed; raises CannotOpen."""
    try:
        return _box().decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise CannotOpen(
            "a stored secret cannot be opened: ATTUNE_SECRET_KEY is not the one it was sealed "
            "with, restore that one"
        ) from None


def digest(text: str) -> bytes:
    """32 bytes that find a text without telling it."""
    data = text.encode("utf-8", "replace")
    return hashlib.blake2b(data, key=_hash_key(), digest_size=32).digest()


def _key() -> str:
    return _secret_key or settings.load().secret_key


@cache
def _box() -> Fernet:
    return Fernet(_key())


@cache
def _hash_key() -> bytes:
    """Its own key, so that no key serves two purposes."""
    return hashlib.blake2b(_key().encode(), person=b"attune keys").digest()
