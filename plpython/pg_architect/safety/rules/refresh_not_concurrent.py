"""REFRESH without CONCURRENTLY holds ACCESS EXCLUSIVE for as long as its query takes, which nobody knows before."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.kind == "refresh_materialized_view" and not operation.facts.get("concurrent"):
        yield Reason(RULE.id, "readers wait for as long as the query takes", {}, NEEDS_APPROVAL)


RULE = Rule(
    "refresh-not-concurrent",
    "Readers of a materialized view wait while it is computed",
    NEEDS_APPROVAL,
    "indexes of the view",
    "Give the view a unique index and refresh it concurrently.",
    check,
    ("pgsafe: refresh-matview-non-concurrent",),
)
