"""ON DELETE CASCADE, SET NULL and SET DEFAULT change rows of this table when rows of another are deleted or changed,
also rows that are there already, and also where the constraint is not valid yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

_ACTIONS = {"c": "cascade", "n": "set null", "d": "set default"}


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    for action in operation.facts.get("actions", ()):
        if action in _ACTIONS:
            detail = f"{_ACTIONS[action]}: what happens in the referenced table changes rows here"
            yield Reason(RULE.id, detail, {"action": _ACTIONS[action]}, NEEDS_APPROVAL)


RULE = Rule(
    "foreign-key-action",
    "Deletes elsewhere change rows here",
    NEEDS_APPROVAL,
    "the actions of the foreign key",
    "Be sure that the rows should go with the referenced ones.",
    check,
)
