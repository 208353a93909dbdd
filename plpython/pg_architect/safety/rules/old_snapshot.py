"""A concurrent build waits for every transaction that could still see the table without the index.

CREATE INDEX, REINDEX and DETACH PARTITION CONCURRENTLY wait for transactions of this database that hold an older
snapshot, on whatever tables they work. While they wait nobody is blocked, but the build does not end.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import BUILD, Operation
from pg_architect.safety.rule import Rule

OLDEST = """
select count(*)::int as sessions, extract(epoch from max(clock_timestamp() - a.xact_start))::float8 as seconds
from pg_catalog.pg_stat_activity a
where a.datname = pg_catalog.current_database() and a.backend_xmin is not null and a.backend_type = 'client backend'
    and a.pid <> pg_catalog.pg_backend_pid() and a.xact_start is not null
"""


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides while a transaction is older than what a build waits for."""
    if not operation.own_transaction or operation.work != BUILD:
        return
    (row,) = context.db.query(OLDEST)
    limit = context.settings["build_lock_timeout"]
    if row["seconds"] is not None and row["seconds"] > limit:
        detail = f"a transaction of {row['seconds']:.0f} s holds an older snapshot: the build waits for its end"
        yield Reason(RULE.id, detail, {"sessions": row["sessions"], "limit_seconds": limit}, NEEDS_APPROVAL)


RULE = Rule(
    "old-snapshot",
    "An old transaction holds up the build",
    NEEDS_APPROVAL,
    "pg_stat_activity at this moment; setting build_lock_timeout",
    "End the old transaction, or wait for it.",
    check,
)
