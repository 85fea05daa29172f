"""What the commands share: a connection to the running gateway's Postgres, and answers as text
or JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
import psycopg
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.settings import Settings, load
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

F = TypeVar("F", bound=Callable[..., Any])

# Of a table that nobody looks at: a file, a pipe. A terminal has its own width.
PIPED_WIDTH = 200
# To less than this no column is folded.
NARROWEST = 12
BETWEEN = 2  # columns, in characters

# Of the currencies of ISO 4217 that have not two.
WHOLE = frozenset((
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
))  # fmt: skip
THOUSANDTHS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))

_encoder = msgspec.json.Encoder(decimal_format="number")


def json_option(command: F) -> F:
    """`--json`: answer with one JSON document."""
    return click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")(command)


@contextmanager
def sentences() -> Iterator[Settings]:
    """The settings; whatever goes wrong inside ends the command with a sentence and status 1."""
    try:
        yield load()
    except AttuneError as error:
        raise click.ClickException(str(error)) from None
    except psycopg.errors.UndefinedTable:
        raise click.ClickException(
            "the database lacks tables: run `python -m gateway migrate`"
        ) from None
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise click.ClickException(f"Postgres does not answer: {reason}") from None


@contextmanager
def connected() -> Iterator[Connection]:
    """A connection of its own, where failures end the command with a sentence."""
    with (
        sentences() as settings,
        database.connect(settings.database_url, options=database.INGEST_OPTIONS) as connection,
    ):
        yield connection


def show_json(answer: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(_encoder.encode(answer)).decode())


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    nothing: str,
    *,
    folded: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Rows in columns; a sentence where there are none.

    Nothing is ever cut: keys and ids are there to be copied. Where the terminal is too narrow, the
    cells of the columns `folded` go on in a next line; where that is not enough, the columns
    `spare` are left out, the first one first; and what is still too wide the terminal breaks.
    """
    texts = [[plain(value) for value in row] for row in rows]
    if not texts:
        click.echo(nothing)
        return
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    least = [
        min(width, NARROWEST) if name in folded else width
        for name, width in zip(columns, widths, strict=True)
    ]
    room, shown = _width(), list(range(len(columns)))
    for name in spare:
        if _needed(least, shown) > room:
            shown.remove(columns.index(name))
    table = Table(box=None, pad_edge=False, padding=(0, BETWEEN, 0, 0), header_style="bold")
    for position in shown:
        name = columns[position]
        table.add_column(name, no_wrap=name not in folded, overflow="fold")
    for row in texts:
        table.add_row(*(escape(row[position]) for position in shown))
    Console(width=max(room, _needed(least, shown))).print(table)


def _needed(least: Sequence[int], shown: Sequence[int]) -> int:
    return sum(least[position] + BETWEEN for position in shown) - BETWEEN


def _width() -> int:
    """The terminal's, or what COLUMNS says."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console().width if known else PIPED_WIDTH


def and_more(names: Sequence[str], *, most: int, between: str = ", ") -> str:
    """`a, b and 27 more`: the first ones, and how many there are beside them."""
    listed, more = between.join(names[:most]), len(names) - most
    return f"{listed} and {more:,} more" if more > 0 else listed


def encoded(value: Any) -> str:
    """JSON on one line."""
    return _encoder.encode(value).decode()


def plain(value: Any) -> str:
    """A value as a person reads it; absent is empty."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in value)
    return str(value)


def money(amount: Any, currency: str | None) -> str:
    """`12.50 EUR`, with as many decimals as the currency has; absent is empty."""
    if amount is None:
        return ""
    decimals = 0 if currency in WHOLE else 3 if currency in THOUSANDTHS else 2
    return f"{amount:,.{decimals}f} {currency or ''}".strip()


def text(value: Any) -> str:
    """The same for rich, to which a sender's `[bold]` must not be markup."""
    return escape(plain(value))


def stages() -> Callable[[str, int, int], None]:
    """Says each stage of long work on stderr once, where that is no terminal to draw on."""
    said = set[str]()

    def told(stage: str, done: int, of: int) -> None:
        if stage not in said:
            said.add(stage)
            click.echo(f"{stage} ...", err=True)

    return told
