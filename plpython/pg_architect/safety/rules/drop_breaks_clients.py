"""The server knows what depends on an object inside the database and refuses to drop that; it does not know the
applications.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset(
    [
        "drop_column",
        "drop_attribute",
        "add_attribute",
        "drop_view",
        "drop_materialized_view",
        "drop_sequence",
        "drop_type",
        "drop_domain",
        "drop_schema",
        "drop_statistics",
        "replace_view",
        "set_view_options",
    ]
)


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind in KINDS and operation.undo != "not_needed":
        yield Reason(RULE.id, "statements that use it fail or answer otherwise from now on", {}, NEEDS_APPROVAL)


RULE = Rule(
    "drop-breaks-clients",
    "Something that clients may use goes away or changes",
    NEEDS_APPROVAL,
    "the statement",
    "Look in pg_stat_statements who still uses it.",
    check,
    (
        "squawk: ban-drop-database",
        "squawk: ban-drop-column",
        "squawk: ban-drop-table",
        "strong_migrations: remove_column",
        "atlas: DS101",
        "atlas: BC103",
        "atlas: BC104",
        "pgsafe: drop-table",
        "pgsafe: drop-database",
        "pgsafe: drop-column",
        "django-pg-zero-downtime-migrations: 2 DROP SEQUENCE",
        "django-pg-zero-downtime-migrations: 4 DROP TABLE",
        "django-pg-zero-downtime-migrations: 17 DROP COLUMN",
    ),
)
