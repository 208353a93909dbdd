"""REINDEX without CONCURRENTLY holds SHARE on the table and ACCESS EXCLUSIVE on the index: writes wait, and so
does every read that the planner would answer by that index, because it locks all indexes of a table.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it takes longer than the limit, else a person decides."""
    if operation.kind == "reindex":
        yield from too_long(RULE.id, operation, context, "the index is built while reads and writes wait")
        if (context.blocked_seconds(operation) or 0) <= context.limit_seconds:
            yield Reason(RULE.id, "the concurrent form blocks nobody", {}, NEEDS_APPROVAL)


RULE = Rule(
    "reindex-not-concurrent",
    "An index is built again while others wait",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Use reindex ... concurrently.",
    check,
    (
        "squawk: require-concurrent-reindex",
        "pgsafe: reindex-non-concurrent",
    ),
)
