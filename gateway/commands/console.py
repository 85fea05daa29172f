"""What the commands share: a connection to the running gateway's Postgres, and answers as text
or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.settings import Settings, load
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

F = TypeVar("F", bound=Callable[..., Any])

# Keys and ids are there to be copied: a narrow terminal may break lines, never cut them.
WIDE = 300

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


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], nothing: str) -> None:
    """Rows in columns; a sentence where there are none."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(text(value) for value in row))
    if table.row_count:
        Console(width=WIDE).print(table)
    else:
        click.echo(nothing)


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


def text(value: Any) -> str:
    """The same for rich, to which a sender's `[bold]` must not be markup."""
    return escape(plain(value))
