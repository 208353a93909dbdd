"""These hold ACCESS EXCLUSIVE until the whole table and its indexes are written anew, and have no form that does
not.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule, too_long

KINDS = frozenset({"vacuum_full", "cluster", "set_logged", "set_unlogged"})


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides where it takes longer than the limit."""
    if operation.kind in KINDS:
        yield from too_long(RULE.id, operation, context, "the table is written anew")


RULE = Rule(
    "full-rewrite",
    "VACUUM FULL, CLUSTER and SET LOGGED rewrite a table while everybody waits",
    NEEDS_APPROVAL,
    "size of the table at its last ANALYZE; settings max_blocked_seconds and assumed rates",
    "For bloat: plain VACUUM, or pg_repack; else in a maintenance window.",
    check,
    (
        "squawk: prefer-repack",
        "atlas: PG307",
        "atlas: PG311",
        "eugene: E10",
        "pgsafe: vacuum-full-cluster",
        "pgsafe: set-logged-unlogged",
        "pgsafe: set-access-method",
        "django-pg-zero-downtime-migrations: 6 ALTER TABLE SET TABLESPACE",
    ),
)
