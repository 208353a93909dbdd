"""The query store: the statements of this database with the cumulative statistics of pg_stat_statements.

The statistics since the last reset are interval zero, so that one look is enough to say something true.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_architect.core import errors
from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import shown
from pg_architect.core.settings import load
from pg_architect.telemetry import classify, pg_stat_statements

# For classifying new statements, and again for proving them; a few thousand ordinary ones take less.
LOOKING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CapturedStatement:
    """A statement of a snapshot with its cumulative statistics; ``share`` is of the time of all statements, 0 to 1."""

    statement_id: int
    query_id: int
    role_oid: int
    role_name: str
    text: str | None  # as pg_stat_statements has it
    kind: str
    calls: int
    total_ms: float
    mean_ms: float
    rows: int
    rows_per_call: float
    share: float
    blocks_per_call: float
    wal_bytes_per_call: float
    relation_oids: tuple[int, ...]
    relations: tuple[str, ...]
    written_oid: int | None  # the relation that it inserts into, updates or deletes from
    plannable: bool | None  # None: not looked at yet
    reason: str | None


def take_snapshot(db: Database) -> int:
    """Store the statistics of the statements of this database; returns the snapshot's number.

    Raises ArchitectError 55000 where they cannot be had, 55P03 if, within lock_timeout, another session's transaction
    that has taken one does not end.
    """
    try:
        return _take_snapshot(db, load(db))
    except ArchitectError as exc:
        if exc.sqlstate != errors.LOCK_NOT_AVAILABLE:
            raise
        raise ArchitectError(
            errors.LOCK_NOT_AVAILABLE,
            "another session has taken a snapshot of the statistics in a transaction that is still open",
            hint="Wait for it, or end it; select pid, usename, xact_start from pg_stat_activity shows who it may be.",
        ) from exc


def _take_snapshot(db: Database, settings: Mapping[str, float]) -> int:
    source = pg_stat_statements.source(db)
    rows = pg_stat_statements.read(db, source)
    kept, left_out = _without_ours(db, rows, int(settings["max_statements"]))
    snapshot_id = _insert_snapshot(db, source, len(kept), left_out)
    _store_statements(db, kept)
    _store_statistics(db, snapshot_id, kept)
    _examine_new(db, snapshot_id, int(settings["max_proved_statements"]))
    _delete_old(db, settings["snapshot_retention"])
    return snapshot_id


def latest_snapshot(db: Database) -> int | None:
    """The newest snapshot of this database."""
    rows = db.query(
        "select max(snapshot_id) as id from architect.snapshot where deployment_id = architect._this_deployment()"
    )
    return None if rows[0]["id"] is None else int(rows[0]["id"])


def left_out(db: Database, snapshot_id: int) -> int:
    """How many statements, the cheapest ones, the snapshot does not have."""
    rows = db.query("select left_out from architect.snapshot where snapshot_id = $1::bigint", snapshot_id)
    return int(rows[0]["left_out"])


def captured(
    db: Database, snapshot_id: int, since: Mapping[int, int] | None = None, relation_oid: int | None = None
) -> list[CapturedStatement]:
    """The statements of a snapshot, by total time.

    ``since`` gives for some tables (by OID) an earlier snapshot: statements that touch them count from there, and are
    left out if they were not called since. A reset of the statistics in between makes that snapshot void. With
    ``relation_oid`` those that touch it, and their shares are of their own time.
    """
    since = since or {}
    rows = db.query(
        """
        select s.statement_id, s.query_id, s.role_oid::bigint as role_oid,
               pg_catalog.pg_get_userbyid(s.role_oid) as role_name, s.text, s.kind,
               s.relation_oids::bigint[] as relation_oids, s.relation_names,
               s.written_oid::bigint as written_oid, s.plannable, s.unplannable_reason,
               d.*, d.total_exec_ms / nullif(sum(d.total_exec_ms) over (), 0) as share
          from architect.statement_statistics as n
          join architect.statement as s using (statement_id)
          left join lateral (
                 select b.*
                   from unnest($2::oid[], $3::bigint[]) as f (relation_oid, snapshot_id)
                   join architect.snapshot as earlier on earlier.snapshot_id = f.snapshot_id
                   join architect.snapshot as here
                     on here.snapshot_id = n.snapshot_id and here.statistics_reset_at = earlier.statistics_reset_at
                   join architect.statement_statistics as b
                     on b.snapshot_id = f.snapshot_id and b.statement_id = n.statement_id and b.calls <= n.calls
                  where f.relation_oid = any (s.relation_oids)
                  order by f.snapshot_id desc
                  limit 1
               ) as b on true
         cross join lateral (
                 select n.calls - coalesce(b.calls, 0) as calls,
                        n.total_exec_ms - coalesce(b.total_exec_ms, 0) as total_exec_ms,
                        n.rows - coalesce(b.rows, 0) as rows,
                        n.shared_blocks_hit + n.shared_blocks_read
                          - coalesce(b.shared_blocks_hit + b.shared_blocks_read, 0) as blocks,
                        n.wal_bytes - coalesce(b.wal_bytes, 0) as wal_bytes
               ) as d
         where n.snapshot_id = $1::bigint and d.calls > 0 and ($4::oid is null or $4::oid = any (s.relation_oids))
         order by d.total_exec_ms desc, s.statement_id
        """,
        snapshot_id,
        [str(oid) for oid in since],
        list(since.values()),
        relation_oid,
    )
    return [_captured(row) for row in rows]


def _captured(row: Row) -> CapturedStatement:
    calls = max(row["calls"], 1)
    return CapturedStatement(
        statement_id=row["statement_id"],
        query_id=row["query_id"],
        role_oid=row["role_oid"],
        role_name=row["role_name"],
        text=row["text"],
        kind=row["kind"],
        calls=row["calls"],
        total_ms=row["total_exec_ms"],
        mean_ms=row["total_exec_ms"] / calls,
        rows=row["rows"],
        rows_per_call=row["rows"] / calls,
        share=row["share"] or 0.0,
        blocks_per_call=row["blocks"] / calls,
        wal_bytes_per_call=row["wal_bytes"] / calls,
        relation_oids=tuple(row["relation_oids"]),
        relations=tuple(row["relation_names"]),
        written_oid=row["written_oid"],
        plannable=row["plannable"],
        reason=row["unplannable_reason"],
    )


def _without_ours(db: Database, rows: Sequence[Row], limit: int) -> tuple[list[Row], list[Row]]:
    """The statements to keep, classified, and those beyond the limit; statements on schema architect are dropped.

    What does not fit into the time is classified with a later snapshot: anybody can run many long statements.
    """
    kept: list[Row] = []
    left_out: list[Row] = []
    deadline = time.monotonic() + LOOKING_SECONDS
    for number, row in enumerate(rows):
        _let_cancel(db, number)
        if len(kept) == limit or (not row["known"] and time.monotonic() > deadline):
            left_out.append(row)
            continue
        if not row["known"]:
            sort = classify.classify(row["query"])
            if sort.is_ours:
                continue
            row |= {"kind": sort.kind, "fingerprint": sort.fingerprint, "text": sort.text, "reason": sort.reason}
        kept.append(row)
    return kept, left_out


def _let_cancel(db: Database, number: int) -> None:
    """Parsing and proving take some milliseconds each, and a cancel is only seen when a query runs."""
    if number % 20 == 19:
        db.query("select 1")


def _insert_snapshot(db: Database, source: pg_stat_statements.Source, count: int, left_out: Sequence[Row]) -> int:
    info = db.query(
        """
        select 1 as found from pg_catalog.pg_proc
         where proname = 'pg_stat_statements_info' and pronamespace = $1::regnamespace
        """,
        source.schema,
    )
    # Since 1.9; without it nobody knows.
    reset, evicted = ("i.stats_reset", "i.dealloc") if info else ("null::timestamptz", "null::bigint")
    origin = f"cross join {source.schema}.pg_stat_statements_info as i" if info else ""
    rows = db.query(
        f"""
        insert into architect.snapshot
          (deployment_id, statistics_reset_at, statement_count, left_out, left_out_ms, evicted, source)
        select architect._this_deployment(), {reset}, $1::int, $2::int, $3::float8, {evicted}, $4::text
          from (select) as one {origin}
        returning snapshot_id
        """,
        count,
        len(left_out),
        float(sum(row["total_ms"] for row in left_out)),
        f"pg_stat_statements {source.version}",
    )
    return int(rows[0]["snapshot_id"])


def _store_statements(db: Database, rows: Sequence[Row]) -> None:
    names = ("queryid", "role", "role_name", "kind", "fingerprint", "text", "reason")
    fresh = [{name: row[name] for name in names} for row in rows if not row["known"]]
    db.query(
        """
        insert into architect.statement
          (deployment_id, query_id, role_oid, role_name, kind, fingerprint, text, plannable, unplannable_reason)
        select architect._this_deployment(), n.queryid, n.role, n.role_name, n.kind, n.fingerprint, n.text,
               case when n.reason is not null then false end, n.reason
          from pg_catalog.jsonb_to_recordset($1::jsonb) as n
               (queryid bigint, role oid, role_name name, kind text, fingerprint text, text text, reason text)
        on conflict (deployment_id, query_id, role_oid) do nothing
        """,
        json.dumps(fresh),
    )


def _store_statistics(db: Database, snapshot_id: int, rows: Sequence[Row]) -> None:
    texts = ("query", "known", "role_name", "kind", "fingerprint", "text", "reason")
    numbers = [{name: value for name, value in row.items() if name not in texts} for row in rows]
    db.query(
        """
        with given as (
          select s.statement_id, n.*
            from pg_catalog.jsonb_to_recordset($2::jsonb) as n
                 (queryid bigint, role oid, calls bigint, total_ms float8, rows bigint, shared_blks_hit bigint,
                  shared_blks_read bigint, temp_blocks bigint, io_ms float8, wal_records bigint, wal_fpi bigint,
                  wal_bytes bigint, stddev_ms float8)
            join architect.statement as s
              on s.deployment_id = architect._this_deployment() and s.query_id = n.queryid and s.role_oid = n.role
        ), seen as (
          -- returns those only that no other session has deleted meanwhile
          update architect.statement as s set last_seen_at = clock_timestamp()
            from given as g where s.statement_id = g.statement_id
          returning s.statement_id
        )
        insert into architect.statement_statistics
          (snapshot_id, statement_id, calls, total_exec_ms, rows, shared_blocks_hit, shared_blocks_read, temp_blocks,
           io_ms, wal_records, wal_fpi, wal_bytes, stddev_exec_ms)
        select $1::bigint, g.statement_id, g.calls, g.total_ms, g.rows, g.shared_blks_hit, g.shared_blks_read,
               g.temp_blocks, g.io_ms, g.wal_records, g.wal_fpi, g.wal_bytes, g.stddev_ms
          from given as g join seen using (statement_id)
        """,
        snapshot_id,
        json.dumps(numbers),
    )


def _examine_new(db: Database, snapshot_id: int, limit: int) -> None:
    """Prove the statements that were not looked at yet, or whose relations are gone; the costliest first."""
    rows = db.query(
        """
        select s.statement_id, pg_catalog.pg_get_userbyid(s.role_oid) as role, s.text
          from architect.statement_statistics as n
          join architect.statement as s using (statement_id)
         where n.snapshot_id = $1::bigint and s.text is not null
           and (s.plannable is null
                or exists (select from unnest(s.relation_oids) as r (oid)
                            where not exists (select from pg_catalog.pg_class as c where c.oid = r.oid)))
         order by n.total_exec_ms desc
         limit $2::int
        """,
        snapshot_id,
        limit,
    )
    prover = classify.Prover(db)
    results = []
    deadline = time.monotonic() + LOOKING_SECONDS
    for number, row in enumerate(rows):
        _let_cancel(db, number)
        if time.monotonic() > deadline:
            break
        proof = prover.prove(row["text"], row["role"])
        results.append(
            {
                "id": row["statement_id"],
                "oids": [str(r.oid) for r in proof.named],
                "names": [shown(r.schema, r.name) for r in proof.named],
                "written": proof.written.oid if proof.written else None,
                "plannable": proof.reason is None,
                "reason": proof.reason,
            }
        )
    db.query(
        """
        update architect.statement as s
           set plannable = n.plannable, unplannable_reason = n.reason, relation_names = n.names,
               relation_oids = n.oids, written_oid = n.written
          from pg_catalog.jsonb_to_recordset($1::jsonb) as n
               (id bigint, oids oid[], names text[], written oid, plannable boolean, reason text)
         where s.statement_id = n.id
        """,
        json.dumps(results),
    )


def _delete_old(db: Database, days: float) -> None:
    """Delete what is older than this many days and named nowhere: snapshots with their statistics, then statements.

    The last snapshot before that stays, so that what is counted from an earlier snapshot counts over all those days;
    so does the last that was analysed, whose findings are shown.
    """
    db.query(
        """
        with here as (
          select snapshot_id, analysed_at is not null as is_analysed,
                 taken_at < clock_timestamp() - make_interval(secs => 86400 * $1::float8) as is_old
            from architect.snapshot where deployment_id = architect._this_deployment()
        )
        delete from architect.snapshot
         where snapshot_id in (select snapshot_id from here
                                where snapshot_id < (select max(snapshot_id) from here where is_old)
                                  and snapshot_id is distinct from
                                      (select max(snapshot_id) from here where is_analysed))
        """,
        days,
    )
    db.query(
        """
        delete from architect.statement as s
         where s.deployment_id = architect._this_deployment() and not s.is_in_history
           and s.last_seen_at < clock_timestamp() - make_interval(secs => 86400 * $1::float8)
           and not exists (select from architect.statement_statistics as n where n.statement_id = s.statement_id)
        """,
        days,
    )
