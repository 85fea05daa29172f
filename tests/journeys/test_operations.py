"""A whole gateway as an operator sees it: its log, its figures, its traces, its doctor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.test_tracing import Receiver, received
from tests.gateway.test_tracing import receiver as receiver  # a fixture
from tests.journeys.gateway_process import ROLES, GatewayProcess, gateway, until

pytestmark = pytest.mark.heavy

BACKGROUND = ("worker", "encoder", "trainer", "clock")


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver) -> Iterator[GatewayProcess]:
    tmp_path.chmod(0o711)
    url = f"http://127.0.0.1:{receiver.server_address[1]}"
    environment = {
        "LOG_FORMAT": "json",
        "TRACING": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "WEB_CONCURRENCY": "2",
    }
    with gateway(tmp_path / "home", environment=environment) as started:
        yield started


def figures(running: GatewayProcess) -> dict[str, list[Any]]:
    text = httpx.get(f"{running.url}/metrics", trust_env=False).text
    families = text_string_to_metric_families(text)
    return {family.name: family.samples for family in families}


def total(found: dict[str, list[Any]], name: str, sample: str) -> float:
    return sum(one.value for one in found.get(name, []) if one.name == sample)


def test_an_operator_sees_every_role(running: GatewayProcess, receiver: Receiver) -> None:
    made = json.loads(running.say("sites", "create", "shop", "--json").stdout)
    headers = {"X-API-KEY": made["secret_key"], "X-Request-Id": "of-a-test"}
    upload = {"data": [{"product_id": f"p{n}", "title": f"Product {n}"} for n in range(20)]}
    answer = httpx.post(f"{running.url}/v1/products", json=upload, headers=headers, trust_env=False)
    assert answer.status_code == 200

    def reported() -> bool:
        found = figures(running)
        roles = {s.labels["role"] for s in found.get("attune_processes", [])}
        beating = {s.labels["role"] for s in found.get("attune_heartbeat_age_seconds", [])}
        encoded = total(found, "attune_products_encoded", "attune_products_encoded_total")
        return roles == set(ROLES) and beating == set(BACKGROUND) and encoded == 20

    until(reported, 90, what="a figure of every role")

    before = total(figures(running), "attune_request_seconds", "attune_request_seconds_count")
    [arbiter] = running.find("web").children()  # type: ignore[union-attr]
    for worker in arbiter.children():
        worker.kill()
    until(lambda: running.status() == 200, what="new web processes")
    now = total(figures(running), "attune_request_seconds", "attune_request_seconds_count")
    assert now >= before

    traced = ("POST /v1/products", "apply", "job encode")
    until(lambda: set(traced) <= set(received(receiver)), what="spans of web and encoder")

    done = running.say("doctor", "--json")
    answered = json.loads(done.stdout)
    levels = {one["check"]: one["level"] for one in answered["findings"]}
    told = {name: levels[name] for name in ("roles", "web", "encoder", "indexes", "members")}
    assert set(told.values()) == {"ok"}, answered["findings"]
    assert done.returncode == (answered["verdict"] == "problem")

    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert all({"time", "level", "role", "pid", "event"} <= set(line) for line in lines)
    assert {"web", "migrate", "encoder", "announce"} <= {line["role"] for line in lines}
    assert any(line.get("request") == "of-a-test" for line in lines)
    assert any(line.get("task") == "encode" for line in lines)
    assert made["secret_key"] not in running.log.read_text()
