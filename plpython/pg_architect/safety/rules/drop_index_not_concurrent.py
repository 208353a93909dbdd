"""DROP INDEX without CONCURRENTLY takes ACCESS EXCLUSIVE on the table. It is brief, but it waits behind every open
transaction on the table, and everybody else waits behind it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides: the concurrent form waits without blocking anybody."""
    if operation.kind == "drop_index":
        yield Reason(RULE.id, "it waits for open transactions while everybody waits for it", {}, NEEDS_APPROVAL)


RULE = Rule(
    "drop-index-not-concurrent",
    "An index is dropped under the strongest lock",
    NEEDS_APPROVAL,
    "the lock mode",
    "Use drop index concurrently.",
    check,
    (
        "squawk: require-concurrent-index-deletion",
        "strong_migrations: remove_index",
        "atlas: PG102",
        "pgsafe: drop-index-non-concurrent",
        "django-pg-zero-downtime-migrations: 30 DROP INDEX",
    ),
)
