"""Traces, sent to a receiver that speaks OTLP over HTTP; without the setting there are none."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rq import Queue
from rq.serializers import JSONSerializer

from gateway import jobs
from gateway.http import create_app, state
from gateway.settings import Settings
from gateway.telemetry import tracing
from schemas import tracing as spans
from tests.builders import track
from tests.conftest import Shop
from tests.connectors.signing import segment

ROOT = Path(__file__).parent.parent.parent
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Receiver(ThreadingHTTPServer):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Take)
        self.bodies: list[bytes] = []


class Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        unpacked = gzip.decompress(body) if self.headers.get("Content-Encoding") else body
        self.server.bodies.append(unpacked)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield server
        server.shutdown()
        thread.join()


Spans = Callable[[], dict[str, Any]]


@pytest.fixture
def sent(receiver: Receiver) -> Iterator[Spans]:
    """Tracing, on until the spans are asked for, by name."""
    end = tracing.start("web")

    def ended() -> dict[str, Any]:
        end()
        return received(receiver)

    yield ended
    end()


def received(receiver: Receiver) -> dict[str, Any]:
    messages = [ExportTraceServiceRequest.FromString(body) for body in receiver.bodies]
    return {
        span.name: span
        for message in messages
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


@pytest.fixture
def traced(sent: Spans, app_settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(replace(app_settings, tracing=True))
    yield app.test_client()
    state.of(app).close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_delivery_is_followed_from_its_request_to_its_statement(
    traced: FlaskClient, shop: Shop, sent: Spans, receiver: Receiver
) -> None:
    body = json.dumps(track(userId="someone@example.com")).encode()
    headers = segment(body, shop.segment.secrets[0]) | {"traceparent": PARENT}
    path = f"/webhooks/segment/{shop.segment.public_id}"
    answer = traced.post(path, data=body, headers=headers)
    found = sent()
    request = found["POST /webhooks/<connector>/<source>"]
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == PARENT[36:52]
    told = attributes(request)
    assert told["http.response.status_code"] == 200
    assert told["attune.delivery"] == answer.json["delivery"]  # type: ignore[index]
    assert told["attune.request"] == answer.headers["X-Request-Id"]
    assert found["read"].parent_span_id == found["apply"].parent_span_id == request.span_id
    assert found["sql apply.apply"].parent_span_id == found["apply"].span_id
    assert not any(b"someone" in each for each in receiver.bodies)


def test_a_list_is_followed_through_its_steps(traced: FlaskClient, shop: Shop, sent: Spans) -> None:
    traced.post(
        "/v1/recommendation/user_to_products",
        json={"anonymous_id": "a1", "explain": True},
        headers={"X-API-KEY": shop.secret_key},
    )
    found = sent()
    request = found["POST /v1/recommendation/user_to_products"]
    steps = [found[name] for name in ("profile", "candidates", "explain")]
    assert all(step.trace_id == request.trace_id for step in steps)
    assert attributes(found["candidates"])["strategy"] == "recommend"
    assert any(name.startswith("sql ") for name in found)


def test_an_error_is_marked_by_its_kind_and_quotes_nothing(sent: Spans, receiver: Receiver) -> None:
    with pytest.raises(ValueError), spans.span("step"):
        raise ValueError("someone@example.com")
    step = sent()["step"]
    assert step.status.message == "ValueError" and not step.events
    assert b"someone" not in receiver.bodies[0]


def test_a_job_goes_on_with_the_trace_that_gave_its_hint(
    shop: Shop, environment: dict[str, str], sent: Spans
) -> None:
    jobs._hints.cache_clear()
    with spans.span("request", {"traceparent": PARENT}):
        jobs.hint("popularity", shop.site.site_id)
    settings = jobs.load()
    client = jobs.redis.Redis.from_url(settings.redis_url)
    with client:
        queue = Queue("default", connection=client, serializer=JSONSerializer)
        worker = jobs.RoleWorker([queue], connection=client, serializer=JSONSerializer)
        worker.work(burst=True, logging_level="WARNING")
    jobs._hints.cache_clear()
    job = sent()["job popularity"]
    assert job.trace_id.hex() == TRACE
    assert attributes(job)["attune.site"] == shop.site.site_id


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from gateway import tasks
from gateway.telemetry import tracing
from gateway.http import create_app
from schemas import tracing as spans
assert not spans.is_on() and spans.carrier() == {}
try:
    tracing.start("web")
except tracing.NotInstalled as error:
    print(error)
"""


def test_only_the_setting_needs_the_packages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pip install -r requirements-tracing.txt" in done.stdout, done.stderr
