"""Everything that is written anew goes through the WAL, which replicas and slots have to take.

A slot that lags or is not in use keeps the WAL on this server until its disk is full, or until the slot is lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

# Less than that is within what a checkpoint writes (max_wal_size is 1 GB by default).
MUCH = 1 << 30

SLOTS = """
select s.slot_name::text as name, s.active,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint as behind
from pg_catalog.pg_replication_slots s
where not pg_catalog.pg_is_in_recovery() and s.restart_lsn is not null
order by behind desc
limit 1
"""


def check(operation: Operation, context: Context) -> Iterable[Reason]:
    """A person decides where much is written while a slot is behind or not in use."""
    written = context.estimate(operation).build_bytes or 0
    if written < MUCH:
        return
    for row in context.db.query(SLOTS):
        if not row["active"] or row["behind"] > MUCH:
            state = f"{row['behind']} bytes behind" if row["active"] else "not in use"
            detail = f"about {written} bytes of WAL, and replication slot {row['name']} is {state}"
            yield Reason(RULE.id, detail, {"written_bytes": written, "behind_bytes": row["behind"]}, NEEDS_APPROVAL)


RULE = Rule(
    "replication-lag",
    "A replication slot keeps the WAL",
    NEEDS_APPROVAL,
    "pg_replication_slots at this moment; size of the table at its last ANALYZE",
    "Let the replicas catch up, or drop a slot that nobody uses.",
    check,
)
