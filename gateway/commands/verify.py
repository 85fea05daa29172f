"""`verify`: asks a host what Miso's wire promises, and says what came."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click
import httpx

from gateway import verify as wire
from gateway.commands import console
from gateway.expectation import ORIGIN, Answer
from gateway.verify import Check, Made

PREFIX = "attune-verify-"
TIMEOUT_S = 15.0
LARGEST_BYTES = 64 * 1024 * 1024
LONGEST_SHOWN = 100
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")

COLUMNS = ("", "check", "asked", "the wire says", "came")


@dataclass(frozen=True)
class Outcome:
    """What became of a check; `wrong` says why it failed."""

    check: Check
    came: str
    wrong: str | None


def _printable(context: click.Context, parameter: click.Parameter, key: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise click.BadParameter("a key is of letters and digits")
    return key


@click.command()
@click.argument("url")
@click.option(
    "--key", required=True, callback=_printable, help="A key of the host; a secret one checks all."
)
@console.json_option
def verify(url: str, key: str, as_json: bool) -> None:
    """Ask the host at URL what Miso's wire promises, and say for each answer whether it fits.

    Works on any host of that wire. What it stores has ids that begin with `attune-verify-` and is
    deleted at the end, also after a failure. The exit status is 0 when every check passes, else 1.
    """
    made = Made(PREFIX + secrets.token_hex(6))
    with _Host(_base(url), key) as host:
        kind = _kind(host)
        outcomes, left = _run(host, kind, made)
    failed = [one for one in outcomes if one.wrong]
    if as_json:
        _show_json(host.base, kind, outcomes, left)
    else:
        _show(outcomes)
        click.echo(_sentence(kind, outcomes, left, made))
    if failed or left:
        raise click.exceptions.Exit(1)


# asking ------------------------------------------------------------------------------------------


class _Host:
    """Sends a check's request with the key where the check wants it."""

    def __init__(self, base: str, key: str) -> None:
        self.base, self.key, self.task_id = base, key, "none"
        # A proxy of the environment leads out, not to this machine.
        here = httpx.URL(base).host in THIS_MACHINE
        self.client = httpx.Client(base_url=base, timeout=TIMEOUT_S, trust_env=not here)

    def __enter__(self) -> _Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, check: Check) -> Answer:
        """The answer; raises click's exception where none comes."""
        path = check.path.replace("{task_id}", self.task_id)
        try:
            with self.client.stream(
                check.method, path + self._in_query(check), content=_body(check),
                headers=self._headers(check),
            ) as got:  # fmt: skip
                answer = Answer(got.status_code, got.headers, _read(got))
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise click.ClickException(
                f"{self.base} does not answer {check.method} {check.path}: {reason}"
            ) from None
        self.task_id = quote(str(answer.data.get("task_id") or self.task_id), safe="")
        return answer

    def _in_query(self, check: Check) -> str:
        keys = {"query": self.key, "wrong query": wire.WRONG_KEY}
        if check.key not in keys:
            return ""
        between = "&" if "?" in check.path else "?"
        return f"{between}{httpx.QueryParams(api_key=keys[check.key])}"

    def _headers(self, check: Check) -> dict[str, str]:
        keys = {"header": self.key, "wrong header": wire.WRONG_KEY}
        headers = {"Origin": ORIGIN, **check.headers}
        if check.body is not None:
            headers["Content-Type"] = check.content_type
        return headers | ({"X-API-KEY": keys[check.key]} if check.key in keys else {})


def _body(check: Check) -> bytes | None:
    if check.body is None or isinstance(check.body, bytes):
        return check.body
    return json.dumps(check.body).encode()


def _read(got: httpx.Response) -> bytes:
    pieces, size = [], 0
    for piece in got.iter_bytes():
        size += len(piece)
        if size > LARGEST_BYTES:
            raise httpx.ReadError("the answer is longer than 64 MB")
        pieces.append(piece)
    return b"".join(pieces)


def _base(url: str) -> str:
    """The host's address, with or without `/v1` at the end as clients write it."""
    base = url.rstrip("/").removesuffix("/v1")
    try:
        parts = httpx.URL(base)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise click.BadParameter("write it as https://host", param_hint="URL")
    return base


