"""A rewrite needs the space of the table and its indexes once more, and writes all of it to the WAL, which
replicas have to follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset({"refresh_materialized_view"})


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides, unless there is nothing to rewrite."""
    subject = operation.subject
    if operation.rewrites and subject is not None and not subject.is_empty and operation.kind not in KINDS:
        size = subject.bytes + int(subject.row["index_bytes"])
        yield Reason(RULE.id, f"{subject.display} is written anew: {size} bytes", {"bytes": size}, NEEDS_APPROVAL)


RULE = Rule(
    "table-rewritten",
    "The whole table is written anew",
    NEEDS_APPROVAL,
    "size of the table and its indexes",
    "Check the free space and the lag of replicas first.",
    check,
)
