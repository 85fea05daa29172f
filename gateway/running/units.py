"""systemd units of an installation, from the Procfile: a target, a migration, a service each role.

`python -m gateway units` writes them. With `embedded` it is one service that runs `run`, as
`make run` does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.running.supervision import ROLE_STOP_WAIT_S, ROOT, STOP_WAIT_S, procfile

MADE = "# Made by `python -m gateway units`.\n"
TARGET = "attune.target"
MIGRATE = "attune-migrate.service"
# What works in the background leaves the processor to what answers visitors.
CPU_WEIGHT = {"encoder": 20, "trainer": 20, "worker": 50}
RELOADED = ("web",)  # takes SIGHUP for "from the code installed now, refusing nobody"
# `run` stops its roles first, then Redis, then Postgres.
RUN_STOP_WAIT_S = ROLE_STOP_WAIT_S + sum(STOP_WAIT_S.values())
RUN_START_WAIT_S = 600

HARDENING = (
    "UMask=0077",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=no",  # it would take the shared memory of a Postgres of the same user
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
)


@dataclass(frozen=True)
class Place:
    """Who runs what from where."""

    user: str
    home: Path
    env_file: Path
    python: Path = Path(sys.executable)
    root: Path = ROOT


def written_before(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Units of ours that are no part of these files: of the other layout, or of former roles."""
    others = [path for path in sorted(folder.glob("attune*")) if path.name not in files]
    return [
        path
        for path in others
        if path.is_file() and path.read_text(errors="replace").startswith(MADE)
    ]


def of_roles(place: Place) -> dict[str, str]:
    """By file name: the units for a Postgres and Redis of one's own."""
    roles = dict(procfile(place.root / "Procfile"))
    files = {f"attune-{role}.service": _role(place, role, roles[role]) for role in roles}
    return {TARGET: _target(files), MIGRATE: _migrate(place)} | files


def embedded(place: Place) -> dict[str, str]:
    """By file name: one service for everything, with the Postgres and Redis that `run` brings."""
    sections = {
        "Unit": _unit("everything"),
        "Service": [
            *_service(place, ["python", "-m", "gateway", "run"]),
            *_restarting(RUN_STOP_WAIT_S),
            f"TimeoutStartSec={RUN_START_WAIT_S}",
        ],
        "Install": ["WantedBy=multi-user.target"],
    }
    return {"attune.service": _written(sections)}


def _target(services: Mapping[str, str]) -> str:
    wants = f"Wants={' '.join(services)}"
    unit = ["Description=Attune, every role", "After=network-online.target", wants]
    return _written({"Unit": unit, "Install": ["WantedBy=multi-user.target"]})


def _migrate(place: Place) -> str:
    """Before the roles of this machine; on several at once they wait for each other."""
    command = ["python", "-m", "gateway", "migrate"]
    service = ["Type=oneshot", *_service(place, command), "TimeoutStartSec=infinity"]
    return _written({"Unit": _unit("migrations"), "Service": service})


def _role(place: Place, role: str, command: Sequence[str]) -> str:
    unit = [*_unit(role), f"Wants={MIGRATE}", f"After={MIGRATE}", f"PartOf={TARGET}"]
    service = [*_service(place, command), *_restarting(ROLE_STOP_WAIT_S), "PrivateTmp=yes"]
    if role in RELOADED:
        service.append("ExecReload=/bin/kill -HUP $MAINPID")
    if role in CPU_WEIGHT:
        service.append(f"CPUWeight={CPU_WEIGHT[role]}")
    sections = {"Unit": unit, "Service": service, "Install": [f"WantedBy={TARGET}"]}
    return _written(sections)


def _unit(what: str) -> list[str]:
    return [
        f"Description=Attune: {what}",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
    ]


def _service(place: Place, command: Sequence[str]) -> list[str]:
    executed = [str(place.python) if part == "python" else part for part in command]
    return [
        f"User={place.user}",
        f"WorkingDirectory={_percents(str(place.root))}",
        f"EnvironmentFile=-{_percents(str(place.env_file))}",
        f"Environment={_quoted(f'ATTUNE_HOME={place.home}')} PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2",
        f"ExecStart={' '.join(_quoted(part, dollars=True) for part in executed)}",
        f"ReadWritePaths={_quoted(str(place.home))}",
        *HARDENING,
    ]


def _restarting(stop_wait_s: int) -> list[str]:
    """SIGTERM to the role alone, which ends its own children; what is left is killed."""
    return [
        "Restart=always",
        "RestartSec=2",
        "KillSignal=SIGTERM",
        "KillMode=mixed",
        f"TimeoutStopSec={stop_wait_s}",
        "LimitNOFILE=65536",
    ]


def _written(sections: Mapping[str, Sequence[str]]) -> str:
    parts = ["\n".join([f"[{name}]", *lines]) for name, lines in sections.items()]
    return MADE + "\n\n".join(parts) + "\n"


def _percents(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str, *, dollars: bool = False) -> str:
    """As systemd reads a word: specifiers doubled, in quotes where it needs them."""
    word = _percents(text).replace("\\", "\\\\").replace('"', '\\"')
    word = word.replace("$", "$$") if dollars else word
    return f'"{word}"' if any(mark in word for mark in " \t'\"\\;") else word
