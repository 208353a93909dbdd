"""Which captured statements speak about a table: what is replayed, and what is observed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from pg_architect.core.db import Database
from pg_architect.core.errors import ArchitectError
from pg_architect.telemetry import examination, parameters, statements
from pg_architect.telemetry.tables import load_tables


class Touching(NamedTuple):
    """A captured statement, and the ``seconds`` that its calls took to add up."""

    statement: statements.CapturedStatement
    seconds: float


# Parameter sets are the unit of the measurement; 20 give a t-based interval that is close to the normal one.
SETS = 20
# An older workload says little about today's; of one whose statistics are reset all the time, so many periods do.
RECENT_DAYS = 7
PERIODS = 10
# For proving the statements and drawing their parameters, those with the most load first.
LOOKING_SECONDS = 10.0


def both_sides(db: Database, proposal_id: int, relation_oid: int) -> dict[str, Any]:
    """What a measurement needs of the captured statements that touch the table: those to replay, those to observe.

    Nothing is replayed but what is noted here.
    """
    statements.take_snapshot(db)
    touching = _touching(db, relation_oid)
    asked = _asked(db, relation_oid)
    db.query("delete from architect.replay_statement where proposal_id = $1", proposal_id)
    selects = [one for one in touching if one.statement.kind == "select"]
    deadline = time.monotonic() + LOOKING_SECONDS
    replays = []
    for one in sorted(selects, key=lambda one: -one.statement.total_ms / one.seconds):
        if time.monotonic() > deadline:
            replays.append(_described(one, (), "there was no time to look at it: others take more of the time"))
            continue
        ready = examination.parameter_sets(db, one.statement, SETS, asked)
        replays.append(_described(one, ready.sets, ready.reason))
        if ready.text is not None and ready.reason is None:
            _note(db, proposal_id, one.statement, ready)
    return {"statements": replays, "writers": _writers(relation_oid, touching)}


def write_side(db: Database, relation_oid: int) -> dict[str, Any]:
    """The captured statements that write to the table: query id, and what people call each."""
    if statements.latest_snapshot(db) is None:
        statements.take_snapshot(db)
    return {"writers": _writers(relation_oid, _touching(db, relation_oid))}


def _note(db: Database, proposal_id: int, one: statements.CapturedStatement, ready: examination.Examined) -> None:
    db.query(
        """insert into architect.replay_statement
             (proposal_id, statement_id, text, parameter_types, parameter_sets, role_oid, relation_oids)
           values ($1, $2, $3, $4::text[], $5::jsonb, $6::oid, $7::oid[])""",
        proposal_id,
        one.statement_id,
        ready.text,
        list(ready.types),
        json.dumps(ready.sets),
        one.role_oid,
        [str(oid) for oid in ready.relation_oids],
    )


def _described(touching: Touching, sets: parameters.Sets, reason: str | None) -> dict[str, Any]:
    """A SELECT with typical parameter sets, or why it cannot be replayed."""
    one = touching.statement
    return {
        "statement_id": one.statement_id,
        "parameter_sets": sets,
        "calls": one.calls,
        "calls_seconds": touching.seconds,
        "mean_ms": one.mean_ms,
        "reason": reason,
    }


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


def _writers(relation_oid: int, touching: Sequence[Touching]) -> list[dict[str, Any]]:
    return [
        {
            "query_id": one.query_id,
            "label": f"{one.kind} of {', '.join(one.relations)} (statement {one.statement_id})",
        }
        for one, _ in touching
        if one.written_oid == relation_oid
    ]


def _touching(db: Database, relation_oid: int) -> list[Touching]:
    """The captured statements that touch the table.

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
    found: dict[int, Touching] = {}
    for period in periods:
        for one in statements.captured(db, period["snapshot_id"], relation_oid=relation_oid):
            found.setdefault(one.statement_id, Touching(one, period["seconds"]))
    return list(found.values())
