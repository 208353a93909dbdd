"""A running application asks for the old name until it is deployed anew: between the two one of them fails.
Indexes and constraints are named by nobody but error messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset(
    [
        "rename_table",
        "rename_column",
        "rename_view",
        "rename_materialized_view",
        "rename_sequence",
        "rename_type",
        "rename_domain",
        "rename_schema",
        "rename_attribute",
        "rename_enum_value",
        "set_schema",
    ]
)


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind in KINDS:
        yield Reason(RULE.id, "statements that use the old name fail from now on", {}, NEEDS_APPROVAL)


RULE = Rule(
    "rename-breaks-clients",
    "A name that clients use goes away",
    NEEDS_APPROVAL,
    "the statement",
    "Keep the old name alive (a view for a table, a second column for a column), then switch the clients.",
    check,
    (
        "squawk: renaming-column",
        "squawk: renaming-table",
        "strong_migrations: rename_column",
        "strong_migrations: rename_table",
        "strong_migrations: rename_schema",
        "strong_migrations: rename_enum_value",
        "atlas: BC101",
        "atlas: BC102",
        "pgsafe: rename",
        "django-pg-zero-downtime-migrations: 5 ALTER TABLE RENAME TO",
        "django-pg-zero-downtime-migrations: 18 RENAME COLUMN",
    ),
)
