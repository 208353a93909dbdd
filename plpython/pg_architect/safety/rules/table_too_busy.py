"""What holds or waits for locks on the table right now.

A strong lock that cannot be had at once stops everybody who comes after it. So a person decides while a
transaction older than the limit holds a conflicting lock, while others queue for the table already, and while a
vacuum against wraparound or another build is at work, which does not give way.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety import locks
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, NOTE, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

# Modes that conflict with each mode (PostgreSQL manual, table 13.2).
_CONFLICTS = {
    mode: [
        other
        for other in locks.MODES
        if locks.strength(other) + locks.strength(mode) > locks.strength(locks.ACCESS_EXCLUSIVE)
        or (mode, other) in ((locks.SHARE_UPDATE_EXCLUSIVE, locks.SHARE_UPDATE_EXCLUSIVE),)
    ]
    for mode in locks.MODES
}

IN_THE_WAY = """
select l.granted, count(*)::int as sessions,
    extract(epoch from max(clock_timestamp() - a.xact_start))::float8 as seconds,
    bool_or(a.backend_type = 'autovacuum worker') as is_vacuum
from pg_catalog.pg_locks l
join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.relation = $1::oid and l.pid <> pg_catalog.pg_backend_pid() and (not l.granted or l.mode = any ($2::text[]))
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
group by l.granted
"""


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides while the lock cannot be had soon."""
    if operation.target is None or operation.lock is None or operation.kind in ("select", "explain"):
        return
    for row in context.db.query(IN_THE_WAY, operation.target.oid, _CONFLICTS[operation.lock]):
        seconds = row["seconds"] or 0.0
        evidence = {"sessions": row["sessions"], "oldest_transaction_seconds": round(seconds, 1)}
        name = operation.target.display
        if not row["granted"]:
            yield Reason(RULE.id, f"{row['sessions']} sessions wait for {name} already", evidence, NEEDS_APPROVAL)
        elif seconds > context.limit_seconds:
            yield Reason(
                RULE.id, f"a transaction of {seconds:.0f} s holds a lock on {name} that is in the way", evidence,
                NEEDS_APPROVAL,
            )  # fmt: skip
        else:
            yield Reason(RULE.id, f"{row['sessions']} sessions hold {name} for a moment", evidence, NOTE)


RULE = Rule(
    "table-too-busy",
    "Somebody holds the table, or waits for it",
    NEEDS_APPROVAL,
    "pg_locks and pg_stat_activity at this moment",
    "Wait until the long transaction has ended; then set lock_timeout and try.",
    check,
)
