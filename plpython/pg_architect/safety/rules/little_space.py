"""A build or a rewrite needs space for the new files before the old ones go.

Compared with what is free on the disk of the data directory; a tablespace elsewhere is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

# A server that runs out of disk stops: so much of what is free may be taken without asking.
FREELY = 0.5


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it does not fit, else a person decides where it takes most of what is free."""
    needed = context.estimate(operation).build_bytes
    if not needed:
        return
    free = context.db.query("select architect._free_bytes() as bytes")[0]["bytes"]
    evidence = {"needed_bytes": needed, "free_bytes": free}
    if needed > free:
        yield Reason(RULE.id, f"it needs about {needed} bytes, and {free} are free", evidence, REFUSE)
    elif needed > FREELY * free:
        yield Reason(RULE.id, f"it takes about {needed} of {free} bytes that are free", evidence, NEEDS_APPROVAL)


RULE = Rule(
    "little-space",
    "The disk may fill up",
    REFUSE,
    "free space of the data directory; size of the table at its last ANALYZE",
    "Make space first.",
    check,
)
