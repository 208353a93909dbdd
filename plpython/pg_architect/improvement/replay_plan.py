"""Which captured statements speak about a table: what is replayed, and what is observed."""

from __future__ import annotations

import contextlib
from typing import Any

from pg_architect.core.db import Database
from pg_architect.core.errors import ArchitectError
from pg_architect.telemetry import examination, parameters, statements
from pg_architect.telemetry.tables import load_tables

WRITES = ("insert", "update", "delete", "merge")
# Parameter sets are the unit of the measurement; 20 give a t-based interval that is close to the normal one.
SETS = 20
# An older workload says little about today's; of one whose statistics are reset all the time, so many periods do.
RECENT_DAYS = 7
PERIODS = 10


def read_side(db: Database, relation_oid: int) -> list[dict[str, Any]]:
    """Every captured SELECT that touches the table, with typical parameter sets or why it cannot be replayed."""
    statements.take_snapshot(db)
    asked = _asked(db, relation_oid)
    replays = []
    for one, seconds in _touching(db, relation_oid, ("select",)):
        ready = examination.parameter_sets(db, one, SETS, asked)
        replays.append(
            {
                "statement_id": one.statement_id,
                "text": ready.text or "",
                "parameter_types": ready.types,
                "parameter_sets": ready.sets,
                "calls": one.calls,
                "calls_seconds": seconds,
                "mean_ms": one.mean_ms,
                "role_oid": one.role_oid,
                "relation_oids": ready.relation_oids,
                "reason": ready.reason,
            }
        )
    return replays


def _asked(db: Database, relation_oid: int) -> parameters.Asked:
    """The values in the predicates of the table's partial indexes, the judged one among them: they are asked for."""
    table = load_tables(db, [relation_oid])[relation_oid]
    asked: dict[tuple[int, str], tuple[str, ...]] = {}
    for row in db.query(
        """select pg_catalog.pg_get_expr(indpred, indrelid) as predicate from pg_catalog.pg_index
            where indrelid = $1 and indpred is not null order by indexrelid desc""",
        relation_oid,
    ):
        with contextlib.suppress(ArchitectError):  # somebody's predicate may be longer than what is parsed
            for column, values in parameters.asked_in(row["predicate"], table).items():
                asked[column] = (*asked.get(column, ()), *values)
    return asked


def write_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """The captured statements that write to the table: query id, and what people call each."""
    if statements.latest_snapshot(db) is None:
        statements.take_snapshot(db)
    writers = [_labelled(one) for one, _ in _touching(db, relation_oid, WRITES)]
    return {"relation_oid": relation_oid, "writers": writers}


def _labelled(one: statements.CapturedStatement) -> dict[str, Any]:
    return {
        "query_id": one.query_id,
        "label": f"{one.kind} of {', '.join(one.relations)} (statement {one.statement_id})",
    }


def _touching(
    db: Database, relation_oid: int, kinds: tuple[str, ...]
) -> list[tuple[statements.CapturedStatement, float]]:
    """The captured statements of these kinds that touch the table, each with the seconds that its calls took to add up.

    A crash or a reset empties pg_stat_statements, but the workload is still the one from before: each statement counts
    as it stood in the last snapshot before the newest reset that it has been seen since.
    """
    periods = db.query(
        """select distinct on (began) snapshot_id,
                  greatest(extract(epoch from taken_at - began)::float8, 1) as seconds
             from architect.snapshot as s
            cross join lateral (select coalesce(s.statistics_reset_at, pg_postmaster_start_time()) as began) as p
            where deployment_id = architect._this_deployment()
              and taken_at > clock_timestamp() - make_interval(days => $1::integer)
            order by began desc, snapshot_id desc
            limit $2::integer""",
        RECENT_DAYS,
        PERIODS,
    )
    found: dict[int, tuple[statements.CapturedStatement, float]] = {}
    for period in periods:
        for one in statements.captured(db, period["snapshot_id"]):
            if relation_oid in one.relation_oids and one.kind in kinds:
                found.setdefault(one.statement_id, (one, period["seconds"]))
    return list(found.values())
