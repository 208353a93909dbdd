"""The type json keeps the text and has no equality, so DISTINCT and GROUP BY fail, and it is parsed at every
access.
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
        if column.type_name == "json":
            yield Reason(RULE.id, f"column {column.name}: jsonb can be compared and indexed", {"column": column.name})


RULE = Rule(
    "prefer-jsonb",
    "json instead of jsonb",
    NOTE,
    "the column definitions",
    "Use jsonb.",
    check,
    (
        "strong_migrations: add_column_json",
        "eugene: E3",
        "pgsafe: prefer-jsonb",
    ),
)
