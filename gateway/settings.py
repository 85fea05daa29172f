"""Every setting, read from the environment; whatever needs one takes a `Settings`.

`python -m gateway settings` prints the table, docs/reference is checked against it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from environs import Env
from environs.exceptions import EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range, Regexp

from gateway import home as homes
from schemas.errors import AttuneError


class BadSetting(AttuneError):
    """A setting has a value that cannot be used."""


class MissingServices(AttuneError):
    """Neither the environment nor a running gateway says where Postgres and Redis are."""


@dataclass(frozen=True)
class Setting:
    """One row of the table: `field` is its name in `Settings`."""

    name: str
    field: str
    kind: str
    default: Any
    doc: str
    validate: Callable[[Any], Any] | None = None
    secret: bool = False
    shown_default: str | None = None

    def default_text(self) -> str:
        return str(self.default) if self.shown_default is None else self.shown_default


@dataclass(frozen=True)
class Settings:
    """The settings of this process; `database_url` and `redis_url` are empty only for `run`."""

    port: int
    bind: str
    home: Path
    database_url: str
    redis_url: str
    demo: bool
    public_url: str
    trusted_proxies: int
    metrics_token: str
    tracing: bool
    secret_key: str
    log_level: str
    log_format: str
    web_concurrency: int
    encoder_threads: int
    feed_allow_private: bool
    retention_deliveries_days: int
    retention_events_days: int
    retention_impressions_days: int

    @property
    def local_url(self) -> str:
        """Where this machine itself reaches the web role."""
        everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # nosec B104
        host = f"[{self.bind}]" if ":" in self.bind else self.bind
        return f"http://{everywhere.get(self.bind, host)}:{self.port}"

    @property
    def run_dir(self) -> Path:
        """Files that are worth nothing after a stop: sockets, logs, metrics."""
        return self.home / "run"


def _fernet_key(value: str) -> None:
    try:
        Fernet(value)
    except ValueError:
        raise ValidationError(
            "it must be 32 bytes in URL-safe base64; make one with python -c "
            '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        ) from None


_POSTGRES = Regexp(r"postgres(ql)?://", error="it must start with postgresql://")
_REDIS = Regexp(r"(rediss?|unix)://", error="it must start with redis://, rediss:// or unix://")
_ADDRESS = Regexp(r"[0-9A-Za-z.:_-]+$", error="it must be an address or a host's name")
_HTTP = Regexp(r"https?://[^/\s]+", error="it must start with http:// or https://")
_LEVELS = OneOf(["DEBUG", "INFO", "WARNING", "ERROR"], error="it must be one of: {choices}")
_FORMATS = OneOf(["auto", "json", "text"], error="it must be one of: {choices}")
_TOKEN = Regexp(r"[!-~]{16,200}\Z", error="it must be 16 to 200 characters without spaces")
_DAYS = Range(1, 3650, error="it must be between {min} and {max} days")

TABLE: tuple[Setting, ...] = (
    Setting(
        "PORT", "port", "int", 8080, "TCP port of the web role.",
        Range(1, 65535, error="it must be between {min} and {max}"),
    ),
    Setting(
        "BIND", "bind", "str", "127.0.0.1",
        "Address the web role listens on; 0.0.0.0 is every interface of the machine.", _ADDRESS,
    ),
    Setting(
        "ATTUNE_HOME", "home", "path", "./.attune",
        "Folder of this installation: embedded Postgres, keys, exported models.",
    ),
    Setting(
        "DATABASE_URL", "database_url", "str", "",
        "Postgres 15 or newer with pgvector 0.8.4 or newer.",
        _POSTGRES, secret=True, shown_default="embedded Postgres",
    ),
    Setting(
        "REDIS_URL", "redis_url", "str", "", "Redis or Valkey; holds nothing that matters.",
        _REDIS, secret=True, shown_default="embedded Redis",
    ),
    Setting("ATTUNE_DEMO", "demo", "bool", True, "Load the demo site at start.", shown_default="1"),
    Setting(
        "PUBLIC_URL", "public_url", "str", "",
        "Address of this gateway as others reach it; every URL we print starts with it.",
        _HTTP, shown_default="http://127.0.0.1:PORT",
    ),
    Setting(
        "TRUSTED_PROXIES", "trusted_proxies", "int", 0,
        "How many proxies in front set X-Forwarded-For, -Proto and -Host, which are then believed.",
        Range(0, 10, error="it must be between {min} and {max}"),
    ),
    Setting(
        "METRICS_TOKEN", "metrics_token", "str", "",
        "Bearer token that /metrics asks for; without it, it answers private networks only.",
        _TOKEN, secret=True, shown_default="none",
    ),
    Setting(
        "TRACING", "tracing", "bool", False,
        "Send traces by OTLP over HTTP to OTEL_EXPORTER_OTLP_ENDPOINT.", shown_default="0",
    ),
    Setting(
        "ATTUNE_SECRET_KEY", "secret_key", "str", "",
        "Fernet key that encrypts stored secrets; the same on every machine.",
        _fernet_key, secret=True, shown_default="made once in ATTUNE_HOME/secret.key",
    ),
    Setting("LOG_LEVEL", "log_level", "str", "INFO", "DEBUG, INFO, WARNING or ERROR.", _LEVELS),
    Setting(
        "LOG_FORMAT", "log_format", "str", "auto",
        "json, text, or auto: text at a terminal, else one JSON object a line.", _FORMATS,
    ),
    Setting(
        "WEB_CONCURRENCY", "web_concurrency", "int", 3, "Web processes, each of 4 threads.",
        Range(1, 256, error="it must be between {min} and {max}"),
    ),
    Setting(
        "ATTUNE_ENCODER_THREADS", "encoder_threads", "int", 1,
        "CPU threads the encoder may use.",
        Range(1, 256, error="it must be between {min} and {max}"),
    ),
    Setting(
        "FEED_ALLOW_PRIVATE", "feed_allow_private", "bool", False,
        "Fetch feeds from private networks and this machine too.", shown_default="0",
    ),
    Setting(
        "RETENTION_DELIVERIES_DAYS", "retention_deliveries_days", "int", 30,
        "How long raw deliveries are kept.", _DAYS,
    ),
    Setting(
        "RETENTION_EVENTS_DAYS", "retention_events_days", "int", 400,
        "How long events are kept.", _DAYS,
    ),
    Setting(
        "RETENTION_IMPRESSIONS_DAYS", "retention_impressions_days", "int", 90,
        "How long answers and impressions are kept.", _DAYS,
    ),
)  # fmt: skip


def load(*, find_services: bool = True) -> Settings:
    """Read the environment; raises BadSetting, or MissingServices where nothing runs.

    With `find_services=False` (only `run` and `settings`) services and secret key may be empty:
    `run` makes its own.
    """
    values = {setting.field: _read(setting) for setting in TABLE}
    values["home"] = Path(values["home"]).expanduser().absolute()
    values["public_url"] = values["public_url"].rstrip("/") or f"http://127.0.0.1:{values['port']}"
    settings = Settings(**values)
    return _complete(settings) if find_services else settings


def sources() -> dict[str, str]:
    """Where each setting's value comes from: `environment` or `default`."""
    return {
        setting.name: "environment" if os.environ.get(setting.name) else "default"
        for setting in TABLE
    }


