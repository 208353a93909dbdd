"""A statement that waits for a lock on one table while it holds one on another can stop both, and deadlock with
the application.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety import locks
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """Tells it."""
    strong = [name for name, lock in operation.others.items() if locks.blocks_writes(lock)]
    if operation.target is not None and locks.blocks_writes(operation.lock) and strong:
        detail = f"{operation.target.display} and {', '.join(strong)} are locked together"
        yield Reason(RULE.id, detail, dict(operation.others))


RULE = Rule(
    "several-objects-locked",
    "Several strong locks in one statement",
    NOTE,
    "the lock modes",
    "One table at a time, each in its own transaction.",
    check,
)
