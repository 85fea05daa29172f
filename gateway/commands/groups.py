"""How the commands of a group are listed."""

from __future__ import annotations

import click

LONGEST = 1000  # of a sentence; click's own limit is one line


class Group(click.Group):
    """Its help shows the whole first sentence of each command, in as many lines as it takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(LONGEST)) for name, one in found if one]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
