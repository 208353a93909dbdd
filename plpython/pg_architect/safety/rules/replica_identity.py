"""NOTHING makes updates and deletes of a published table fail, FULL makes their WAL grow, an index must stay."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind == "set_replica_identity":
        yield Reason(RULE.id, "subscribers see changes of this table otherwise", {}, NEEDS_APPROVAL)


RULE = Rule(
    "replica-identity",
    "Logical replication tells of old rows otherwise",
    NEEDS_APPROVAL,
    "the statement",
    "Check publications and subscribers; FULL writes the whole old row to the WAL.",
    check,
    (
        "atlas: PG314",
        "pgsafe: drop-constraint",
    ),
)
