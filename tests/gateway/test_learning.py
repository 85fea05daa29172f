"""The learned model as an operator deals with it: by command and by API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from gateway import learning
from gateway.__main__ import cli
from ranking.catalog import learned_models
from ranking.training import gate
from tests.conftest import Shop
from tests.ranking.training.versions import a_version


@pytest.fixture
def version(shop: Shop) -> int:
    """A version that could serve."""
    with shop.pool.connection() as connection:
        return a_version(connection, shop.site.site_id).model_id


def command(shop: Shop, *words: str) -> Any:
    found = CliRunner().invoke(cli, [words[0], shop.site.name, *words[1:], "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.output)


def live(shop: Shop) -> int | None:
    with shop.pool.connection() as connection:
        learned_models.uncache(connection, shop.site.site_id)
        found = learned_models.live(connection, shop.site.site_id)
    return found.model_id if found else None


@pytest.fixture(autouse=True)
def in_the_environment(environment: dict[str, str]) -> None:
    """Commands find the test's services."""


def test_versions_are_listed_by_the_command(shop: Shop, version: int) -> None:
    listed = command(shop, "models")["models"]
    assert [(one["name"], one["state"]) for one in listed] == [
        ("learned-1", "retired"), ("text-1", "live"),
    ]  # fmt: skip


def test_the_table_is_for_people(shop: Shop, version: int) -> None:
    shown = CliRunner().invoke(cli, ["models", shop.site.name])
    assert shown.exit_code == 0
    assert "learned-1" in shown.output


def test_promote_and_rollback_by_command(shop: Shop, version: int) -> None:
    assert command(shop, "models", "promote", str(version))["live"] == version
    assert live(shop) == version
    assert command(shop, "models", "rollback")["live"] is None
    assert live(shop) is None


def test_a_rollback_goes_one_version_back(shop: Shop, version: int) -> None:
    command(shop, "models", "promote", str(version))
    with shop.pool.connection() as connection:
        second = a_version(connection, shop.site.site_id, seed=1).model_id
    command(shop, "models", "promote", str(second))
    assert command(shop, "models", "rollback")["live"] == version
    assert live(shop) == version
    assert command(shop, "models", "rollback")["live"] is None


@pytest.mark.parametrize("words", [["promote"], ["rollback", "3"]], ids=["which", "none"])
def test_a_version_is_named_where_one_is_meant(shop: Shop, words: list[str]) -> None:
    found = CliRunner().invoke(cli, ["models", shop.site.name, *words])
    assert found.exit_code == 2
    assert "promote" in found.output


def test_an_unknown_version_is_a_sentence(shop: Shop) -> None:
    found = CliRunner().invoke(cli, ["models", shop.site.name, "promote", "99"])
    assert found.exit_code == 1
    assert "no learned version 99 can serve" in found.output


def test_training_too_little_says_what_is_needed(shop: Shop) -> None:
    assert command(shop, "train") == {
        "site": shop.site.name,
        "outcome": "skipped",
        "reason": "0 sessions of two products or more are too few to learn from: 500 are needed",
    }
    shown = CliRunner().invoke(cli, ["train", shop.site.name])
    assert "Nothing was trained" in shown.output


RECORD = {
    "events": 4000, "sessions": 1000, "epochs": 5, "seconds": 61.2,
    "held_out_from": "2026-11-01T00:00:00+00:00", "verdict": "good", "reasons": [],
    "compared": {
        gate.UNTRAINED: {
            "k=1": {"n": 9, "hit_rate@10": [0.3, 0.2], "ndcg@10": [0.2, 0.1]},
            "p_not_better": 0.001,
        },
    },
    "new_products": [{"lift": 1.0, "ndcg@10": 0.2, "ndcg@10 of new": 0.1}],
    "guardrails": [{"name": "drift of event types", "value": 0.1, "bar": 0.4, "met": True}],
}  # fmt: skip


def test_a_training_is_told_in_sentences() -> None:
    told = "\n".join(learning.sentences({"outcome": "promoted", "version": 3, "record": RECORD}))
    assert "Version 3 learned from 4,000 events in 1,000 sessions" in told
    assert "k=1: NDCG@10 0.200 to 0.100, HR@10 0.300 to 0.200" in told
    assert told.endswith("It is live.")


def test_a_refusal_says_why() -> None:
    refused = RECORD | {"verdict": "refused", "reasons": ["not proved better than text-1: p = 0.4"]}
    told = list(learning.sentences({"outcome": "refused", "version": 3, "record": refused}))
    assert told[-1].startswith("Refused: not proved better than text-1: p = 0.4. What answered")
    assert learning.verdict(refused).startswith("refused: not proved")


# by API -------------------------------------------------------------------------------------------


def call(client: FlaskClient, shop: Shop, method: str, path: str) -> Any:
    headers = {"X-API-KEY": shop.secret_key}
    return client.open(f"/admin/v1/models{path}", method=method, headers=headers)


def test_promote_and_rollback_by_api(client: FlaskClient, shop: Shop, version: int) -> None:
    assert call(client, shop, "POST", f"/{version}/promote").json["live"] == version
    listed = call(client, shop, "GET", "").json["models"]
    assert [one["state"] for one in listed if one["name"] == "learned-1"] == ["live"]
    assert call(client, shop, "POST", "/rollback").json["live"] is None
    assert call(client, shop, "POST", "/rollback").json["live"] is None


def test_a_version_of_nobody_is_not_found(client: FlaskClient, shop: Shop) -> None:
    answer = call(client, shop, "POST", "/99/promote")
    assert answer.status_code == 404
    assert "version 99" in answer.json["message"]
    for name in ("99999999999999", "x", "-1"):
        assert call(client, shop, "POST", f"/{name}/promote").status_code == 404
