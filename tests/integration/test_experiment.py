"""The A/B switch, the replay and the measurement on a real cluster, in sessions of architect_executor."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.errors import ArchitectError
from pg_architect.experiment import replay, writes
from pg_architect.experiment.replay import Budget, ReplayStatement
from support.cluster import Cluster

EXECUTOR = "architect_executor"
TABLES = """
create table public.orders (id int primary key, customer int not null, state text not null, filler text);
grant select on public.orders to architect_planner;
insert into public.orders
select i, i % 2000, case when i % 1000 = 0 then 'open' else 'done' end, repeat('x', 60)
  from generate_series(1, 60000) as i;
create table public.tags (id int primary key, tag int not null, weight int not null);
insert into public.tags select i, (random() * 20)::int, i from generate_series(1, 60000) as i;
analyze public.orders, public.tags;
grant select on public.tags to architect_planner;
create index ours_customer on public.orders (customer);
create index theirs on public.orders (id, state);
-- stands in for the rows of proposals
create or replace function architect._created_by_us(index_oid oid) returns boolean
language sql stable strict parallel unsafe security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = index_oid and relname like 'ours%') $$;
-- stands in for the procedure of the improvement cycle
create procedure public.measure(request jsonb, inout decision jsonb) language plpython3u as $$
import json
api = GD.get("pg_architect VERSION") or plpy.execute("select architect._load()") and GD["pg_architect VERSION"]
from dataclasses import asdict
from pg_architect.core.db import call
from pg_architect.core.settings import load
from pg_architect.experiment import measure, writes
from pg_architect.experiment.replay import ReplayStatement
def go(db):
    r = json.loads(request)
    settings = {"replay_time_limit": 60, "replay_blocks": 10, "bootstrap_resamples": 2000, "equivalence_bound": 0.05,
                "guard_share": 0.01, **load(db), **r.get("settings", {})}
    made = measure.measure(db, 1, r["index"], r["table"],
        [ReplayStatement(s["id"], s["text"], tuple(s["types"]), tuple(map(tuple, s["sets"])), s["calls"], s["ms"],
                         s.get("reason")) for s in r["statements"]],
        *(writes.from_json(r[side]) if r.get(side) else None for side in ("before", "after")), {}, settings, 100.0)
    return {name: getattr(made, name) for name in ("verdict", "keep", "performance_delta", "interval", "success_score",
            "minimum_detectable_effect", "explanation", "measurement_id", "worse")}
