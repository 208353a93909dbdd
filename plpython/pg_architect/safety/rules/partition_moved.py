"""Queries on the parent see the rows of a partition from ATTACH on, and no more after DETACH."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset({"attach_partition", "detach_partition"})


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind in KINDS:
        detail = f"queries see other rows: {operation.facts['partition']}"
        yield Reason(RULE.id, detail, {"partition": operation.facts["partition"]}, NEEDS_APPROVAL)
        if operation.kind == "detach_partition" and operation.facts["could_be_concurrent"]:
            yield Reason(RULE.id, "detach partition concurrently would not lock the whole table", {})


RULE = Rule(
    "partition-moved",
    "Rows enter or leave a partitioned table",
    NEEDS_APPROVAL,
    "the statement",
    "Tell who reads the partitioned table.",
    check,
    (
        "squawk: require-concurrent-partition-detach",
        "pgsafe: detach-partition-non-concurrent",
    ),
)
