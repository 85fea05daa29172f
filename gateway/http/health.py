"""`/healthz`: this process lives. `/readyz`: it can answer, and what is missing if not all is well.

Load balancers and `make run` ask; neither needs a key.
"""

from __future__ import annotations

from typing import Any

import psycopg
import redis
from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import instant
from gateway.http import shapes, state
from ranking.catalog import queries
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

ROLES = ("worker", "encoder", "trainer", "clock")
STALE_HEARTBEAT_S = 60

blueprint = Blueprint("health", __name__, description="Whether the gateway lives and is ready")


READINESS = shapes.record(
    {
        "status": shapes.TEXT,
        "degraded": shapes.many(shapes.record({"what": shapes.TEXT, "message": shapes.TEXT})),
    }
)
NOT_READY = shapes.record(
    READINESS["properties"] | {"message": shapes.TEXT, "problems": shapes.many(shapes.PROBLEM)}
)


@blueprint.get("/healthz")
@blueprint.doc(responses=shapes.ok(shapes.record({"status": shapes.TEXT}), "this process lives"))
def healthz() -> Response:
    """Whether this web process lives; asks nobody else."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@blueprint.doc(
    responses=shapes.ok(READINESS, "ready; `degraded` lists what is missing")
    | shapes.ok(NOT_READY, "no Postgres, or migrations are pending", 503)
)
def readyz() -> tuple[Response, int]:
    """Whether requests can be answered: 503 only without Postgres or with pending migrations."""
    try:
        with state.serving().connection() as connection:
            if not database.is_ready(connection):
                return _not_ready("migrations are pending: run `python -m gateway migrate`")
            degraded = [*_partitions(connection), *_roles(connection)]
    except psycopg.Error as error:
        return _not_ready(f"Postgres does not answer: {str(error).strip().splitlines()[0]}")
    degraded += [*_redis(), *_queries()]
    return jsonify(status="degraded" if degraded else "ready", degraded=degraded), 200


def _not_ready(reason: str) -> tuple[Response, int]:
    response = jsonify(status="not ready", message=reason, problems=[], degraded=[])
    response.headers["Retry-After"] = "2"
    return response, 503


def _partitions(connection: Connection) -> list[dict[str, Any]]:
    missing = database.missing_partitions(connection, at=instant.now())
    if not missing:
        return []
    return [
        {
            "what": "partitions",
            "message": f"partitions of the coming week are missing: {', '.join(missing)}; "
            "is the clock running?",
        }
    ]


def _roles(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(SQL.beats, {"fresh_s": STALE_HEARTBEAT_S}).fetchall()
    beating = {row[0] for row in rows}
    return [
        {"what": role, "message": f"no {role} has reported for {STALE_HEARTBEAT_S} s"}
        for role in ROLES
        if role not in beating
    ]


def _redis() -> list[dict[str, Any]]:
    try:
        state.redis_client().ping()
    except redis.RedisError as error:
        return [{"what": "redis", "message": f"Redis does not answer: {error}"}]
    return []


def _queries() -> list[dict[str, Any]]:
    """Searches nobody made before lean on words alone while their vectors cannot be made."""
    problem = queries.problem()
    return [] if problem is None else [{"what": "queries", "message": problem}]
