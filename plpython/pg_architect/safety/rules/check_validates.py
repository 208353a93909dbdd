"""ADD CHECK without NOT VALID holds ACCESS EXCLUSIVE while every row is checked."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"add_check"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the check reads the whole table")


RULE = Rule(
    "check-validates",
    "A new check reads all rows while everybody waits",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Add the constraint not valid, then validate it: that blocks nobody.",
    check,
    (
        "squawk: constraint-missing-not-valid",
        "strong_migrations: add_check_constraint",
        "atlas: PG305",
        "eugene: E1",
        "pgsafe: add-check-without-not-valid",
        "django-pg-zero-downtime-migrations: 19 ADD CHECK",
    ),
)
