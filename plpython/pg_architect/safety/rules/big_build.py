"""A concurrent build or a validation of hours reads the whole table, keeps vacuum from removing rows and fails
with the session.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety import locks
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import BUILD, Operation
from pg_architect.safety.rule import Rule


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides beyond the limit, and where the duration cannot be known."""
    estimate = context.estimate(operation)
    limit = context.settings["max_build_seconds"]
    if operation.work != BUILD or locks.blocks_writes(operation.strongest):
        return
    if estimate.seconds is None:
        yield Reason(RULE.id, "the table was never analyzed: how long it takes nobody knows", {}, NEEDS_APPROVAL)
    elif estimate.seconds > limit:
        evidence = {"seconds": round(estimate.seconds), "bytes": estimate.build_bytes, "limit_seconds": limit}
        yield Reason(RULE.id, f"it takes about {estimate.seconds / 60:.0f} minutes", evidence, NEEDS_APPROVAL)


RULE = Rule(
    "big-build",
    "A long build, although it blocks nobody",
    NEEDS_APPROVAL,
    "size of the table at its last ANALYZE; settings max_build_seconds and assumed rates",
    "Run it when the load is low; watch replicas and free space.",
    check,
)
