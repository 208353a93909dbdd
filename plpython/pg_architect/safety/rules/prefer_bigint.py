"""An integer key ends at 2,147,483,647; changing its type later writes the whole table anew and all that refer to
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
        if column.primary and column.type_name in ("int4", "int2", "serial", "serial4", "serial2", "smallserial"):
            yield Reason(RULE.id, f"column {column.name}: an integer key runs out of numbers", {"column": column.name})


RULE = Rule(
    "prefer-bigint",
    "A key that runs out",
    NOTE,
    "the column definitions",
    "Use bigint: it takes no more space in most rows because of alignment.",
    check,
    (
        "squawk: prefer-bigint-over-int",
        "squawk: prefer-bigint-over-smallint",
        "pgsafe: prefer-bigint-primary-key",
    ),
)
