"""DROP TABLE of a table that holds anything is refused: rename it first. What is empty may go, and a column, with
a person's word; neither can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Refused for a table that is not empty; else a person decides."""
    if operation.kind == "drop_table" and not operation.facts.get("empty") and operation.target is not None:
        rows = operation.target.rows
        yield Reason(RULE.id, f"{operation.target.display} holds about {rows:.0f} rows", {"rows": rows}, REFUSE)
    elif operation.kind == "drop_table":
        yield Reason(RULE.id, "the table is empty; its definition is lost", {}, NEEDS_APPROVAL)
    elif operation.kind == "drop_column" and operation.facts.get("column"):
        too = operation.facts.get("goes_too", ())
        more = f", and with it {', '.join(too)}" if too else ""
        yield Reason(RULE.id, f"the values of column {operation.facts['column']} are lost{more}", {}, NEEDS_APPROVAL)
    elif operation.kind == "set_unlogged":
        yield Reason(RULE.id, "a crash empties the table, and replicas do not have it", {}, NEEDS_APPROVAL)


RULE = Rule(
    "data-loss",
    "Data is lost",
    REFUSE,
    "whether the table has a file of any length",
    "Rename what nobody should use, wait until nobody misses it, keep a dump, then drop it.",
    check,
    (
        "squawk: ban-drop-database",
        "squawk: ban-drop-column",
        "squawk: ban-drop-table",
        "squawk: ban-truncate-cascade",
        "strong_migrations: remove_column",
        "strong_migrations: create_table",
        "atlas: DS101",
        "atlas: DS102",
        "atlas: DS103",
        "pgsafe: drop-table",
        "pgsafe: drop-database",
        "pgsafe: drop-column",
        "pgsafe: truncate",
        "django-pg-zero-downtime-migrations: 4 DROP TABLE",
        "django-pg-zero-downtime-migrations: 17 DROP COLUMN",
    ),
)
