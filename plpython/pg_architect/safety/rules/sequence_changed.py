"""A restart, another increment or bound can give out numbers that are in use; identity columns refuse or take
numbers of their own. CACHE and OWNED BY change no number.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset({"set_identity", "add_identity", "drop_identity"})


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    changed = set(operation.facts.get("changes", ())) - {"cache", "owned_by"}
    if operation.kind in KINDS or (operation.kind == "alter_sequence" and changed):
        yield Reason(
            RULE.id,
            "numbers that are in use may come again, or inserts fail",
            {"changes": sorted(changed)},
            NEEDS_APPROVAL,
        )


RULE = Rule(
    "sequence-changed",
    "Numbers come otherwise from now on",
    NEEDS_APPROVAL,
    "the options that change",
    "Check that no number is given twice.",
    check,
)