def _kind(host: _Host) -> str:
    """`secret` or `publishable`; a key that is none ends the command."""
    if host.key.startswith("wk_"):
        raise click.ClickException(
            "a write key (wk_…) is for the collector, where Segment's client libraries send: "
            "verify with a secret key (sk_…) or a publishable one (pk_…) of the same site"
        )
    answer = host.ask(wire.WHICH_KEY)
    if answer.status == 401:
        raise click.ClickException(f"{host.base} does not know this key: {_came(answer)}")
    return "publishable" if answer.status == 403 else "secret"


def _run(host: _Host, kind: str, made: Made) -> tuple[list[Outcome], list[str]]:
    """Every check's outcome, and what could not be taken away again."""
    if kind == "publishable":
        return [_checked(host, check) for check in wire.for_publishable_key(made)], []
    left: list[str] = []
    try:
        outcomes = [_checked(host, check) for check in wire.for_secret_key(made)]
    finally:
        left += _clean(host, made)
    return outcomes, left


def _checked(host: _Host, check: Check) -> Outcome:
    answer = host.ask(check)
    return Outcome(check, _came(answer), check.expect(answer))


def _clean(host: _Host, made: Made) -> list[str]:
    """Take away what the checks stored; say at once what stays: an error may be under way."""
    left = []
    for check in wire.cleaning(made):
        try:
            wrong = _checked(host, check).wrong
        except click.ClickException as error:
            wrong = error.message
        if wrong:
            left.append(check.name)
            click.echo(f"{check.name} of {made.prefix}… may be left: {wrong}", err=True)
    return left


# the answer --------------------------------------------------------------------------------------


def _came(answer: Answer) -> str:
    message = answer.json.get("message")
    told = message if isinstance(message, str) else answer.body.decode(errors="replace")
    short = " ".join(told.split())
    return f"{answer.status} {short[:LONGEST_SHOWN]}{'…' if len(short) > LONGEST_SHOWN else ''}"


def _groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    for group in dict.fromkeys(one.check.group for one in outcomes):
        yield group, [one for one in outcomes if one.check.group == group]


def _show(outcomes: Sequence[Outcome]) -> None:
    for group, of_group in _groups(outcomes):
        click.echo(f"\n{group}")
        rows = [_row(one) for one in of_group]
        console.show_table(COLUMNS, rows, "", folded=COLUMNS[1:])


def _row(one: Outcome) -> tuple[str, ...]:
    came = f"{one.wrong}; came: {one.came}" if one.wrong else one.came
    asked = f"{one.check.method} {one.check.path}"
    mark = "FAIL" if one.wrong else "pass"
    return mark, one.check.name, asked, one.check.reference, came


def _sentence(kind: str, outcomes: Sequence[Outcome], left: Sequence[str], made: Made) -> str:
    failed = sum(one.wrong is not None for one in outcomes)
    counts = f"\n{len(outcomes) - failed} of {len(outcomes)} checks pass with this {kind} key."
    if kind == "publishable":
        return (
            f"{counts}\nNothing was stored: interactions were dry runs. A secret key checks more."
        )
    if left:
        return f"{counts}\nDelete by hand what begins with {made.prefix}: {', '.join(left)}."
    return f"{counts}\nCleaned up: products, users and interactions of {made.prefix}… are deleted."


def _show_json(base: str, kind: str, outcomes: Sequence[Outcome], left: Sequence[str]) -> None:
    checks = [
        {
            "group": one.check.group,
            "check": one.check.name,
            "asked": f"{one.check.method} {one.check.path}",
            "reference": one.check.reference,
            "came": one.came,
            "passed": one.wrong is None,
            "wrong": one.wrong,
        }
        for one in outcomes
    ]
    failed = sum(one.wrong is not None for one in outcomes)
    answer: dict[str, Any] = {"url": base, "key": kind, "passed": len(checks) - failed}
    console.show_json(answer | {"failed": failed, "left": list(left), "checks": checks})


COMMANDS: list[click.Command] = [verify]
