"""A longer limit later is free, a shorter one is not, and neither is any faster than text; a check can be changed
without the table.
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
        if column.type_name == "varchar" and column.limited:
            yield Reason(
                RULE.id,
                f"column {column.name}: a check constraint is easier to change than the limit",
                {"column": column.name},
            )


RULE = Rule(
    "prefer-text",
    "A limit in the type",
    NOTE,
    "the column definitions",
    "Use text with a check constraint.",
    check,
    ("squawk: prefer-text-field",),
)
