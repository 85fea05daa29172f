"""Who is asking: the key of a request, its scopes, its limit, and the proof of a user's id.

Every view of `/v1` and `/admin/v1` begins with `key = authenticate("scope")`.
"""

from __future__ import annotations

import base64

from flask import g, request

from gateway import access
from gateway.access import Key, Source
from gateway.http import limits, state
from gateway.http.errors import LacksScope, NotAllowed, NotAuthentic, NotFound
from schemas.errors import Problem

LONGEST_KEY = 256
# Beside the message, which is Miso's.
NO_KEY = "no key was sent: put it into X-API-KEY or ?api_key="
TWO_KEYS = "X-API-KEY and ?api_key= hold two keys that differ: send one"


def authenticate(scope: str) -> Key:
    """The key of this request, which has the scope and is within its limit.

    Raises NotAuthentic (401), LacksScope (403), TooFast (429).
    """
    return admitted(_presented(), scope)


def admitted(text: str, scope: str, *, limited: bool = True) -> Key:
    """The key of that text, wherever the request holds it; raises as `authenticate` does. What is
    not `limited` is answered however fast the key asks."""
    key = _key(text)
    g.site_id, g.key_kind = key.site_id, key.kind
    if scope not in key.scopes:
        raise LacksScope(f"this {key.kind} key lacks the scope {scope}: use a key that has it")
    if limited:
        limits.check(key)
    return key


def basic_user(authorization: str) -> str:
    """The user of an `Authorization: Basic` header (RFC 7617), with or without the colon behind
    it; "" for anything else."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 2 * LONGEST_KEY:
        return ""
    try:
        user = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return ""
    return user.partition(":")[0].strip()


def check_user_hash(
    key: Key, user_id: str | None, user_hash: str | None, user_type: str | None = None
) -> None:
    """Raise NotAllowed (403) where a publishable key names a user without proof.

    The proof is the HMAC-SHA256 of `user_id`, or of `user_type:user_id`, with a secret key of the
    site. Secret keys and requests without a user id need none.
    """
    if not user_id or key.kind == "secret":
        return
    message = f"{user_type}:{user_id}" if user_type else user_id
    with state.serving().connection() as connection:
        if access.user_hash_matches(connection, key.site_id, message, user_hash):
            return
    raise NotAllowed(
        "user_hash is missing or wrong: a publishable key needs the hex HMAC-SHA256 of the "
        "user_id, made with the secret key"
    )


def source(public_id: str, connector: str) -> Source:
    """The source named in a URL; raises NotFound where it is not one of that connector."""
    found = access.known_source(public_id)
    if found is None and not access.unknown_source(public_id):
        with state.ingest().connection() as connection:
            found = access.source_by_public_id(connection, public_id)
    if found is None or found.connector != connector or connector == access.API:
        raise NotFound(f"there is no {connector} source of this address: check its URL")
    g.site_id, g.source_id = found.site_id, found.source_id
    return found


def _presented() -> str:
    in_query, in_header = request.args.get("api_key"), request.headers.get("X-API-KEY")
    if in_query and in_header and in_query != in_header:
        raise NotAuthentic(problems=[Problem("", TWO_KEYS)])
    text = in_query or in_header
    if not text:
        raise NotAuthentic(problems=[Problem("", NO_KEY)])
    if len(text) > LONGEST_KEY:
        raise NotAuthentic
    return text


def _key(text: str) -> Key:
    key = access.known_key(text)
    if key is None and not access.unknown_key(text):
        with state.serving().connection() as connection:
            key = access.key_for(connection, text)
    if key is None:
        raise NotAuthentic
    return key
