"""A column that may not be null and has no default has to be named by every INSERT."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    facts = operation.facts
    dropped = operation.kind == "drop_default" and facts["not_null"] and facts["had_default"]
    added = operation.kind == "add_column" and facts["not_null"] and not facts["has_value"]
    if dropped or added:
        yield Reason(RULE.id, f"inserts that do not name {facts['column']} fail from now on", {}, NEEDS_APPROVAL)


RULE = Rule(
    "required-column",
    "Inserts that leave a column out fail",
    NEEDS_APPROVAL,
    "pg_attribute.attnotnull and the default",
    "Keep the default until no client relies on it.",
    check,
    (
        "squawk: adding-required-field",
        "atlas: MF103",
        "pgsafe: add-column-not-null-no-default",
        "django-pg-zero-downtime-migrations: 8 ADD COLUMN DEFAULT",
        "django-pg-zero-downtime-migrations: 9 ADD COLUMN NOT NULL",
        "django-pg-zero-downtime-migrations: 16 DROP DEFAULT",
        "django-pg-zero-downtime-migrations: KEEP_DEFAULT",
    ),
)
