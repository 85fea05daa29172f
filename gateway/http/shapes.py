"""The shapes of answers, as `/openapi.json` promises them; a test holds each answer to its own."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from schemas import v1

Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
NUMBER: Shape = {"type": "number"}
COUNT: Shape = {"type": "integer", "minimum": 0}
UUID: Shape = {"type": "string", "format": "uuid"}
OPEN: Shape = {"type": "object", "additionalProperties": True}


def optional(shape: Shape) -> Shape:
    """The same, or null."""
    return shape | {"nullable": True}


def many(shape: Shape) -> Shape:
    """A list of these."""
    return {"type": "array", "items": shape}


def map_of(shape: Shape) -> Shape:
    """An object of any names with these."""
    return {"type": "object", "additionalProperties": shape}


def record(required: Shape, maybe: Shape | None = None, *, more: bool = False) -> Shape:
    """An object with these fields and those that may be absent; others only with `more`."""
    shape = v1.an_object(**required)
    shape["properties"] |= maybe or {}
    return shape | {"additionalProperties": more}


def ok(shape: Shape, description: str = "Success", status: int = 200) -> dict[int, Shape]:
    """The success of a route among its `responses`."""
    return {
        status: {"description": description, "content": {"application/json": {"schema": shape}}}
    }


PROBLEM = record({"pointer": TEXT, "message": TEXT})


class ErrorProblem(Schema):
    """Where in the sender's body, as a JSON pointer, and what."""

    pointer = fields.String(required=True)
    message = fields.String(required=True)


class ErrorBody(Schema):
    """Every answer of 4xx and 5xx. Uploads add Miso's `errors` and `data` lines to a 422, engine
    routes its `detail`."""

    message = fields.String(required=True)
    problems = fields.List(fields.Nested(ErrorProblem), required=True)
    errors = fields.Boolean()
    data = fields.List(fields.String())
    detail = fields.List(fields.Dict())
