"""ADD UNIQUE and ADD PRIMARY KEY hold ACCESS EXCLUSIVE while their index is built.

USING INDEX takes an index that was built concurrently; a primary key then still looks for nulls in columns that
may have them.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"add_unique", "add_primary_key"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the index of the constraint is built")


RULE = Rule(
    "unique-builds-index",
    "A unique or primary key is built while everybody waits",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Build a unique index concurrently, then add the constraint using that index.",
    check,
    (
        "squawk: adding-serial-primary-key-field",
        "squawk: disallowed-unique-constraint",
        "strong_migrations: add_unique_constraint",
        "atlas: PG104",
        "atlas: PG105",
        "atlas: PG312",
        "eugene: E7",
        "pgsafe: add-unique-constraint",
        "pgsafe: add-primary-key-without-index",
        "django-pg-zero-downtime-migrations: 10 ADD COLUMN PRIMARY KEY",
        "django-pg-zero-downtime-migrations: 11 ADD COLUMN UNIQUE",
        "django-pg-zero-downtime-migrations: 23 ADD PRIMARY KEY",
        "django-pg-zero-downtime-migrations: 25 ADD UNIQUE",
    ),
)
