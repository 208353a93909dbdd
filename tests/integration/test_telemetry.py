"""Snapshots, the query store's privacy, and planning that runs nobody's code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.settings import load
from pg_architect.telemetry import examination, plans, statements
from pg_architect.telemetry.examination import Examination
from support.cluster import Cluster

WORKLOAD = '''
create role {role};
create table public.orders (id bigint primary key, customer_id bigint, status text, created_at timestamptz);
grant select on public.orders to architect_planner;
insert into public.orders
select i, i % 1000, case when i % 2000 = 0 then 'failed' else 'done' end,
       timestamptz '2025-01-01' + i * interval '1 min'
  from generate_series(1, 40000) as i;
create table public."Ünï ""quoted""" ("Näme" text, "order" int);
insert into public."Ünï ""quoted""" select 'n' || i, i from generate_series(1, 500) as i;
create view public.orders_view as select * from public.orders;
create table public.parted (a int, b int) partition by range (a);
create table public.parted_1 partition of public.parted for values from (0) to (1000);
create table public.gone (a int);
analyze;
grant select, update on public.orders to {role};
select {schema}.pg_stat_statements_reset();
'''


@pytest.fixture
def role(database: str) -> str:
    return f"{database}_app"


@pytest.fixture
def app(cluster: Cluster, database: str, role: str) -> Iterator[psycopg.Connection[Any]]:
    """A session on a database with tables and an empty pg_stat_statements."""
    with cluster.connect(database) as connection:
        connection.execute(WORKLOAD.format(role=role, schema="public"))
        yield connection
        connection.execute("reset role")
        connection.execute(f"drop owned by {role}; drop role {role}")


@pytest.fixture
def owner(cluster: Cluster, database: str) -> Iterator[PsycopgDatabase]:
    """The package outside the server, with the rights that it has inside."""
    with cluster.connect(database) as connection:
        connection.execute("set role architect_owner")
        yield PsycopgDatabase(connection)


def examine(owner: PsycopgDatabase) -> Examination:
    snapshot = statements.take_snapshot(owner)
    return examination.examine(owner, snapshot, {**load(owner), "min_share": 0.0, "max_analysed_statements": 100})


def reasons(seen: Examination) -> dict[str, str | None]:
    return {item.captured.text or item.captured.kind: item.reason for item in seen.examined}


def test_snapshot_counts_and_texts(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    for number in range(5):
        app.execute(f"select id from public.orders where customer_id = {number}")
    app.execute("create role temporary_secret password 'hunter2'")
    app.execute("drop role temporary_secret")
    app.execute("insert into public.gone values (1)")
    snapshot = statements.take_snapshot(owner)
    everything = statements.captured(owner, snapshot)
    found = {s.text or s.kind: s for s in everything}
    one = found["select id from public.orders where customer_id = $1"]
    assert (one.calls, one.kind, one.rows, one.rows_per_call) == (5, "select", 200, 40.0)
    assert one.relations == ("public.orders",)
    assert one.plannable
    assert one.blocks_per_call > 0
    assert "hunter2" not in str(found)
    assert found["insert into public.gone values ($1)"].relations == ("public.gone",)
    assert sum(s.share for s in everything) == pytest.approx(1)
    assert app.execute("select count(*) from architect.statement where text like '%hunter2%'").fetchone() == (0,)
    meta = app.execute(
        "select statement_count, left_out, statistics_reset_at < taken_at, evicted from architect.snapshot"
    ).fetchone()
    assert meta == (len(everything), 0, True, 0)


def test_a_second_snapshot_keeps_the_statements(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select id from public.orders where customer_id = 1")
    first = statements.take_snapshot(owner)
    app.execute("select id from public.orders where customer_id = 2")
    second = statements.take_snapshot(owner)
    one, other = (
        next(s for s in statements.captured(owner, n) if s.text and "customer_id" in s.text) for n in (first, second)
    )
    assert (one.statement_id, one.calls, other.statement_id, other.calls) == (one.statement_id, 1, one.statement_id, 2)
    assert statements.latest_snapshot(owner) == second


def test_what_is_ours_is_not_theirs(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select * from architect.top_queries")
    app.execute("select architect.take_snapshot()")
    app.execute("select count(*) from architect.settings")
    snapshot = statements.take_snapshot(owner)
    texts = [s.text for s in statements.captured(owner, snapshot) if s.text]
    assert not [text for text in texts if "architect" in text]


def test_what_a_statement_writes_to(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("create table public.archive (like public.orders)")
    app.execute("insert into public.archive select * from public.orders where id < 5")
    app.execute("update public.archive as a set id = a.id from public.orders as o where o.id = a.id")
    app.execute("delete from public.archive where id = 1")
    app.execute("select count(*) from public.archive")
    oid, other = (
        app.execute(f"select 'public.{name}'::regclass::oid::bigint").fetchone() for name in ("archive", "orders")
    )
    assert oid
    assert other
    snapshot = statements.take_snapshot(owner)
    found = {s.kind: (s.relations, s.written_oid) for s in statements.captured(owner, snapshot, relation_oid=oid[0])}
    assert found == {
        "insert": (("public.archive", "public.orders"), oid[0]),
        "update": (("public.archive", "public.orders"), oid[0]),
        "delete": (("public.archive",), oid[0]),
        "select": (("public.archive",), None),
    }
    reading = [s.kind for s in statements.captured(owner, snapshot, relation_oid=other[0])]
    assert sorted(reading) == ["insert", "update"]
    # Only the reading part is planned, and the rights for it are those of no more tables than it reads.
    (insert,) = (item for item in examine(owner).examined if item.captured.kind == "insert" and item.text)
    assert insert.author.relation_oids == (other[0],)


def test_what_is_executed_by_its_name_is_known_by_its_query(
    app: psycopg.Connection[Any], owner: PsycopgDatabase
) -> None:
    app.execute("prepare by_customer (int) as select id from public.orders where customer_id = $1")
    for number in range(3):
        app.execute(f"execute by_customer ({number})")
    snapshot = statements.take_snapshot(owner)
    (one,) = (s for s in statements.captured(owner, snapshot) if s.text and "customer_id" in s.text)
    assert (one.kind, one.calls, one.relations, one.plannable) == ("select", 3, ("public.orders",), True)
    assert one.text.lower() == "select id from public.orders where customer_id = $1"


def test_what_there_was_no_time_for_comes_with_the_next_snapshot(
    app: psycopg.Connection[Any], owner: PsycopgDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.execute("select id from public.orders where customer_id = 1")
    monkeypatch.setattr(statements, "LOOKING_SECONDS", -1.0)
    first = statements.take_snapshot(owner)
    assert statements.captured(owner, first) == []
    assert statements.left_out(owner, first) > 0
    monkeypatch.undo()
    second = statements.take_snapshot(owner)
    assert any(s.text and "customer_id" in s.text for s in statements.captured(owner, second))
    assert statements.left_out(owner, second) == 0


def test_the_cap_is_counted(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    for number in range(15):
        app.execute(f"select {', '.join(['id'] * (number + 1))} from public.orders where id = 1")
    app.execute("select architect.set_setting('max_statements', '10')")
    statements.take_snapshot(owner)
    count, left_out, ms = (
        app.execute("select statement_count, left_out, left_out_ms from architect.snapshot").fetchone() or ()
    )
    assert count == 10
    assert left_out >= 5
    assert ms > 0


def test_texts_are_for_their_role_and_for_readers_of_statistics(
    app: psycopg.Connection[Any], owner: PsycopgDatabase, cluster: Cluster, database: str, role: str
) -> None:
    app.execute("select 'of the superuser', id from public.orders where id = 1")
    app.execute(f"set role {role}")
    app.execute("select 'of the application', id from public.orders where id = 1")
    app.execute("reset role")
    app.execute(f"grant architect_viewer to {role}")
    statements.take_snapshot(owner)
    with cluster.connect(database) as other:
        other.execute(f"set role {role}")
        roles = {row[0] for row in other.execute("select role_name from architect.top_queries")}
        assert roles == {role}
        assert other.execute("select max(share_of_database_time) < 1 from architect.top_queries").fetchone() == (True,)
        other.execute("reset role")
        other.execute(f"grant pg_read_all_stats to {role}")
        other.execute(f"set role {role}")
        roles = {row[0] for row in other.execute("select role_name from architect.top_queries")}
        assert len(roles) == 2


def test_missing_pg_stat_statements_is_said(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute("drop extension pg_stat_statements")
        with pytest.raises(psycopg.Error, match="pg_stat_statements is not installed in this database") as caught:
            connection.execute("select architect.take_snapshot()")
        assert caught.value.sqlstate == "55000"
        assert "create extension pg_stat_statements" in (caught.value.diag.message_hint or "")


def test_pg_stat_statements_in_another_schema(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute('drop extension pg_stat_statements; create schema "Odd Place"')
        connection.execute('create extension pg_stat_statements schema "Odd Place"')
        with pytest.raises(psycopg.Error, match="closed to us") as caught:
            connection.execute("select architect.take_snapshot()")
        command = (caught.value.diag.message_hint or "").removeprefix("To mend it: ").removesuffix(".")
        connection.execute(command.encode())
        assert connection.execute("select architect.take_snapshot() > 0").fetchone() == (True,)


def test_an_empty_workload_is_no_error(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select pg_stat_statements_reset()")
    seen = examine(owner)
    assert all(item.captured.share <= 1 for item in seen.examined)


def test_take_snapshot_needs_the_operator(
    app: psycopg.Connection[Any], cluster: Cluster, database: str, role: str
) -> None:
    with cluster.connect(database) as other:
        other.execute(f"set role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("select architect.take_snapshot()")
    app.execute(f"grant architect_operator to {role}")
    with cluster.connect(database) as other:
        other.execute(f"set role {role}")
        assert other.execute("select architect.take_snapshot() > 0").fetchone() == (True,)


def test_statements_that_cannot_be_planned_say_why(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("create function public.twice(bigint) returns bigint language sql immutable as 'select $1 * 2'")
    queries = [
        "select id from public.orders where customer_id = public.twice(1)",
        "select id from public.orders_view where customer_id = 1",
        "select b from public.parted where a = 1",
        "select a from public.gone where a = 1",
        "select relname from pg_class where oid = 1",
        "select id from public.orders where length(status) = 4",
    ]
    for query in queries:
        app.execute(query)
    app.execute("create temporary table passing (a int)")
    app.execute("select a from passing where a = 1")
    app.execute("drop table public.gone")
    told = reasons(examine(owner))
    for query, part in zip(queries, ("twice", "view", "partition", "gone", "", "no column tells"), strict=True):
        text = query.replace("= 1", "= $1").replace("= 4", "= $1").replace("(1)", "($1)")
        assert part in (told[text] or ""), text
    assert told["select a from passing where a = $1"]


def test_quoted_and_non_ascii_names(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute('select "Näme" from public."Ünï ""quoted""" where "order" = 5 order by "Näme"')
    seen = examine(owner)
    item = next(i for i in seen.examined if i.captured.text and "Näme" in i.captured.text)
    assert item.reason is None
    assert item.captured.relations == ('public."Ünï ""quoted"""',)
    assert [(u.column, u.use) for u in item.uses.columns] == [("order", "equality"), ("Näme", "order")]
    assert item.plans[0].sequential("public", 'Ünï "quoted"') is not None


def test_hostile_statements_run_nothing(
    app: psycopg.Connection[Any], owner: PsycopgDatabase, cluster: Cluster, database: str, role: str
) -> None:
    """A low role plants functions, operators and casts; a superuser's look must not run any of them."""
    app.execute(f"create schema trap authorization {role}; alter role {role} set search_path = trap, public")
    app.execute(f"grant {role} to current_user")
    with cluster.connect(database) as attacker:
        attacker.execute(f"set role {role}; set search_path = trap, public")
        attacker.execute("""
            create table trap.caught (who text);
            grant all on trap.caught to public; grant usage on schema trap to public;
            create function trap.catch() returns void language sql volatile as
              'insert into trap.caught values (current_user)';
            create function trap.evil(bigint) returns bigint language plpgsql immutable as
              $$ begin perform trap.catch(); return $1; end $$;
            create function trap.evil_eq(bigint, bigint) returns boolean language plpgsql immutable as
              $$ begin perform trap.catch(); return $1 operator(pg_catalog.=) $2; end $$;
            create operator trap.=== (leftarg = bigint, rightarg = bigint, function = trap.evil_eq);
            create function trap.lower(text) returns text language plpgsql immutable as
              $$ begin perform trap.catch(); return $1; end $$;
        """)
        for query in (
            "select id from orders where customer_id = evil(5)",
            "select id from orders where customer_id operator(trap.===) 5",
            "select id from orders where status = trap.lower('A')",
            "update orders set status = 'x' where id = evil(-1)",
        ):
            attacker.execute(query)
        attacker.execute("truncate trap.caught")
    seen = examine(owner)
    with cluster.connect(database) as superuser:
        superuser.execute("select architect.take_snapshot()")
        assert superuser.execute("select who from trap.caught").fetchall() == []
    planned = [i.captured.text for i in seen.examined if i.plans and i.captured.role_name == role]
    assert planned == []


def test_the_planner_plans_queries_only(owner: PsycopgDatabase, app: psycopg.Connection[Any]) -> None:
    for text in (
        "update public.orders set id = 1",
        "create table x ()",
        "select 1; select 2",
        "select 1; drop table y",
    ):
        types, reason = plans.parameter_types(owner, text)
        assert types == ()
        assert reason
    assert plans.parameter_types(owner, "select id from public.orders where id = $1 and status = $2") == (
        ("bigint", "text"),
        None,
    )
    assert owner.query("select 1 as one from pg_prepared_statements") == []


def test_a_locked_table_does_not_hold_the_look(
    app: psycopg.Connection[Any], owner: PsycopgDatabase, cluster: Cluster, database: str
) -> None:
    app.execute("select id from public.orders where customer_id = 1")
    with cluster.connect(database, autocommit=False) as migration:
        migration.execute("lock table public.orders in access exclusive mode")
        told = reasons(examine(owner))
        migration.rollback()
    assert "SQLSTATE 55P03" in (told["select id from public.orders where customer_id = $1"] or "")


def test_literals_of_the_statistics_stay_inside(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select id from public.orders where status = 'failed'")
    seen = examine(owner)
    item = next(i for i in seen.examined if i.captured.text and "status" in i.captured.text)
    assert item.sets == (("failed",),)
    stored = app.execute("select string_agg(t::text, '') from architect.statement as t").fetchone()
    assert "failed" not in str(stored)
    assert "failed" not in str(item.plans)


def test_parameter_sets_for_the_replay(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select id from public.orders where customer_id = 7 limit 5")
    snapshot = statements.take_snapshot(owner)
    one = next(s for s in statements.captured(owner, snapshot) if s.text and "limit" in s.text)
    ready = examination.parameter_sets(owner, one, 12)
    assert ready.types == ("bigint", "bigint")
    assert len(set(ready.sets)) == 12
    assert {values[1] for values in ready.sets} == {"5"}


def test_a_dropped_table_is_proved_anew(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("select a from public.gone where a = 1")
    first = statements.take_snapshot(owner)
    assert next(s for s in statements.captured(owner, first) if s.text and "gone" in s.text).plannable
    app.execute("drop table public.gone")
    second = statements.take_snapshot(owner)
    after = next(s for s in statements.captured(owner, second) if s.text and "gone" in s.text)
    assert not after.plannable
    assert "gone" in (after.reason or "")


def test_cancel_takes_effect(cluster: Cluster, database: str, app: psycopg.Connection[Any]) -> None:
    with cluster.connect(database) as connection:
        connection.execute("set statement_timeout = '1ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select architect.take_snapshot()")
