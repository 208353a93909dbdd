"""ADD FOREIGN KEY without NOT VALID holds SHARE ROW EXCLUSIVE on both tables while every row is looked up."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"add_foreign_key"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "every row is looked up in the referenced table")


RULE = Rule(
    "foreign-key-validates",
    "A new foreign key reads all rows while writers wait",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Add the constraint not valid, then validate it: that blocks nobody.",
    check,
    (
        "squawk: constraint-missing-not-valid",
        "squawk: adding-foreign-key-constraint",
        "strong_migrations: add_foreign_key",
        "strong_migrations: add_reference",
        "atlas: PG306",
        "eugene: E1",
        "pgsafe: add-fk-without-not-valid",
        "django-pg-zero-downtime-migrations: 21 ADD FOREIGN KEY",
    ),
)
