"""Rows of a table without a primary key cannot be told apart, and logical replication refuses their updates."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it: the verdict does not depend on it."""
    if operation.kind == "create_table" and operation.facts.get("lacks_key"):
        yield Reason(RULE.id, "the new table has no primary key", {})


RULE = Rule(
    "missing-primary-key",
    "A table without a primary key",
    NOTE,
    "the column definitions",
    "Give it one, an identity column where nothing else is unique.",
    check,
    (
        "atlas: CD103",
        "pgsafe: require-primary-key",
        "django-pg-zero-downtime-migrations: 24 DROP CONSTRAINT (PRIMARY KEY)",
    ),
)
