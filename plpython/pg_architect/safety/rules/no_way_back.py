"""Allowed alone is what can be undone or needs no undoing. An enumerated value stays, a dropped object is gone."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    if operation.undo == "none":
        yield Reason(RULE.id, f"there is no statement that takes {operation.kind} back", {}, NEEDS_APPROVAL)


RULE = Rule(
    "no-way-back",
    "Nothing takes it back",
    NEEDS_APPROVAL,
    "whether the catalogue holds what an inverse needs",
    "Keep a dump of the schema from before.",
    check,
)
