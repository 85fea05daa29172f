"""How Postgres ran the statements of a request: every node of every plan, told by auto_explain.

Whatever sends a statement, from Python or inside a function, and whether its plan was made for it
or once for all, its plan is here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql
from psycopg.errors import Diagnostic

from schemas.database import Connection

SETTINGS = {
    "log_min_duration": "0",
    "log_level": "notice",
    "log_format": "json",
    "log_analyze": "on",
    "log_timing": "off",
    "log_nested_statements": "on",
    "log_parameter_max_length": "0",
}
PARENTS = """
select c.relname, p.relname
from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
"""


@dataclass(frozen=True)
class Node:
    """One step of a plan; `read` counts the rows that it looked at, whether they were kept or not.
    A partition, or an index of one, goes by its parent's name, and what belongs to one site's
    vectors by the name without its numbers."""

    kind: str
    table: str
    index: str
    read: int
    statement: str

    def __str__(self) -> str:
        by = f" by {self.index}" if self.index else ""
        return f"{self.kind} of {self.table}{by} read {self.read}:\n{self.statement}"


@dataclass
class Recorder:
    """Put `watch` where each new connection is prepared."""

    nodes: list[Node] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)

    def watch(self, connection: Connection) -> None:
        """Record all that this connection runs from now on."""
        self.parents = dict(connection.execute(PARENTS).fetchall())
        connection.execute("load 'auto_explain'")
        for name, value in SETTINGS.items():
            setting = sql.Identifier("auto_explain", name)
            connection.execute(sql.SQL("set {} = {}").format(setting, value))
        connection.add_notice_handler(self._told)
        self.nodes.clear()

    def _told(self, notice: Diagnostic) -> None:
        _, marker, told = (notice.message_primary or "").partition("plan:\n")
        if marker:
            plan = json.loads(told)
            self.nodes += self._nodes(plan["Plan"], plan["Query Text"])

    def _nodes(self, plan: dict[str, Any], statement: str, table: str = "") -> Iterator[Node]:
        """`table`: whose rows an index is read for that tells of none itself."""
        index = plan.get("Index Name", "")
        table = plan.get("Relation Name", table)
        if plan.get("Actual Loops") and ("Relation Name" in plan or index):
            yield Node(
                plan["Node Type"],
                _OF_A_SITE.sub(r"\1", self.parents.get(table, table)),
                _OF_A_SITE.sub(r"\1", self.parents.get(index, index)),
                _read(plan),
                statement,
            )
        for each in plan.get("Plans", ()):
            yield from self._nodes(each, statement, table)


_OF_A_SITE = re.compile(r"^(vectors|texts)(?:_\d+)+")

REMOVED = ("Rows Removed by Filter", "Rows Removed by Index Recheck")


def _read(plan: dict[str, Any]) -> int:
    """Rows of all loops; what Postgres tells of one loop is a mean."""
    each = plan.get("Actual Rows", 0) + sum(plan.get(name, 0) for name in REMOVED)
    return round(each * plan.get("Actual Loops", 0))
