"""Every delete and every change of a key in the referenced table looks for referencing rows: without an index it
reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it: the foreign key is as correct without."""
    if operation.kind == "add_foreign_key" and not operation.facts["indexed"]:
        yield Reason(RULE.id, "deletes in the referenced table will read this one: index the referencing columns", {})


RULE = Rule(
    "foreign-key-index",
    "The referencing columns have no index",
    NOTE,
    "pg_index of the referencing table",
    "Create an index on the referencing columns, concurrently.",
    check,
    (
        "eugene: E15",
        "pgsafe: fk-without-covering-index",
    ),
)
