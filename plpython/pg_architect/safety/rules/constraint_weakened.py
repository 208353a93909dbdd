"""Rows that the constraint would have refused can come in from now on, and keep it from coming back."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset({"drop_constraint", "drop_not_null", "domain_drop_constraint", "domain_drop_not_null"})


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind == "drop_not_null" and not operation.facts["weakens"]:
        return
    if operation.kind in KINDS and operation.undo != "not_needed":
        yield Reason(RULE.id, "rows that were refused can come in from now on", {}, NEEDS_APPROVAL)


RULE = Rule(
    "constraint-weakened",
    "The database guards its data less than before",
    NEEDS_APPROVAL,
    "pg_constraint",
    "Be sure that something else guards it; the way back checks all rows again.",
    check,
    (
        "squawk: ban-drop-not-null",
        "atlas: CD101",
        "atlas: CD102",
        "atlas: CD103",
        "pgsafe: drop-not-null",
        "pgsafe: drop-constraint",
        "django-pg-zero-downtime-migrations: 14 DROP NOT NULL",
        "django-pg-zero-downtime-migrations: 20 DROP CONSTRAINT (CHECK)",
        "django-pg-zero-downtime-migrations: 22 DROP CONSTRAINT (FOREIGN KEY)",
        "django-pg-zero-downtime-migrations: 24 DROP CONSTRAINT (PRIMARY KEY)",
        "django-pg-zero-downtime-migrations: 26 DROP CONSTRAINT (UNIQUE)",
        "django-pg-zero-downtime-migrations: 28 DROP CONSTRAINT (EXCLUDE)",
    ),
)
