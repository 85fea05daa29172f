"""Every fixture of every connector: translated, loaded, compared. A bug report is a new pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors import CONNECTORS
from tests.connectors.reading import ROOT, body_of, headers_of, outcomes

PAIRS = [
    pytest.param(name, path, id=f"{name}-{path.stem}")
    for name in CONNECTORS
    for path in sorted((ROOT / "connectors" / name / "fixtures").iterdir())
    if path.suffix != ".md" and not path.name.endswith((".expected.json", ".headers.json"))
]


@pytest.mark.parametrize(("connector", "path"), PAIRS)
def test_a_body_becomes_the_facts_beside_it(connector: str, path: Path) -> None:
    expected = path.with_name(f"{path.stem}.expected.json").read_text(encoding="utf-8")
    body, settings = body_of(path)
    assert outcomes(connector, body, settings, headers_of(path)) == json.loads(expected)


@pytest.mark.parametrize("connector", CONNECTORS)
def test_no_expectation_lacks_its_body(connector: str) -> None:
    folder = ROOT / "connectors" / connector / "fixtures"
    expected = {path.name for path in folder.glob("*.expected.json")}
    assert expected == {f"{path.stem}.expected.json" for _, path in _of(connector)}


def _of(connector: str) -> list[tuple[str, Path]]:
    return [tuple(pair.values) for pair in PAIRS if pair.values[0] == connector]  # type: ignore[misc]
