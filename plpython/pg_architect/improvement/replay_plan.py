"""Which captured statements speak about a table: what is replayed, and what is observed."""

from __future__ import annotations

from typing import Any

from pg_architect.core.db import Database
from pg_architect.telemetry import examination, statements

WRITES = ("insert", "update", "delete", "merge")
# Parameter sets are the unit of the measurement; 20 give a t-based interval that is close to the normal one.
SETS = 20


def read_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """Every captured SELECT that touches the table, with typical parameter sets or why it cannot be replayed."""
    snapshot_id = statements.take_snapshot(db)
    touching = [
        one
        for one in statements.captured(db, snapshot_id)
        if relation_oid in one.relation_oids and one.kind == "select"
    ]
    replays = []
    for one in touching:
        ready = examination.parameter_sets(db, one, SETS)
        replays.append(
            {
                "statement_id": one.statement_id,
                "text": ready.text or "",
                "parameter_types": ready.types,
                "parameter_sets": ready.sets,
                "calls": one.calls,
                "mean_ms": one.mean_ms,
                "reason": ready.reason,
            }
        )
    seconds = db.query(
        """select extract(epoch from taken_at - coalesce(statistics_reset_at, pg_postmaster_start_time()))::float8
                    as seconds
             from architect.snapshot where snapshot_id = $1""",
        snapshot_id,
    )[0]["seconds"]
    return {"statements": replays, "calls_seconds": max(seconds, 1.0)}


def write_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """Query ids of the captured statements that write to the table."""
    snapshot_id = statements.latest_snapshot(db)
    if snapshot_id is None:
        snapshot_id = statements.take_snapshot(db)
    writers = [
        one.query_id
        for one in statements.captured(db, snapshot_id)
        if relation_oid in one.relation_oids and one.kind in WRITES
    ]
    return {"relation_oid": relation_oid, "writers": writers}
