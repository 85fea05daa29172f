"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same request again
is answered as it was and applied once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Response, jsonify, request

from gateway import idempotency
from gateway.access import Key
from gateway.http import errors
from gateway.http.errors import HttpError, Refused, Unreadable
from gateway.ingest import Receipt

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
RETRY_AFTER_S = 1

DOCUMENTED = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A name for this request: the same one again within 24 hours is answered as it "
    "was and not applied again; 422 under another's name, 409 while it is in work. A comma stands "
    "within quotes only.",
}

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_QUOTED = re.compile(r'"[^"]*"')


def named(
    key: Key, body: bytes, options: bytes, answer: Callable[[Receipt], Any]
) -> idempotency.Request | None:
    """This request under its sender's key, None where it has none; raises Unreadable (400).

    A key is the site's own and one of its kind of API key: what a page sends meets no server's.
    """
    text = _sent()
    if text is None:
        return None
    return idempotency.Request(
        idempotency.digest(key.kind.encode(), text.encode()),
        idempotency.digest(request.method.encode(), request.path.encode(), options, body),
        lambda receipt: _reply(answer, receipt),
    )


def not_applied(error: idempotency.NotApplied) -> Response:
    """What is answered where the key tells not to apply: as before, or raises 422 or 409."""
    if isinstance(error, idempotency.Answered):
        response = Response(error.body, error.status, mimetype="application/json")
        response.headers[REPLAYED] = "true"
        return response
    if isinstance(error, idempotency.InFlight):
        raise HttpError(str(error), status=409, retry_after_s=RETRY_AFTER_S) from None
    raise Refused(str(error)) from None


def _sent() -> str | None:
    """The key, with or without the quotes that the draft asks for."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    is_quoted = _QUOTED.fullmatch(text)
    # WSGI joins two headers of one name by a comma.
    if "," in text and not is_quoted:
        raise Unreadable(f"there are two of the header {HEADER}: send one, a comma only in quotes")
    bare = text[1:-1] if is_quoted else text
    if not _KEY.fullmatch(bare):
        raise Unreadable(f"the header {HEADER} must hold 1 to 255 printable ASCII characters")
    return bare


def _reply(answer: Callable[[Receipt], Any], receipt: Receipt) -> idempotency.Reply:
    try:
        response = jsonify(answer(receipt))
    except HttpError as error:
        response = errors.answer(error)
    return response.status_code, response.get_data()
