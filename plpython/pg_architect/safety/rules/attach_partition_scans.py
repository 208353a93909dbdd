"""ATTACH PARTITION and CREATE TABLE PARTITION OF read a default partition, and ATTACH the new one, under ACCESS
EXCLUSIVE, unless a constraint proves the bound.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"attach_partition", "create_partition"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides where it takes longer than the limit."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "rows are checked against the bounds")


RULE = Rule(
    "attach-partition-scans",
    "Rows are checked against the bounds of a partition while it is locked",
    NEEDS_APPROVAL,
    "size of the table at its last ANALYZE; max_blocked_seconds; pg_partitioned_table.partdefid",
    "First add a validated check that says what the bound says, and its negation to the default partition.",
    check,
    ("pgsafe: attach-partition",),
)
