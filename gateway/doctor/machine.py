"""This machine: its disk, its home, its clock, the address that others reach it by."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from gateway import VERSION
from gateway.doctor.finding import Check, Finding, Patient, ago, ok, problem, size, warning

GIGABYTE = 1 << 30
LITTLE_SPACE, LITTLE_SHARE = 5 * GIGABYTE, 0.10
NO_SPACE, NO_SHARE = GIGABYTE, 0.03
SKEW_S, MUCH_SKEW_S = 2.0, 30.0
ANSWER_TIMEOUT_S = 10.0
SECRETS = ("secret.key", "demo.json", "run/services.json")
LOCAL = ("localhost", "127.0.0.1", "::1")


def versions(patient: Patient) -> Iterator[Finding]:
    """Which versions these are, for whoever reads the report."""
    yield ok(f"Attune {VERSION} on Python {platform.python_version()}, {platform.system()}")


def disk(patient: Patient) -> Iterator[Finding]:
    """Space on the volume of the home, where an embedded Postgres keeps its data."""
    home = _existing(patient.settings.home)
    usage = shutil.disk_usage(home)
    left = f"{size(usage.free)} of {size(usage.total)} are free at {home}"
    share = usage.free / max(usage.total, 1)
    advice = (
        "make room: without space Postgres takes no deliveries. Lower the RETENTION_… settings, "
        "or move ATTUNE_HOME to a larger volume"
    )
    if usage.free < NO_SPACE or share < NO_SHARE:
        yield problem(left, advice)
    elif usage.free < LITTLE_SPACE or share < LITTLE_SHARE:
        yield warning(left, advice)
    else:
        yield ok(left)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def home(patient: Patient) -> Iterator[Finding]:
    """Files with secrets in them are nobody else's to read."""
    loose = []
    for name in SECRETS:
        path = patient.settings.home / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            loose.append(str(path))
    if loose:
        yield problem(
            f"others may read {', '.join(loose)}", f"take their right: chmod 600 {' '.join(loose)}"
        )
    elif not os.access(_existing(patient.settings.home), os.W_OK):
        yield problem(
            f"{patient.settings.home} cannot be written",
            "run as the user who owns it, or set ATTUNE_HOME to another folder",
        )
    else:
        yield ok(f"{patient.settings.home} is ours, its secrets are nobody else's")


def clocks(patient: Patient) -> Iterator[Finding]:
    """Events are put in order by time: this machine, Postgres and Redis must agree on it."""
    found = []
    if patient.postgres is not None:
        before = time.monotonic()
        row = patient.postgres.execute("select clock_timestamp()").fetchone()
        found.append(("Postgres", row[0], time.monotonic() - before))  # type: ignore[index]
    if patient.redis is not None:
        before = time.monotonic()
        seconds, micros = patient.redis.time()  # type: ignore[misc]
        at = datetime.fromtimestamp(seconds + micros / 1e6, UTC)
        found.append(("Redis", at, time.monotonic() - before))
    for name, at, took in found:
        yield _compared(name, (patient.at - at).total_seconds(), took)


def _compared(name: str, ahead_s: float, took_s: float) -> Finding:
    off = max(0.0, abs(ahead_s) - took_s)
    if off < SKEW_S:
        return ok(f"this machine's clock agrees with {name}'s")
    how = "ahead of" if ahead_s > 0 else "behind"
    sentence = f"this machine's clock is {ago(off)} {how} {name}'s"
    advice = "let both keep time with NTP (chrony, systemd-timesyncd)"
    return problem(sentence, advice) if off >= MUCH_SKEW_S else warning(sentence, advice)


def public_url(patient: Patient) -> Iterator[Finding]:
    """Whether PUBLIC_URL leads here; platforms are told to send to it."""
    url = patient.settings.public_url
    parts = urlsplit(url)
    local = parts.hostname in LOCAL
    yield from _reached(url)
    if local:
        yield warning(
            f"PUBLIC_URL is {url}: only this machine reaches it",
            "set PUBLIC_URL to the address that platforms and browsers use (docs/how-to/https.md)",
        )
    elif parts.scheme != "https":
        yield warning(
            f"PUBLIC_URL is {url}, not https: keys travel in the clear, and Segment and Shopify "
            "deliver to https only",
            "put a proxy with TLS in front (docs/how-to/https.md)",
        )
    elif not patient.settings.trusted_proxies:
        yield warning(
            "PUBLIC_URL is https and TRUSTED_PROXIES is 0: whoever asks looks like the proxy",
            "set TRUSTED_PROXIES to the number of proxies in front",
        )


def _reached(url: str) -> Iterator[Finding]:
    try:
        answer = httpx.get(
            f"{url}/healthz", timeout=ANSWER_TIMEOUT_S, trust_env=False, follow_redirects=False
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield problem(
            f"{url}/healthz cannot be reached from here: {error}",
            "start the web role, or mend PUBLIC_URL, its DNS entry, certificate or proxy",
        )
        return
    if answer.status_code == 200 and answer.text.strip() == '{"status":"ok"}':
        yield ok(f"{url} leads to this gateway")
    else:
        yield problem(
            f"{url}/healthz answers {answer.status_code} and is no gateway of ours",
            "let the proxy pass every path on as it is, and PUBLIC_URL name its address",
        )


CHECKS = (
    Check("versions", versions),
    Check("disk", disk),
    Check("home", home),
    Check("clocks", clocks),
    Check("public url", public_url),
)
