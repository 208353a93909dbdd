"""The write side of a change, observed in the cumulative statistics of INSERT, UPDATE and DELETE."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pg_architect.core.db import Database, Row, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.words import counted
from pg_architect.experiment.statistics import Ratio, rate_ratio
from pg_architect.telemetry.pg_stat_statements import source

# Fewer windows than this on a side leave too few degrees of freedom for an interval of any use.
MINIMUM_WINDOWS = 6
# Of the variance of counters of physical work: an autocorrelation of one half.
MOST_INFLATION = 3.0
NAP_SECONDS = 0.5  # a cancel is seen between two naps at the latest


@dataclass(frozen=True, slots=True)
class Counter:
    """What one statement did: times in milliseconds, shared buffers, WAL in records, full page images and bytes."""

    calls: int
    exec_ms: float
    buffers: int
    wal_records: int
    wal_fpi: int
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two looks ``seconds`` apart, by query id."""

    seconds: float
    counters: Mapping[int, Counter]


@dataclass(frozen=True, slots=True)
class WriteSamples:
    """Consecutive windows of the statements that write to one table, and its updates during all of them."""

    query_ids: tuple[int, ...]
    windows: tuple[Window, ...]
    updates: int = 0
    hot_updates: int = 0
    reason: str | None = None

    @property
    def hot_share(self) -> float | None:
        """Share of heap-only updates; None without updates."""
        return self.hot_updates / self.updates if self.updates else None


@dataclass(frozen=True, slots=True)
class WriteChange:
    """One statement before and after; ``None`` where a side has too little, and then the ``reason``."""

    query_id: int
    calls: int
    calls_per_second: float
    windows: int
    before: Counter
    after: Counter
    time: Ratio | None
    wal_bytes: Ratio | None
    wal_records: Ratio | None
    buffers: Ratio | None
    reason: str | None

    def is_touched(self, bound: float, alpha: float) -> bool:
        """Whether buffers or WAL records per call differ by more than ``bound``, the index's own marks on a write.

        The time of a write drifts with load, locks and bloat, and before and after are different times; what it reads
        and logs does not depend on the load. Without such a mark a difference in time is not the index's doing.
        """
        marks = [ratio for ratio in (self.wal_records, self.buffers) if ratio]
        return any(
            min(ratio.p_above(1 + bound), ratio.p_below(1 - bound)) <= alpha / max(1, len(marks)) for ratio in marks
        )


def counters(db: Database, query_ids: Sequence[int]) -> list[Row]:
    """Serves ``architect._write_counters``: cumulative counters, all roles together."""
    return db.query(
        f"""select queryid as query_id, sum(calls)::bigint as calls, sum(total_exec_time) as exec_ms,
                   sum(shared_blks_hit + shared_blks_read)::bigint as buffers,
                   sum(wal_records)::bigint as wal_records, sum(wal_fpi)::bigint as wal_fpi,
                   sum(wal_bytes)::float8 as wal_bytes
              from {source(db).schema}.pg_stat_statements(false)  -- the counters without the texts
             where queryid = any($1::bigint[])
               and dbid = (select oid from pg_database where datname = current_database())
             group by queryid""",
        [int(one) for one in query_ids],
    )


def collect(
    db: Database,
    relation_oid: int,
    query_ids: Sequence[int],
    windows: int,
    seconds_each: float,
    commits: bool = True,
) -> WriteSamples:
    """Look ``windows`` + 1 times at the counters, ``seconds_each`` apart.

    With ``commits`` the transaction ends after every nap, so that no snapshot is held: the caller is a procedure with
    nothing uncommitted. Returns at once, with the reason, where there is nothing to look at.
    """
    ids = tuple(sorted({int(one) for one in query_ids}))
    if not ids:
        return WriteSamples((), (), reason="no captured statement writes to the table")
    try:
        with db.subtransaction():
            looks = [_look(db, ids)]
    except ArchitectError as exc:
        if not handled(exc):
            raise
        return WriteSamples(ids, (), reason=exc.message.removeprefix("pg_architect: "))
    updates = _updates(db, relation_oid)
    for _ in range(windows):
        _sleep(db, seconds_each, commits)
        looks.append(_look(db, ids))
    later = _updates(db, relation_oid)
    between = (_difference(a, b) for a, b in itertools.pairwise(looks))
    return WriteSamples(
        ids,
        tuple(window for window in between if window),
        max(0, later[0] - updates[0]),
        max(0, later[1] - updates[1]),
    )


