"""The baseline of webhooks: the same server, a handler that inserts the body and nothing else."""

from __future__ import annotations

from flask import Flask, Response, request

from gateway.http import state
from gateway.settings import load

INSERT = "insert into bare (body) values (%s)"


def create_app() -> Flask:
    """One route; the table `bare` is there."""
    app = Flask("bare")
    state.attach(app, load())

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.post("/bare")
    def bare() -> Response:
        with state.ingest().connection() as connection:
            connection.execute(INSERT, [request.get_data()])
        return Response('{"message": "kept"}', mimetype="application/json")

    return app