return [json.dumps(call(plpy, go, (), commits=True))]
$$;
grant execute on procedure public.measure to architect_executor;
"""
BY_CUSTOMER = ReplayStatement(
    1,
    "select count(*) from public.orders where customer = $1",
    ("integer",),
    tuple((str(n),) for n in range(20)),
    1000,
    5.0,
)


class Session(PsycopgDatabase):
    """A session whose ``subtransaction`` is a savepoint, as in a backend, and never a whole transaction."""

    @contextlib.contextmanager
    def subtransaction(self) -> Iterator[None]:
        self.query("select 1")
        with super().subtransaction():
            yield


@pytest.fixture
def db(cluster: Cluster, database: str) -> str:
    with cluster.connect(database) as connection:
        version = connection.execute("select extversion from pg_extension where extname = 'pg_architect'").fetchone()
        assert version
        connection.execute(TABLES.replace("VERSION", version[0]))
    return database


def oid(connection: psycopg.Connection[Any], name: str) -> int:
    row = connection.execute("select %s::regclass::oid::bigint", [name]).fetchone()
    assert row
    return int(row[0])


def valid(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("select indisvalid from pg_index where indexrelid = %s::regclass", [name]).fetchone()
    assert row
    return bool(row[0])


def plan(connection: psycopg.Connection[Any], text: str) -> str:
    return "\n".join(row[0] for row in connection.execute(f"explain (costs off) {text}"))


QUERY = "select count(*) from public.orders where customer = 5"


def test_the_switch_is_seen_by_its_own_session_alone_and_locks_the_table_no_more_than_a_query(
    cluster: Cluster, db: str
) -> None:
    with cluster.connect(db) as owner:
        owner.execute("grant select on public.orders to architect_executor")
        index = oid(owner, "public.ours_customer")
        with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
            assert "ours_customer" in plan(executor, QUERY)
            executor.execute("select architect._hide_index(%s::oid)", [index])
            assert "Seq Scan" in plan(executor, QUERY)
            assert valid(owner, "public.ours_customer")
            assert "ours_customer" in plan(owner, QUERY)
            locks = executor.execute(
                "select distinct mode from pg_locks where pid = pg_backend_pid()"
                " and relation in ('public.orders'::regclass, 'public.ours_customer'::regclass)"
            ).fetchall()
            assert locks == [("AccessShareLock",)]
            executor.rollback()
            assert "ours_customer" in plan(executor, QUERY)


@pytest.mark.parametrize("end", ["commit", "prepare transaction 'x'", "set constraints all immediate"])
def test_the_switch_cannot_be_committed(cluster: Cluster, db: str, end: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        index = oid(owner, "public.ours_customer")
        executor.execute("begin")
        executor.execute("select architect._hide_index(%s::oid)", [index])
        if end.startswith("prepare"):
            executor.execute("select 1")
        with pytest.raises(
            psycopg.Error, match=r"the A/B switch must be rolled back|prepared transactions are disabled"
        ):
            executor.execute(end)
        executor.execute("rollback")
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from architect.ab_switch").fetchone() == (0,)


def test_the_switch_outside_a_transaction_changes_nothing(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        with pytest.raises(psycopg.Error, match="must be rolled back"):
            executor.execute("select architect._hide_index(%s::oid)", [oid(owner, "public.ours_customer")])
        assert valid(owner, "public.ours_customer")


def test_the_switch_hides_only_indexes_of_ours_and_only_for_the_executor(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        for name in ("public.theirs", "public.orders_pkey"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not created by pg_architect"):
                executor.execute("select architect._hide_index(%s::oid)", [oid(owner, name)])
        index = oid(owner, "public.ours_customer")
        with cluster.connect(db, EXECUTOR) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("insert into architect.ab_switch values (1)")
        owner.execute("create role stranger")
        try:
            owner.execute("grant usage on schema architect to stranger")
            owner.execute("set session authorization stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                owner.execute("select architect._hide_index(%s::oid)", [index])
            owner.execute("reset session authorization")
            owner.execute("grant execute on function architect._hide_index to stranger")
            owner.execute("set session authorization stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only architect_executor"):
                owner.execute("select architect._hide_index(%s::oid)", [index])
        finally:
            owner.execute("reset session authorization")
            owner.execute("drop owned by stranger")
            owner.execute("drop role stranger")


def replayed(
    cluster: Cluster, db: str, *statements: ReplayStatement, index: str = "public.ours_customer", **budget: Any
) -> Any:
    with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
        found = oid(executor, index)
        executor.rollback()
        return replay.replay(Session(executor), found, statements, Budget(**{"seconds": 60, **budget}))


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
        assert owner.execute("select count(*) from architect.ab_switch").fetchone() == (0,)


def test_typed_parameters_nulls_and_statements_without_parameters(cluster: Cluster, db: str) -> None:
    statements = (
        ReplayStatement(
            1, "select id from public.orders where customer = any ($1)", ("integer[]",), (("{1,2}",),), 9, 1
        ),
        ReplayStatement(2, "select count(*) from public.orders where customer = 7", (), ((),), 8, 1),
        ReplayStatement(3, "select id from public.orders where customer = $1", ("integer",), ((None,),), 7, 1),
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
        ReplayStatement(i, f"select 1 where {condition}", (kind,), ((value,),), 1, 0.1)
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
    failing = ReplayStatement(9, text, ("integer",), (("5",),), 10_000, 5.0)
    first, second = replayed(cluster, db, BY_CUSTOMER, failing)
    assert first.reason is not None
    assert first.reason.startswith(reason)
    assert second.reason is None
    with cluster.connect(db) as owner:
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from public.orders").fetchone() == (60000,)


def test_what_does_not_fit_into_the_time_limit_is_reported(cluster: Cluster, db: str) -> None:
    slow = ReplayStatement(2, "select count(*) from public.orders", (), ((),), 1000, 60_000.0)
    longer_than_thought = ReplayStatement(
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
    statement = ReplayStatement(
        1, "select sum(length(filler)) from public.orders where state <> $1", ("text",), (("x",),), 1, 5
    )
    (samples,) = replayed(cluster, db, statement)
    assert samples.reason is None
    assert max(run.workers for run in samples.runs) > 0
    assert all(run.cpu_ms > 0 for run in samples.runs)


def test_a_cancel_ends_a_replay_within_a_second(cluster: Cluster, db: str) -> None:
    endless = ReplayStatement(
        1, "select count(*) from public.orders as a, public.orders as b where a.id <> b.customer", (), ((),), 1, 1.0
    )
    with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
        index = oid(executor, "public.ours_customer")
        executor.rollback()
        timer = threading.Timer(1.0, executor.cancel)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(ArchitectError) as caught:
            replay.replay(Session(executor), index, [endless], Budget(60))
        assert caught.value.sqlstate == "57014"
        assert time.monotonic() - begun < 2.0
    with cluster.connect(db) as owner:
        assert valid(owner, "public.ours_customer")


def measured(
    cluster: Cluster, db: str, statements: list[ReplayStatement], index: str, **request: Any
) -> dict[str, Any]:
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
                    "text": one.text,
                    "types": one.parameter_types,
                    "sets": one.parameter_sets,
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
    other = ReplayStatement(2, "", (), (), 10, 1.0, reason="not plannable: user code")
    failing = ReplayStatement(3, "select 1 / (id - 1) from public.orders", (), ((),), 20, 1.0)
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
    endless = ReplayStatement(
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
    regressing = ReplayStatement(
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