def compare(before: Sequence[Window], after: Sequence[Window]) -> list[WriteChange]:
    """Per statement: costs per call before and after, and their log ratios over the windows."""
    ids = sorted({query_id for window in (*before, *after) for query_id in window.counters})
    seconds = sum(window.seconds for window in (*before, *after))
    return [_change(query_id, _series(query_id, before), _series(query_id, after), seconds) for query_id in ids]


def to_json(samples: WriteSamples) -> dict[str, Any]:
    """For a jsonb column; ``from_json`` is the inverse."""
    return asdict(samples)


def from_json(data: Mapping[str, Any]) -> WriteSamples:
    windows = tuple(
        Window(one["seconds"], {int(key): Counter(**value) for key, value in one["counters"].items()})
        for one in data["windows"]
    )
    return WriteSamples(tuple(data["query_ids"]), windows, data["updates"], data["hot_updates"], data["reason"])


def _change(query_id: int, before: list[Counter], after: list[Counter], seconds: float) -> WriteChange:
    first, second = _sum(before), _sum(after)
    calls = first.calls + second.calls
    reason = None
    if min(len(before), len(after)) < MINIMUM_WINDOWS:
        reason = (
            f"not observed: {counted(first.calls, 'call')} in {len(before)} windows before and {second.calls} in "
            f"{len(after)} after; {MINIMUM_WINDOWS} windows with calls are needed on each side"
        )

    def ratio(metric: str) -> Ratio | None:
        if reason:
            return None
        sides = [[(float(c.calls), float(getattr(c, metric))) for c in side] for side in (before, after)]
        # Time drifts with the load; what a call reads and logs hardly does, so that a trend in it weighs less.
        return rate_ratio(sides[0], sides[1], math.inf if metric == "exec_ms" else MOST_INFLATION)

    time = ratio("exec_ms")
    return WriteChange(
        query_id,
        calls,
        calls / seconds if seconds > 0 else 0.0,
        len(before) + len(after),
        first,
        second,
        time,
        ratio("wal_bytes"),
        ratio("wal_records"),
        ratio("buffers"),
        reason or (None if time else "not observed: one window has all the calls or all the time"),
    )


def _series(query_id: int, windows: Sequence[Window]) -> list[Counter]:
    seen = (window.counters.get(query_id) for window in windows)
    return [counter for counter in seen if counter and counter.calls > 0]


def _sum(series: Sequence[Counter]) -> Counter:
    return Counter(
        sum(one.calls for one in series),
        sum(one.exec_ms for one in series),
        sum(one.buffers for one in series),
        sum(one.wal_records for one in series),
        sum(one.wal_fpi for one in series),
        sum(one.wal_bytes for one in series),
    )


def _look(db: Database, ids: Sequence[int]) -> tuple[float, dict[int, Counter]]:
    rows = db.query(
        """select extract(epoch from clock_timestamp())::float8 as at, c.*
             from (select) as always left join architect._write_counters($1::bigint[]) as c on true""",
        list(ids),
    )
    return rows[0]["at"], {
        row["query_id"]: Counter(
            row["calls"], row["exec_ms"], row["buffers"], row["wal_records"], row["wal_fpi"], row["wal_bytes"]
        )
        for row in rows
        if row["query_id"] is not None
    }


def _difference(
    first: tuple[float, Mapping[int, Counter]], second: tuple[float, Mapping[int, Counter]]
) -> Window | None:
    """None where the statistics were reset in between."""
    nothing = Counter(0, 0.0, 0, 0, 0, 0.0)
    counters: dict[int, Counter] = {}
    for query_id, now in second[1].items():
        then = first[1].get(query_id, nothing)
        if now.calls < then.calls:
            return None
        counters[query_id] = Counter(
            now.calls - then.calls,
            max(0.0, now.exec_ms - then.exec_ms),
            now.buffers - then.buffers,
            now.wal_records - then.wal_records,
            now.wal_fpi - then.wal_fpi,
            now.wal_bytes - then.wal_bytes,
        )
    return Window(second[0] - first[0], counters)


def _updates(db: Database, relation_oid: int) -> tuple[int, int]:
    db.query("select pg_stat_clear_snapshot()")
    row = db.query(
        """select coalesce(pg_stat_get_tuples_updated($1::oid), 0) as updated,
                  coalesce(pg_stat_get_tuples_hot_updated($1::oid), 0) as hot""",
        relation_oid,
    )[0]
    return row["updated"], row["hot"]


def _sleep(db: Database, seconds: float, commits: bool) -> None:
    while seconds > 0:
        nap = min(seconds, NAP_SECONDS)
        if commits:
            db.commit()  # before the nap too: the look's snapshot must not be held while asleep
        db.query("select pg_sleep($1::float8)", nap)
        seconds -= nap
    if commits:
        db.commit()
