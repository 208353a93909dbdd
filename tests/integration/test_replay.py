"""The replay of captured statements with and without an index, in sessions of architect_executor."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pg_architect.core.errors import ArchitectError
from pg_architect.experiment import replay
from pg_architect.experiment.replay import Budget
from support.cluster import Cluster
from support.experiment import BY_CUSTOMER, EXECUTOR, Query, Session, announced, note, oid, valid


def replayed(cluster: Cluster, db: str, *queries: Query, index: str = "public.ours_customer", **budget: Any) -> Any:
    with cluster.connect(db) as owner:
        note(owner, 1, queries)
    with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
        found = oid(executor, index)
        executor.rollback()
        session = Session(executor)
        statements = [one.statement for one in queries]
        limits = Budget(**{"seconds": 60, **budget})
        return replay.replay(session, found, statements, limits, announced(session, 1))


def test_a_replay_compares_the_two_plans_and_leaves_nothing_behind(cluster: Cluster, db: str) -> None:
    (samples,) = replayed(cluster, db, BY_CUSTOMER)
    assert samples.reason is None
    assert samples.plan_changed
    assert len(samples.runs) == 80
    assert {run.parameter_set for run in samples.runs} == set(range(20))
    without = [run for run in samples.runs if run.arm == replay.WITHOUT]
    with_index = [run for run in samples.runs if run.arm == replay.WITH]
    assert min(run.buffers for run in without) > 5 * max(run.buffers for run in with_index)
    assert sum(run.cpu_ms for run in without) > 5 * sum(run.cpu_ms for run in with_index)
    assert all(0 < run.cpu_ms <= run.elapsed_ms for run in samples.runs)
    assert {run.rows for run in samples.runs} == {1}
    with cluster.connect(db) as owner:
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from architect.must_roll_back").fetchone() == (0,)


def test_typed_parameters_nulls_and_statements_without_parameters(cluster: Cluster, db: str) -> None:
    statements = (
        Query(1, "select id from public.orders where customer = any ($1)", ("integer[]",), (("{1,2}",),), 9, 1),
        Query(2, "select count(*) from public.orders where customer = 7", (), ((),), 8, 1),
        Query(3, "select id from public.orders where customer = $1", ("integer",), ((None,),), 7, 1),
    )
    results = replayed(cluster, db, *statements)
    assert [one.reason for one in results] == [None, None, None]
    assert [one.plan_changed for one in results] == [True, True, False]
    assert [{run.rows for run in one.runs} for one in results] == [{60}, {1}, {0}]


def test_values_reach_the_statement_as_the_server_reads_them(cluster: Cluster, db: str) -> None:
    typed = (
        ("boolean", "false", "not $1"),
        ("bytea", "\\x00ff", "length($1) = 2"),
        ("timestamp with time zone", "2020-01-01 00:00:00+00", "$1 < now()"),
        ("numeric", "1.10", "$1::text = '1.10'"),
        ("date[]", "{2020-01-01,NULL}", "$1[2] is null and $1[1] = date '2020-01-01'"),
        ("jsonb", '{"a": [1]}', "$1 -> 'a' = '[1]'"),
        ("double precision", "NaN", "$1 = 'NaN'"),
        ('"char"', "x", "$1 = 'x'"),
        ("text", "it's", "$1 = 'it''s'"),
    )
    statements = [
        Query(i, f"select 1 where {condition}", (kind,), ((value,),), 1, 0.1)
        for i, (kind, value, condition) in enumerate(typed)
    ]
    for one in replayed(cluster, db, *statements):
        assert (one.reason, {run.rows for run in one.runs}) == (None, {1}), one.statement


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("select 1/(customer - $1) from public.orders", "the server refuses it (SQLSTATE 22012)"),
        ("delete from public.orders where customer = $1", "the server refuses it (SQLSTATE 42501)"),
        (
            "select customer into public.copy from public.orders where customer = $1",
            "the server refuses it (SQLSTATE 42501)",
        ),
        (
            "with d as (delete from public.orders where customer = $1 returning 1) select * from d",
            "the server refuses it",
        ),
        ("select customer from public.orders where customer = $1 for update", "the server refuses it"),
        ("select substr('x', 1, -$1)", "the server refuses it (SQLSTATE 22011)"),
        ("select 1; select $1", "the server refuses it (SQLSTATE 42601)"),
        ("select x from public.secret where x = $1", "the server refuses it (SQLSTATE 42501)"),
    ],
)
def test_what_fails_is_reported_and_the_next_is_measured(cluster: Cluster, db: str, text: str, reason: str) -> None:
    with cluster.connect(db) as owner:
        owner.execute("create table public.secret (x int)")
        owner.execute("alter table public.secret enable row level security")
    failing = Query(9, text, ("integer",), (("5",),), 10_000, 5.0)
    first, second = replayed(cluster, db, BY_CUSTOMER, failing)
    assert first.reason is not None
    assert first.reason.startswith(reason)
    assert second.reason is None
    with cluster.connect(db) as owner:
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from public.orders").fetchone() == (60000,)


def test_what_does_not_fit_into_the_time_limit_is_reported(cluster: Cluster, db: str) -> None:
    slow = Query(2, "select count(*) from public.orders", (), ((),), 1000, 60_000.0)
    longer_than_thought = Query(
        3,
        "select count(*) from public.tags as a, public.tags as b where a.tag = b.tag and a.id < 900",
        (),
        ((),),
        999,
        1.0,
    )
    for one in (slow, longer_than_thought):
        (samples,) = replayed(cluster, db, one, seconds=2.0)
        assert samples.runs == ()
        assert samples.reason is not None
        assert "replay_time_limit" in samples.reason


def test_a_parallel_plan_is_replayed(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner:
        for setting in ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0"):
            owner.execute(f"alter role {EXECUTOR} in database {db} set {setting}")
    statement = Query(1, "select sum(length(filler)) from public.orders where state <> $1", ("text",), (("x",),), 1, 5)
    (samples,) = replayed(cluster, db, statement)
    assert samples.reason is None
    assert max(run.workers for run in samples.runs) > 0
    assert all(run.cpu_ms > 0 for run in samples.runs)


def test_a_cancel_ends_a_replay_within_a_second(cluster: Cluster, db: str) -> None:
    endless = Query(
        1, "select count(*) from public.orders as a, public.orders as b where a.id <> b.customer", (), ((),), 1, 1.0
    )
    with cluster.connect(db) as owner:
        note(owner, 1, [endless])
    with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
        index = oid(executor, "public.ours_customer")
        executor.rollback()
        session = Session(executor)
        timer = threading.Timer(1.0, executor.cancel)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(ArchitectError) as caught:
            replay.replay(session, index, [endless.statement], Budget(60), announced(session, 1))
        assert caught.value.sqlstate == "57014"
        assert time.monotonic() - begun < 2.0
    with cluster.connect(db) as owner:
        assert valid(owner, "public.ours_customer")
