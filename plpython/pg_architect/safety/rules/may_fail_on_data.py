"""The statement fails, and nothing changes, if a row does not fit. Concurrent builds of unique indexes leave an
invalid index behind then.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def _may_fail(operation: Operation) -> bool:
    facts = operation.facts
    if operation.kind in ("add_check", "add_foreign_key", "domain_add_constraint"):
        return not facts.get("not_valid")
    if operation.kind in ("add_unique", "add_primary_key"):
        return not facts["using_index"] or bool(facts["nullable"])
    if operation.kind in ("create_index", "create_index_concurrently"):
        return bool(facts.get("unique"))
    if operation.kind == "set_not_null":
        return not facts["proved"]
    if operation.kind == "alter_column_type":
        return not facts["fits"] or facts["narrower"]
    if operation.kind == "create_partition":
        return bool(facts.get("may_fail"))
    return operation.kind in ("add_exclusion", "attach_partition", "domain_set_not_null")


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides, unless there are no rows."""
    subject = operation.subject
    if subject is None or subject.is_empty or not _may_fail(operation):
        return
    yield Reason(RULE.id, f"a row of {subject.display} that does not fit makes it fail", {}, NEEDS_APPROVAL)


RULE = Rule(
    "may-fail-on-data",
    "Rows that are there may break the new rule",
    NEEDS_APPROVAL,
    "whether the table is empty; validated constraints",
    "Look for rows that break it first; clean them; or add it not valid and validate it later.",
    check,
    (
        "squawk: adding-not-nullable-field",
        "squawk: adding-required-field",
        "atlas: MF101",
        "atlas: MF102",
        "atlas: MF103",
        "atlas: MF104",
        "pgsafe: add-column-not-null-no-default",
        "django-pg-zero-downtime-migrations: 9 ADD COLUMN NOT NULL",
    ),
)
