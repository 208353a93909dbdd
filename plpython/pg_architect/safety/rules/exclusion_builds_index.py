"""ADD EXCLUDE holds ACCESS EXCLUSIVE while its index is built, and no index built before can be used."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"add_exclusion"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the index of the constraint is built")


RULE = Rule(
    "exclusion-builds-index",
    "An exclusion constraint is built while everybody waits",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "There is no concurrent way: add it to a new table and move the rows, or in a maintenance window.",
    check,
    (
        "strong_migrations: add_exclusion_constraint",
        "atlas: PG109",
        "eugene: E8",
        "pgsafe: add-exclusion-constraint",
        "django-pg-zero-downtime-migrations: 27 ADD EXCLUDE",
    ),
)
