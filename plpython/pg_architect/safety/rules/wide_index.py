"""Each further key column makes every entry and every page longer, and helps only queries that fix all columns
before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

# Beyond three keys more than half of a common index page is keys that few queries compare.
MOST_KEYS = 3


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it."""
    if operation.kind in ("create_index", "create_index_concurrently") and operation.facts.get("keys", 0) > MOST_KEYS:
        detail = f"{operation.facts['keys']} columns: the last ones help only where all before them are fixed"
        yield Reason(RULE.id, detail, {"columns": operation.facts["keys"]})


RULE = Rule(
    "wide-index",
    "An index of many columns",
    NOTE,
    "the statement",
    "Put the columns that are compared by equality first, and leave out what is not needed.",
    check,
    ("strong_migrations: add_index_columns",),
)
