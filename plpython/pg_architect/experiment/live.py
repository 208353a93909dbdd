"""What the application's own calls read while an index is judged: the replay guesses their parameters, they do not.

An index of the wrong values speeds up a replay that asks for these values, and nothing else. A plan that was made for
all values (a generic plan of a prepared statement) cannot use a partial index. Both show in the buffers of live calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_architect.core.db import Database, Row, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.words import counted
from pg_architect.telemetry.pg_stat_statements import source

# Below this many calls a single odd one could decide.
MINIMUM_CALLS = 5
# Of a smaller part of the buffers not even half would stand out.
MATTERS = 0.2


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one statement, and the shared buffers that all of them read."""

    calls: int
    buffers: int

    @property
    def buffers_per_call(self) -> float:
        return self.buffers / self.calls


def counters(db: Database, statement_ids: Sequence[int]) -> list[Row]:
    """Serves ``architect._live_counters``: cumulative counters of captured statements, as their own roles call them."""
    return db.query(
        f"""select s.statement_id, p.calls, p.shared_blks_hit + p.shared_blks_read as buffers
              from {source(db).schema}.pg_stat_statements(false) as p  -- the counters without the texts
              join architect.statement as s on s.query_id = p.queryid and s.role_oid = p.userid
             where s.statement_id = any($1::bigint[]) and s.deployment_id = architect._this_deployment() and p.toplevel
               and p.dbid = (select oid from pg_database where datname = current_database())""",
        [int(one) for one in statement_ids],
    )


def look(db: Database, statement_ids: Sequence[int]) -> dict[int, Calls]:
    """The counters now, in a session of architect_executor; none where they cannot be had. Ends the transaction."""
    try:
        with db.subtransaction():
            rows = db.query("select * from architect._live_counters($1::bigint[])", list(statement_ids))
    except ArchitectError as exc:
        if not handled(exc):
            raise
        rows = []
    db.rollback()
    return {row["statement_id"]: Calls(row["calls"], row["buffers"]) for row in rows}


def between(first: Mapping[int, Calls], second: Mapping[int, Calls]) -> dict[int, Calls]:
    """What was called between two looks; a statement whose counters were reset meanwhile is left out."""
    found = {}
    for statement_id, now in second.items():
        then = first.get(statement_id)
        if then is not None and now.calls > then.calls and now.buffers >= then.buffers:
            found[statement_id] = Calls(now.calls - then.calls, now.buffers - then.buffers)
    return found


def contradiction(calls: Calls | None, without: float, with_index: float) -> str | None:
    """Why a gain of the replay, in buffers per call, is not the application's; None if nothing speaks against it."""
    if calls is None or calls.calls < MINIMUM_CALLS or without <= 0:
        return None
    gain, seen = 1 - with_index / without, 1 - calls.buffers_per_call / without
    if gain < MATTERS or seen >= gain / 2:
        return None
    return (
        f"{counted(calls.calls, 'call')} of the application meanwhile read {calls.buffers_per_call:.0f} buffers each, "
        f"replayed ones {with_index:.0f} instead of {without:.0f}: it asks for other values, or with a plan that was "
        "made for all values"
    )
