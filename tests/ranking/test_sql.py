"""Guards over every statement of the ranking: it parses on the migrated schema, and takes the time
as a parameter."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import ranking
from ranking.visitors import people, profile
from schemas import database
from schemas.database import Connection

ROOT = Path(ranking.__file__).parent
FILES = sorted(ROOT.rglob("*.sql"))
STATEMENTS = [(path, name) for path in FILES for name in database.queries(str(path)).statements]
# What a slot is filled with; a statement with another one is built by its own module.
SLOTS: dict[str, sql.Composable] = {
    "vectors": sql.Identifier("vectors_template"),
    "texts": sql.Identifier("texts_template"),
    "learned": sql.Identifier("learned_template"),
    "filter": sql.SQL("true"),
    "matches": sql.SQL("true"),
    "measure": sql.Identifier("popular"),
    "named": people.NAMED,
    **profile.PARTS,
}
_SLOT = re.compile(r"(?<!{){(\w+)}")
_PARAMETER = re.compile(r"%\((\w+)\)[sb]")
_RUNS = re.compile(r"^(?:--[^\n]*\n)*(?:select|with|insert|update|delete)\b")
_EXPLAINS = re.compile(r"^explain \(format json\)\n", re.MULTILINE)
# Parts that other statements are filled with.
PARTS = {("identity.sql", "owners"), ("nearest.sql", "plain")}
_CLOCK = re.compile(r"\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp)\s*\(|"
                    r"\bcurrent_(?:timestamp|date|time)\b|\blocaltime", re.IGNORECASE)  # fmt: skip
# These stamp when a row was written, which no list depends on.
STAMPS = {("identity.sql", "undo_all")}
BOOKKEEPING = ("embeddings.sql", "models.sql")


def named(statement: tuple[Path, str]) -> str:
    return f"{statement[0].stem}.{statement[1]}"


def text_of(path: Path, name: str) -> str:
    return database.queries(str(path)).statements[name]


@pytest.mark.parametrize("statement", STATEMENTS, ids=named)
def test_every_statement_parses_on_the_migrated_schema(
    connection: Connection, statement: tuple[Path, str]
) -> None:
    path, name = statement
    text = _EXPLAINS.sub("", text_of(path, name))
    slots = set(_SLOT.findall(text))
    if not _RUNS.match(text) or slots - set(SLOTS) or (path.name, name) in PARTS:
        pytest.skip("a part, a definition, or built by its module")
    query = sql.SQL("explain " + text)  # type: ignore[arg-type]
    filled = query.format(**{slot: SLOTS[slot] for slot in slots}) if slots else query
    try:
        connection.execute(filled, dict.fromkeys(_PARAMETER.findall(filled.as_string(None))))
    except psycopg.errors.IndeterminateDatatype:
        pytest.skip("a null parameter alone does not say its type")


@pytest.mark.parametrize("statement", STATEMENTS, ids=named)
def test_time_is_an_argument(statement: tuple[Path, str]) -> None:
    path, name = statement
    if path.name in BOOKKEEPING or (path.name, name) in STAMPS:
        return
    assert not _CLOCK.search(text_of(path, name)), "take the time as %(at)s"


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "strategies").rglob("*.py")),
        *(ROOT / name for name in ("answer.py", "answers.py", "explain.py", "question.py")),
        *(ROOT / "visitors" / name for name in ("profile.py", "interests.py")),
        *(ROOT / "catalog" / name for name in ("nearest.py", "records.py")),
    ],
    ids=lambda path: path.stem,
)
def test_no_list_asks_for_the_time_of_day(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\.(?:now|today|utcnow)\(|time\.time\(", text)
