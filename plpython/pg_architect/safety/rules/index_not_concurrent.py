"""CREATE INDEX without CONCURRENTLY holds SHARE on the table until the index is built: every write waits.

Short builds on small tables pass; longer ones are refused, with the concurrent statement in safer_sql.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"create_index"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the build blocks writers")


RULE = Rule(
    "index-not-concurrent",
    "An index is built while writers wait",
    REFUSE,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "Use create index concurrently, outside a transaction.",
    check,
    (
        "squawk: require-concurrent-index-creation",
        "strong_migrations: add_index",
        "strong_migrations: add_reference",
        "atlas: PG101",
        "atlas: PG108",
        "eugene: E6",
        "pgsafe: add-index-non-concurrent",
        "django-pg-zero-downtime-migrations: 29 CREATE INDEX",
    ),
)
