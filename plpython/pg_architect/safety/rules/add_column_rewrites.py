"""ADD COLUMN is free for a constant or stable default. A volatile default, serial, identity, a stored generated
column or a domain with a constraint writes the table anew under ACCESS EXCLUSIVE; an inline CHECK, UNIQUE or
REFERENCES reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"add_column"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, operation.facts["because"] or "the column is added")


RULE = Rule(
    "add-column-rewrites",
    "A new column is computed for every row",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Add the column without the default, set the default, fill the old rows in batches.",
    check,
    (
        "squawk: adding-field-with-default",
        "strong_migrations: add_column_auto_incrementing",
        "strong_migrations: add_column_generated_stored",
        "strong_migrations: add_column_default",
        "strong_migrations: add_column_default_callable",
        "atlas: PG302",
        "atlas: PG309",
        "atlas: PG310",
        "eugene: E10",
        "eugene: E11",
        "pgsafe: add-column-volatile-default",
        "pgsafe: add-column-serial",
        "pgsafe: add-column-identity",
        "pgsafe: add-column-generated-stored",
        "django-pg-zero-downtime-migrations: 7 ADD COLUMN",
        "django-pg-zero-downtime-migrations: 8 ADD COLUMN DEFAULT",
    ),
)
