"""SET NOT NULL holds ACCESS EXCLUSIVE while it looks for nulls, unless a validated CHECK (column IS NOT NULL)
proves that there are none (PostgreSQL 12 and later).
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"set_not_null"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the search for nulls reads the whole table")


RULE = Rule(
    "set-not-null-scans",
    "SET NOT NULL reads all rows while everybody waits",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Add a check not valid, validate it, set not null (which then reads nothing), drop the check.",
    check,
    (
        "squawk: adding-not-nullable-field",
        "strong_migrations: change_column_with_not_null",
        "strong_migrations: change_column_null_postgresql",
        "atlas: PG303",
        "atlas: PG304",
        "eugene: E2",
        "eugene: W14",
        "pgsafe: set-not-null",
        "django-pg-zero-downtime-migrations: 13 SET NOT NULL",
    ),
)
