"""The shape of a rule: each has a file of its own in ``rules``, whose docstring says how it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, REFUSE, Reason
from pg_architect.safety.operation import Operation


@dataclass(frozen=True, slots=True)
class Rule:
    """A question that is asked of every operation.

    ``level`` is the strictest that it may say, ``reads`` what it looks at, ``remedy`` what a person can do. ``peers``
    are rules of other tools that ask the same, as "tool: id".
    """

    id: str
    title: str
    level: str
    reads: str
    remedy: str
    check: Callable[[Operation, Context], Iterable[Reason]]
    peers: tuple[str, ...] = ()


def too_long(rule_id: str, operation: Operation, context: Context, what: str) -> Iterable[Reason]:
    """What follows from work that is done under a lock which blocks writers or readers.

    Refused where it takes longer than the limit and there is a safer path; a person decides where there is none. A
    note where it is short enough.
    """
    seconds, limit = context.blocked_seconds(operation), context.limit_seconds
    subject = operation.subject.display if operation.subject else "it"
    evidence = {
        "blocked_seconds": None if seconds is None else round(seconds, 3),
        "limit_seconds": limit,
        "table_bytes": operation.subject.bytes if operation.subject else None,
        "lock": operation.strongest,
    }
    if seconds == 0:
        return
    if seconds is None:
        yield Reason(rule_id, f"{what}; how long nobody knows: {subject} was never analyzed", evidence, NEEDS_APPROVAL)
    elif seconds <= limit:
        detail = f"{what}; {_about(seconds)} for {subject}, within the limit of {limit:g} s"
        yield Reason(rule_id, detail, evidence)
    elif operation.safer:
        detail = f"{what}, which blocks others for {_about(seconds)}; safer_sql does not"
        yield Reason(rule_id, detail, evidence, REFUSE)
    else:
        detail = f"{what}, which blocks others for {_about(seconds)}; the gate knows no safer path"
        yield Reason(rule_id, detail, evidence, NEEDS_APPROVAL)


def _about(seconds: float) -> str:
    if seconds < 0.01:
        return "less than 0.01 s"
    return f"about {seconds:.2g} s" if seconds < 10 else f"about {seconds:.0f} s"