def secret_key(home: Path) -> str:
    """The installation's Fernet key, made at the first call; two first calls agree on one."""
    path = home / "secret.key"
    if not path.exists():
        _make_secret_key(path)
    try:
        value = path.read_text().strip()
        _fernet_key(value)
    except OSError as error:
        raise BadSetting(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError:
        raise BadSetting(
            f"{path} holds no Fernet key: restore it from a backup, stored secrets need it"
        ) from None
    return value


def kept_secret_key(home: Path) -> str | None:
    """The key in the home, where there is one yet."""
    return secret_key(home) if (home / "secret.key").exists() else None


def keep_secret_key(home: Path, value: str) -> None:
    """Put a key into a home that has none, as a restore does."""
    _make_secret_key(home / "secret.key", value.encode())


def _read(setting: Setting) -> Any:
    """One value by environs; an empty variable counts as absent, as compose files pass them."""
    if not os.environ.get(setting.name, "").strip():
        return setting.default
    parse = getattr(Env(), setting.kind)
    try:
        return parse(setting.name, validate=setting.validate)
    except EnvValidationError as error:
        shown = "" if setting.secret else f" is {os.environ[setting.name]!r}"
        raise BadSetting(f"{setting.name}{shown}: {_sentence(error)}") from None


def _sentence(error: EnvValidationError) -> str:
    text = "; ".join(str(message) for message in error.error_messages).rstrip(".")
    return text[:1].lower() + text[1:]


def _complete(settings: Settings) -> Settings:
    """Fill in what the environment leaves open from the gateway that runs on this home."""
    running = homes.running(settings.home)
    if running is None:
        _check_services(settings)
        return replace(settings, secret_key=settings.secret_key or secret_key(settings.home))
    given = {setting.field for setting in TABLE if os.environ.get(setting.name)}
    names = ("database_url", "redis_url", "port", "public_url", "secret_key")
    return replace(
        settings, **{name: getattr(running, name) for name in names if name not in given}
    )


def _check_services(settings: Settings) -> None:
    if not (settings.database_url and settings.redis_url):
        raise MissingServices(
            f"no gateway runs on {settings.home}: start one with `make run`, or set "
            "DATABASE_URL and REDIS_URL"
        )


def _make_secret_key(path: Path, value: bytes | None = None) -> None:
    homes.make(path.parent)
    draft = path.with_suffix(f".{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write((value or Fernet.generate_key()) + b"\n")
    try:
        os.link(draft, path)  # unlike rename, does nothing where another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()
