"""ACCESS EXCLUSIVE is granted when the last open transaction on the table ends; meanwhile every new statement on
it waits. A lock_timeout with retries bounds that.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety import locks
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it; whether somebody is in the way now is asked by table-too-busy."""
    if operation.target is not None and locks.blocks_writes(operation.strongest) and operation.kind != "create_index":
        detail = f"set lock_timeout = '2s' first: {operation.strongest} waits for open transactions on the table"
        yield Reason(RULE.id, detail, {"lock": operation.strongest})


RULE = Rule(
    "lock-queue",
    "A strong lock queues behind open transactions, and everybody behind it",
    NOTE,
    "the lock mode",
    "set lock_timeout before it (2 s, say), and try again.",
    check,
    (
        "squawk: require-timeout-settings",
        "squawk: require-lock-timeout",
        "strong_migrations: lock_timeout / lock_timeout_limit",
        "eugene: E9",
        "pgsafe: require-timeout",
        "django-pg-zero-downtime-migrations: LOCK_TIMEOUT",
    ),
)
