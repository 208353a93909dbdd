"""A timestamp without time zone is no point in time: what it means depends on who reads it."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it: the verdict does not depend on it."""
    for column in operation.facts.get("made", ()):
        if column.type_name == "timestamp":
            yield Reason(RULE.id, f"column {column.name}: timestamptz is a point in time", {"column": column.name})


RULE = Rule(
    "prefer-timestamptz",
    "A time without its zone",
    NOTE,
    "the column definitions",
    "Use timestamptz.",
    check,
    ("squawk: prefer-timestamp-tz",),
)
