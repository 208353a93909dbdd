"""A build that is cut off by statement_timeout leaves an invalid index, and other work is done for nothing. The
setting is that of the session that asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

TIMEOUT = "select extract(epoch from pg_catalog.current_setting('statement_timeout')::interval)::float8 as seconds"


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides where the estimate exceeds the timeout."""
    if not operation.scans:
        return
    seconds = context.estimate(operation).seconds
    (row,) = context.db.query(TIMEOUT)
    limit = row["seconds"]
    if seconds is not None and 0 < limit < seconds:
        detail = f"it takes about {seconds:.0f} s, and statement_timeout is {limit:g} s in this session"
        yield Reason(RULE.id, detail, {"seconds": round(seconds, 1), "statement_timeout": limit}, NEEDS_APPROVAL)


RULE = Rule(
    "statement-timeout-short",
    "The session would cut it off",
    NEEDS_APPROVAL,
    "statement_timeout of the session; size of the table at its last ANALYZE",
    "Set statement_timeout to 0 for this statement.",
    check,
    ("django-pg-zero-downtime-migrations: FLEXIBLE_STATEMENT_TIMEOUT",),
)
