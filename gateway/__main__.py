"""`python -m gateway COMMAND`: finds each command's module only when it is called for."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from gateway.commands.groups import Group
from schemas.errors import AttuneError

COMMANDS = {
    "run": "gateway.commands.run",
    "reload": "gateway.commands.reload",
    "settings": "gateway.commands.run",
    "web": "gateway.commands.roles",
    "worker": "gateway.commands.roles",
    "encoder": "gateway.commands.roles",
    "trainer": "gateway.commands.roles",
    "clock": "gateway.commands.roles",
    "migrate": "gateway.commands.database",
    "units": "gateway.commands.units",
    "alive": "gateway.commands.alive",
    "retention": "gateway.commands.retention",
    "backup": "gateway.commands.backup",
    "restore": "gateway.commands.backup",
    "demo": "gateway.commands.demo",
    "sites": "gateway.commands.access",
    "sources": "gateway.commands.access",
    "feeds": "gateway.commands.feeds",
    "pull": "gateway.commands.feeds",
    "mappings": "gateway.commands.mappings",
    "keys": "gateway.commands.access",
    "deliveries": "gateway.commands.inspect",
    "replay": "gateway.commands.inspect",
    "events": "gateway.commands.inspect",
    "visitors": "gateway.commands.inspect",
    "ledger": "gateway.commands.inspect",
    "clusters": "gateway.commands.affinities",
    "queries": "gateway.commands.queries",
    "impressions": "gateway.commands.impressions",
    "orders": "gateway.commands.people",
    "merge": "gateway.commands.people",
    "unmerge": "gateway.commands.people",
    "export": "gateway.commands.people",
    "erase": "gateway.commands.people",
    "requests": "gateway.commands.people",
    "attributes": "gateway.commands.attributes",
    "import": "gateway.commands.imports",
    "encode": "gateway.commands.encode",
    "train": "gateway.commands.learning",
    "models": "gateway.commands.learning",
    "doctor": "gateway.commands.doctor",
    "verify": "gateway.commands.verify",
    "backtest": "gateway.commands.backtest",
}


class LazyGroup(Group):
    """A group whose commands are the `COMMANDS` lists of the modules named in a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: list[click.Command] = import_module(COMMANDS[cmd_name]).COMMANDS
        return next(command for command in found if command.name == cmd_name)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Attune: receives what visitors do, answers what they may want next."""


def main() -> None:
    """Run one command; an error of ours is a sentence on stderr and exit status 2."""
    try:
        cli(prog_name="python -m gateway")
    except AttuneError as error:
        _tell(str(error))
        sys.exit(2)


def _tell(sentence: str) -> None:
    """To a person, or as a line of a role's log."""
    from gateway.telemetry import logs

    if logs.is_role():
        logs.log.error("ended", error=sentence)
    else:
        click.echo(f"attune: {sentence}", err=True)


if __name__ == "__main__":
    main()
