"""The documentation says what the code does: settings, commands, routes, links, named functions."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from gateway import access, site_settings
from gateway.__main__ import cli
from gateway.http import create_app, state
from gateway.settings import TABLE, load
from tests.builders import basic
from tests.conftest import SECRET_KEY, Shop

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
OTHER_PAGES = [ROOT / "SECURITY.md", *ROOT.glob("demo/*.md"), *ROOT.glob("connectors/*/*.md")]

_ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)
_CELLS = re.compile(r" \| ")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FUNCTION = re.compile(r"`([\w./-]+\.(?:py|sql)):([\w.]+)`")
_FILE = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.\w+)`")
_OPTION = re.compile(r"`(--[\w-]+)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page's text without its code."""
    return _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))


def rows(page: Path) -> list[list[str]]:
    """The cells of every table row."""
    text = page.read_text(encoding="utf-8")
    return [_CELLS.split(found.group(1)) for found in _ROW.finditer(text)]


# settings ----------------------------------------------------------------------------------------


def test_each_setting_is_documented_with_its_default_and_meaning() -> None:
    documented = {tuple(row) for row in rows(REFERENCE / "settings.md")}
    for setting in TABLE:
        assert (f"`{setting.name}`", setting.default_text(), setting.doc) in documented


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = {row[0].strip("`") for row in rows(REFERENCE / "settings.md")}
    variables = {word for word in documented if re.fullmatch(r"[A-Z_]{4,}", word)}
    assert variables == {setting.name for setting in TABLE}


@pytest.mark.parametrize("page", ["settings.md", "exploration.md"])
def test_settings_of_a_site_are_documented_with_their_defaults(page: str) -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(REFERENCE / page)}
    here = {name for name in site_settings.BY_NAME if name.startswith("exploration")}
    for name in here if page == "exploration.md" else site_settings.BY_NAME:
        default = site_settings.BY_NAME[name].default
        assert default is None or documented[name] == f"{default:g}"


# commands ----------------------------------------------------------------------------------------


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Every command with its path, groups left out."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None
        yield from commands(found, (*path, child))


def documented_commands() -> dict[str, tuple[list[str], set[str]]]:
    """By a command's path its documented arguments and options."""
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    sections = re.split(r"^##+ ", text, flags=re.MULTILINE)
    found = {}
    for section in sections:
        heading = re.match(r"`([a-z ]+?)((?: \[?[A-Z_]+\]?)*)`\n", section)
        if heading:
            words, arguments = heading.group(1).strip(), heading.group(2).split()
            options = {
                option
                for line in section.splitlines()
                if line.startswith("- ")
                for option in _OPTION.findall(line)[:1]
            }
            found[words] = (arguments, options)
    return found


def signature(command: click.Command) -> tuple[list[str], set[str]]:
    """A command's arguments as usage lines write them, and its options that are shown."""
    arguments, options = [], set()
    for one in command.params:
        if isinstance(one, click.Argument):
            shown = (one.name or "").upper()
            arguments.append(shown if one.required else f"[{shown}]")
        elif isinstance(one, click.Option) and not one.hidden:
            options.add(one.opts[0])
    return arguments, options


def test_commands_are_documented_with_their_arguments_and_options() -> None:
    assert documented_commands() == {path: signature(command) for path, command in commands()}


def test_commands_in_examples_exist() -> None:
    known = {path for path, _ in commands()}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"-m gateway ([a-z]+(?: [a-z]+)?)", text):
            words = found.group(1).split()
            assert " ".join(words) in known or words[0] in known, f"{name(page)}: {found.group()}"


# routes ------------------------------------------------------------------------------------------


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Rule]:
    """Every route of the application, which opens no connection for that."""
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setenv("ATTUNE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere.invalid/attune")
    monkeypatch.setenv("REDIS_URL", "redis://nowhere.invalid")
    return list(create_app(load()).url_map.iter_rules())


def test_routes_are_documented_and_no_others(rules: list[Rule]) -> None:
    documented = {
        (method, row[1].strip("`"))
        for row in rows(REFERENCE / "routes.md")
        if row[1].startswith("`/")
        for method in row[0].split(", ")
    }
    existing = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert documented == existing


@pytest.fixture
def client(
    clean_database: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    """Sends requests to an application on this test's services."""
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setenv("ATTUNE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", redis_url)
    made = create_app(load())
    yield made.test_client()
    state.of(made).close()


def test_documented_scopes_are_those_asked_for(shop: Shop, client: FlaskClient) -> None:
    for method, path, scope in guarded_routes():
        key = key_without(shop, scope)
        named = path.replace("{call}", "track").replace("{write_key}", key)
        headers = {"X-API-KEY": key} | basic(key)
        answer = client.open(re.sub(r"{\w+}", "x", named), method=method, headers=headers)
        assert answer.status_code == 403, f"{method} {path}"
        assert answer.json and scope in answer.json["message"]


def guarded_routes() -> list[tuple[str, str, str]]:
    """(method, path, scope) of the documented routes that ask for a key."""
    return [
        (row[0], row[1].strip("`"), row[2].strip("`"))
        for row in rows(REFERENCE / "routes.md")
        if row[1].startswith("`/") and row[2] != "–"
    ]


def key_without(shop: Shop, scope: str) -> str:
    others = [other for other in access.SECRET_SCOPES if other != scope]
    with shop.pool.connection() as connection:
        return access.create_key(connection, shop.site, "secret", others)


# links, files, functions -------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = (found.group(1).lower() for found in _HEADING.finditer(text))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=name)
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


def test_each_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {(index.parent / link).resolve() for link in _LINK.findall(prose(index))}
    assert {page for page in PAGES if page != index} <= reached


def names_in(path: Path) -> set[str]:
    """What a file defines: functions, classes, methods, constants; of .sql the statements."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        return set(re.findall(r"^-- name: (\w+)$", text, re.MULTILINE))
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_functions_exist_in_the_files_named(page: Path) -> None:
    for path, names in _FUNCTION.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{name(page)}: {path}"
        assert set(names.split(".")) <= names_in(ROOT / path), f"{name(page)}: {path}:{names}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page: Path) -> None:
    for path in _FILE.findall(page.read_text(encoding="utf-8")):
        if (ROOT / path.split("/")[0]).exists():
            assert (ROOT / path).exists(), f"{name(page)}: {path}"


@pytest.mark.parametrize("page", ["follow-an-event.md", "follow-a-request.md"])
def test_the_walks_name_functions(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert len(set(_FUNCTION.findall(text))) > 10


# shell -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shell_examples_are_valid_shell(page: Path) -> None:
    for language, code in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language in ("sh", "bash"):
            done = subprocess.run(
                ["bash", "-n"], input=code, text=True, capture_output=True, check=False
            )
            assert not done.returncode, f"{name(page)}: {done.stderr}"


def test_the_readme_has_a_place_for_measured_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("<!-- bench:start -->") < text.index("<!-- bench:end -->")
