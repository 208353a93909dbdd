"""Which captured statements speak about a table: what is replayed, and what is observed."""

from __future__ import annotations

from typing import Any

from pg_architect.core.db import Database
from pg_architect.telemetry import examination, statements

WRITES = ("insert", "update", "delete", "merge")
# Parameter sets are the unit of the measurement; 20 give a t-based interval that is close to the normal one.
SETS = 20
# An older workload says little about today's.
RECENT_DAYS = 7


def read_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """Every captured SELECT that touches the table, with typical parameter sets or why it cannot be replayed."""
    statements.take_snapshot(db)
    snapshot_id, touching = _touching(db, relation_oid, ("select",))
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
                "role_oid": one.role_oid,
                "relation_oids": ready.relation_oids,
                "reason": ready.reason,
            }
        )
    if snapshot_id is None:
        return {"statements": [], "calls_seconds": 1.0}
    seconds = db.query(
        """select extract(epoch from taken_at - coalesce(statistics_reset_at, pg_postmaster_start_time()))::float8
                    as seconds
             from architect.snapshot where snapshot_id = $1""",
        snapshot_id,
    )[0]["seconds"]
    return {"statements": replays, "calls_seconds": max(seconds, 1.0)}


def write_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """The captured statements that write to the table: query id, and what people call each."""
    if statements.latest_snapshot(db) is None:
        statements.take_snapshot(db)
    _, writers = _touching(db, relation_oid, WRITES)
    return {"relation_oid": relation_oid, "writers": [_labelled(one) for one in writers]}


def _labelled(one: statements.CapturedStatement) -> dict[str, Any]:
    return {
        "query_id": one.query_id,
        "label": f"{one.kind} of {', '.join(one.relations)} (statement {one.statement_id})",
    }


def _touching(
    db: Database, relation_oid: int, kinds: tuple[str, ...]
) -> tuple[int | None, list[statements.CapturedStatement]]:
    """The captured statements of these kinds that touch the table, from the newest snapshot that has any.

    A crash and a reset empty pg_stat_statements; the workload is still the one of the snapshots before.
    """
    newest = db.query(
        """select max(n.snapshot_id) as id
             from architect.statement_statistics as n
             join architect.snapshot as x using (snapshot_id)
             join architect.statement as s using (statement_id)
            where x.deployment_id = architect._this_deployment()
              and x.taken_at > clock_timestamp() - make_interval(days => $3::integer)
              and s.kind = any ($2) and s.relation_oids @> array[$1::oid]""",
        relation_oid,
        kinds,
        RECENT_DAYS,
    )[0]["id"]
    if newest is None:
        return None, []
    return newest, [
        one for one in statements.captured(db, newest) if relation_oid in one.relation_oids and one.kind in kinds
    ]
