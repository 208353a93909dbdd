"""ALTER DOMAIN that adds a check, sets not null or validates holds SHARE on every table with a column of the
domain while it reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import REFUSE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"domain_add_constraint", "domain_validate", "domain_set_not_null"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """Refused where it blocks for longer than the limit and there is another way."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "every table with a column of the domain is read")


RULE = Rule(
    "domain-constraint-scans",
    "Tables that use a domain are read while writers wait",
    REFUSE,
    "size of the table at its last ANALYZE; max_blocked_seconds; columns of the domain",
    "Add the constraint not valid, then validate it.",
    check,
    (
        "squawk: ban-alter-domain-with-add-constraint",
        "pgsafe: add-domain-constraint-without-not-valid",
        "pgsafe: add-domain-not-null",
    ),
)
