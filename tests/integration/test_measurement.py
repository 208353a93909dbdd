"""The measurement of an index in a procedure, as the cycle does it: reads replayed, writes observed, a verdict."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import psycopg
import pytest

from pg_architect.experiment import writes
from support.cluster import Cluster
from support.experiment import BY_CUSTOMER, EXECUTOR, Query, Session, note, oid, valid


def measured(cluster: Cluster, db: str, statements: list[Query], index: str, **request: Any) -> dict[str, Any]:
    with cluster.connect(db) as owner:
        note(owner, 1, statements)
    with cluster.connect(db, EXECUTOR) as executor:
        found = oid(executor, index)
        table = executor.execute("select indrelid::bigint from pg_index where indexrelid = %s", [found]).fetchone()
        assert table
        request |= {
            "index": found,
            "table": table[0],
            "statements": [
                {
                    "id": one.statement_id,
                    "sets": one.sets,
                    "calls": one.calls,
                    "ms": one.mean_ms,
                    "reason": one.reason,
                }
                for one in statements
            ],
        }
        row = executor.execute("call public.measure(%s::jsonb, null)", [json.dumps(request)]).fetchone()
        assert row
        return dict(row[0])


def test_a_measurement_in_a_procedure_is_decided_and_recorded(cluster: Cluster, db: str) -> None:
    other = Query(2, "", (), (), 10, 1.0, reason="not plannable: user code")
    failing = Query(3, "select 1 / (id - 1) from public.orders", (), ((),), 20, 1.0)
    decision = measured(cluster, db, [BY_CUSTOMER, other, failing], "public.ours_customer")
    assert decision["verdict"] == "improved", decision["explanation"]
    assert decision["keep"]
    assert decision["performance_delta"] > 50
    assert decision["interval"][0] <= decision["performance_delta"] <= decision["interval"][1]
    assert decision["success_score"] > 0.95
    assert "not plannable: user code" in decision["explanation"]
    assert "Writes were not observed" in decision["explanation"]
    with cluster.connect(db) as owner:
        assert owner.execute(
            "select verdict, performance_delta, success_score from architect.measurements where measurement_id = %s",
            [decision["measurement_id"]],
        ).fetchone() == (decision["verdict"], decision["performance_delta"], decision["success_score"])
        rows = owner.execute(
            "select statement_id, kind, blocks, plan_changed, buffers_before > 5 * buffers_after, ratio < 0.5,"
            " not_measured_reason from architect.measurement_statements order by ordinal"
        ).fetchall()
        assert rows == [
            (1, "read", 20, True, True, True, None),
            (3, "read", 0, None, None, None, "the server refuses it (SQLSTATE 22012)"),
            (2, "read", 0, None, None, None, "not plannable: user code"),
        ]
        assert owner.execute("select count(*) from architect.measurement_sample").fetchone() == (80,)
        stored = owner.execute(
            "select m::text, s::text from architect.measurement as m, architect.measurement_statement as s"
        )
        assert BY_CUSTOMER.text not in str(stored.fetchall())


def test_a_cancel_ends_a_measurement_in_a_procedure_within_a_second(cluster: Cluster, db: str) -> None:
    endless = Query(
        1, "select count(*) from public.orders as a, public.orders as b where a.id <> b.customer", (), ((),), 1, 1.0
    )
    with cluster.connect(db) as owner:
        stop = threading.Timer(
            1.0,
            owner.execute,
            [f"select pg_cancel_backend(pid) from pg_stat_activity where usename = '{EXECUTOR}' and state = 'active'"],
        )
        stop.start()
        begun = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            measured(cluster, db, [endless], "public.ours_customer")
        assert time.monotonic() - begun < 2.5
        stop.join()
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from architect.measurement").fetchone() == (0,)


def test_an_index_that_nothing_uses_is_equivalent(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner:
        owner.execute("create index ours_filler on public.orders (filler)")
    decision = measured(cluster, db, [BY_CUSTOMER], "public.ours_filler")
    assert decision["verdict"] == "equivalent"
    assert not decision["keep"]
    assert "the index was not used" in decision["explanation"].lower()


def test_a_plan_that_regresses_although_its_cost_falls_is_caught(cluster: Cluster, db: str) -> None:
    """Two correlated columns: the planner expects the first match soon after the start of the index, and it is last."""
    with cluster.connect(db) as owner:
        owner.execute("create table public.jobs (id int, done boolean, payload text)")
        owner.execute("grant select on public.jobs to architect_planner")
        owner.execute(
            "insert into public.jobs"
            " select i, i <= 59900, repeat('x', 50) from generate_series(1, 60000) as i order by random()"
        )
        owner.execute("vacuum analyze public.jobs")
        owner.execute("create index ours_id on public.jobs (id)")
        owner.execute(f"alter role {EXECUTOR} in database {db} set max_parallel_workers_per_gather = 0")
        owner.execute(f"alter role {EXECUTOR} in database {db} set random_page_cost = 1.1")
    regressing = Query(
        5,
        "select * from public.jobs where not done and id > $1 order by id limit 1",
        ("integer",),
        tuple((str(n),) for n in range(1, 13)),
        1000,
        4.0,
    )
    decision = measured(cluster, db, [regressing], "public.ours_id")
    assert decision["verdict"] == "harmful", decision["explanation"]
    assert decision["worse"] == [5]
    assert decision["performance_delta"] < -5
    assert "statement 5" in decision["explanation"].lower()


def observe(cluster: Cluster, db: str, table: str, queries: list[int]) -> writes.WriteSamples:
    with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
        found = oid(executor, table)
        executor.rollback()
        return writes.collect(Session(executor), found, queries, 6, 0.25)


def test_writes_are_observed_before_and_after_and_an_unused_index_on_them_is_harmful(cluster: Cluster, db: str) -> None:
    stop = threading.Event()

    def write() -> None:
        with cluster.connect(db) as writer:
            number = 100_000
            while not stop.is_set():
                number += 1
                writer.execute(
                    "insert into public.orders values (%s, %s, 'new', 'filler')", [number, number * 7919 % 2000]
                )
                writer.execute("update public.orders set filler = 'y' where id = %s", [number - 50])

    writing = threading.Thread(target=write)
    with cluster.connect(db) as owner:
        owner.execute("drop index public.ours_customer")
        writing.start()
        try:
            time.sleep(0.5)
            ids = [
                row[0]
                for row in owner.execute(
                    "select queryid from pg_stat_statements where query ~ '^(insert into|update) public.orders'"
                    " and dbid = (select oid from pg_database where datname = current_database())"
                    " and query ~ '[$]' and query !~ 'generate_series'"
                )
            ]
            before = observe(cluster, db, "public.orders", ids)
            for n, columns in enumerate(("customer, filler", "state, customer", "filler", "customer")):
                owner.execute(f"create index ours_{n} on public.orders ({columns})")
            after = observe(cluster, db, "public.orders", ids)
        finally:
            stop.set()
            writing.join()
    assert len(ids) == 2
    assert before.reason is None
    assert len(before.windows) == len(after.windows) == 6
    changes = writes.compare(before.windows, after.windows)
    assert [one.reason for one in changes] == [None, None]
    for one in changes:
        assert one.wal_records is not None
        assert one.wal_records.value > 1.2
    assert before.hot_share is not None
    assert after.hot_share is not None
    assert before.hot_share > after.hot_share
    again = writes.from_json(json.loads(json.dumps(writes.to_json(before))))
    assert again == before
    decision = measured(cluster, db, [], "public.ours_2", before=writes.to_json(before), after=writes.to_json(after))
    assert decision["verdict"] == "harmful", decision["explanation"]
    assert "Heap-only updates" in decision["explanation"]
    with cluster.connect(db) as owner:
        rows = owner.execute(
            "select kind, wal_bytes_after > wal_bytes_before, worse from architect.measurement_statements"
        ).fetchall()
        assert rows == [("write", True, True)] * 2


def test_writes_without_calls_or_statistics_are_reported(cluster: Cluster, db: str) -> None:
    assert observe(cluster, db, "public.orders", []).reason == "no captured statement writes to the table"
    idle = observe(cluster, db, "public.orders", [4711])
    assert all(not window.counters for window in idle.windows)
    with cluster.connect(db) as owner:
        owner.execute("drop extension pg_stat_statements cascade")
    assert (
        observe(cluster, db, "public.orders", [4711]).reason == "pg_stat_statements is not installed in this database"
    )
