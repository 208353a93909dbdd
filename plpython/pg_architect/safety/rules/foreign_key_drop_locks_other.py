"""Dropping a foreign key takes ACCESS EXCLUSIVE on both tables, because triggers on both go away."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it."""
    if operation.kind == "drop_constraint" and operation.others:
        yield Reason(RULE.id, f"it also locks {', '.join(operation.others)}", dict(operation.others))


RULE = Rule(
    "foreign-key-drop-locks-other",
    "The referenced table is locked, too",
    NOTE,
    "pg_constraint",
    "Set lock_timeout; expect the lock on both tables.",
    check,
    (
        "django-pg-zero-downtime-migrations: 4 DROP TABLE",
        "django-pg-zero-downtime-migrations: 22 DROP CONSTRAINT (FOREIGN KEY)",
        "django-pg-zero-downtime-migrations: EXPLICIT_CONSTRAINTS_DROP",
    ),
)
