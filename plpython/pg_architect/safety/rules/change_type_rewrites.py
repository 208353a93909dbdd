"""ALTER COLUMN TYPE holds ACCESS EXCLUSIVE. The server keeps the table where the new type has the same bytes and
an equal or wider limit, reads it where a check names the column, and writes it anew otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"alter_column_type"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, operation.facts["because"])


RULE = Rule(
    "change-type-rewrites",
    "A column's type is changed in every row",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Add a new column, keep both up to date, fill it in batches, swap the names.",
    check,
    (
        "squawk: changing-column-type",
        "strong_migrations: change_column",
        "strong_migrations: change_column_constraint",
        "atlas: PG301",
        "eugene: E5",
        "eugene: E10",
        "pgsafe: alter-column-type",
        "django-pg-zero-downtime-migrations: 12 ALTER COLUMN TYPE",
    ),
)
