"""Values of char(n) are padded with blanks that count in some comparisons and not in others; nothing is saved."""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it: the verdict does not depend on it."""
    for column in operation.facts.get("made", ()):
        if column.type_name == "bpchar":
            yield Reason(RULE.id, f"column {column.name}: char(n) pads with blanks", {"column": column.name})


RULE = Rule(
    "fixed-length-char",
    "A blank-padded type",
    NOTE,
    "the column definitions",
    "Use text.",
    check,
    ("squawk: ban-char-field",),
)
