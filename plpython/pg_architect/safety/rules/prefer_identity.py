"""Serial makes a sequence whose rights and ownership go their own ways; an identity column is the standard form of
it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it: the verdict does not depend on it."""
    for column in operation.facts.get("made", ()):
        if column.type_name in ("serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"):
            yield Reason(RULE.id, f"column {column.name}: identity is the standard form", {"column": column.name})


RULE = Rule(
    "prefer-identity",
    "A serial column",
    NOTE,
    "the column definitions",
    "Use generated always as identity.",
    check,
    (
        "squawk: prefer-identity",
        "pgsafe: prefer-identity",
    ),
)
