"""Recommendations on a real workload: what is proposed, what is not, and what is said when nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pg_architect.advisor import recommend as advisor
from pg_architect.advisor import what_if
from pg_architect.advisor.recommend import IndexRecommendation
from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.settings import load
from pg_architect.findings import rules
from pg_architect.telemetry import examination, statements
from pg_architect.telemetry.examination import Examination
from support.cluster import Cluster

TABLES = """
create table public.orders (id bigint primary key, customer_id bigint, status text, amount numeric, at timestamptz);
grant select on public.orders to architect_planner;
insert into public.orders
select i, (i * 7919) % 5000, case when i % 2000 = 0 then 'failed' when i % 10 = 0 then 'open' else 'done' end,
       i % 1000, timestamptz '2025-01-01' + i * interval '1 min'
  from generate_series(1, 100000) as i;
create table public."Wéird "" Table" ("Sélect" int, "from" text);
insert into public."Wéird "" Table" select i % 20000, 'v' || i from generate_series(1, 60000) as i;
create table public.parted (a int, b int) partition by range (a);
create table public.parted_1 partition of public.parted for values from (0) to (100000);
insert into public.parted select i, i % 5000 from generate_series(1, 50000) as i;
vacuum analyze;
select pg_stat_statements_reset();
"""


@pytest.fixture
def app(cluster: Cluster, database: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.connect(database) as connection:
        for statement in TABLES.split(";\n"):
            connection.execute(statement)
        yield connection


@pytest.fixture
def owner(cluster: Cluster, database: str) -> Iterator[PsycopgDatabase]:
    with cluster.connect(database) as connection:
        connection.execute("set role architect_owner")
        yield PsycopgDatabase(connection)


def advise(owner: PsycopgDatabase, most: int = 5) -> tuple[Examination, list[IndexRecommendation]]:
    snapshot = statements.take_snapshot(owner)
    settings = load(owner)
    seen = examination.examine(owner, snapshot, settings)
    return seen, advisor.recommend(owner, snapshot, most, settings, examination=seen)


def repeat(app: psycopg.Connection[Any], query: str, times: int = 5) -> None:
    for number in range(times):
        app.execute(query.replace("{n}", str(number + 1)))


def test_an_unindexed_filter_gets_its_index(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    _, (one,) = advise(owner)
    assert one.statement == (
        "create index concurrently orders_customer_id_architect_idx on public.orders using btree (customer_id)"
    )
    assert one.revert_statement == "drop index concurrently public.orders_customer_id_architect_idx"
    assert one.reduction_percent is not None
    assert one.reduction_percent > 80
    assert (one.reduction_low or 0) <= one.reduction_percent <= (one.reduction_high or 0)
    assert not one.contains_literal
    assert "reads 100,000 rows of public.orders to return 20" in one.why
    assert one.risk == "low"
    app.execute(one.statement)
    real = app.execute("select pg_relation_size('public.orders_customer_id_architect_idx')").fetchone()
    assert real is not None
    assert one.size_bytes == pytest.approx(real[0], rel=0.1)
    seen, again = advise(owner)
    assert again == []
    assert advisor.explain_nothing(seen, again, load(owner))


def test_a_rare_value_gets_a_partial_index_with_its_literal_flagged(
    app: psycopg.Connection[Any], owner: PsycopgDatabase
) -> None:
    repeat(app, "select id from public.orders where status = 'failed'")
    _, (one,) = advise(owner)
    assert one.predicate == "status = 'failed'"
    assert one.contains_literal
    assert one.statement.endswith("using btree (status) where status = 'failed'")
    assert "failed" not in one.why + one.hypothesis + one.risk_reason
    app.execute(one.statement)
    plan = app.execute("explain select id from public.orders where status = 'failed'").fetchall()
    assert one.index_name in str(plan)


def test_writes_are_helped_through_their_reading_part(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "update public.orders set amount = amount + 1 where customer_id = {n}")
    _, (one,) = advise(owner)
    assert one.columns == ("customer_id",)
    assert "to write 20" in one.why
    assert one.risk != "low"
    assert "captured calls write" in one.write_cost


def test_odd_names_are_quoted(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, 'select "from" from public."Wéird "" Table" where "Sélect" = {n}')
    _, (one,) = advise(owner)
    app.execute(one.statement)
    app.execute(one.revert_statement)
    assert '"Wéird "" Table"' in one.statement


def test_names_that_are_taken_are_avoided(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    app.execute("create table public.orders_customer_id_architect_idx (a int)")
    _, (one,) = advise(owner)
    app.execute(one.statement)
    assert one.index_name != "orders_customer_id_architect_idx"


def test_a_second_recommendation_stands_beside_the_first(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    repeat(app, "select amount from public.orders where customer_id = {n} and status = 'open'")
    repeat(
        app, "select id from public.orders where at > timestamptz '2025-03-11 00:00+00' and at < '2025-03-11 01:00+00'"
    )
    _, found = advise(owner)
    assert {one.columns for one in found} == {("customer_id",), ("at",)}
    assert len(advise(owner, most=1)[1]) == 1
    assert advise(owner, most=0)[1] == []


def test_without_hypopg_nothing_is_predicted(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("drop extension if exists hypopg")
    repeat(app, "select amount from public.orders where customer_id = {n}")
    _, (one,) = advise(owner)
    assert one.columns == ("customer_id",)
    assert (one.reduction_percent, one.reduction_low, one.reduction_high, one.time_saved_share) == (None,) * 4
    assert one.prediction_basis.startswith("no what-if: hypopg is not installed")
    assert one.size_bytes > 0
    assert what_if.ask(owner, [], []).reason == what_if.NO_HYPOPG


def test_hypopg_in_a_closed_schema(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    app.execute("create schema closed; drop extension hypopg; create extension hypopg schema closed")
    repeat(app, "select amount from public.orders where customer_id = {n}")
    _, (one,) = advise(owner)
    assert one.reduction_percent is not None


def test_partitioned_tables_are_said_not_guessed(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "select a from public.parted where b = {n}")
    seen, found = advise(owner)
    assert found == []
    said = " ".join(advisor.explain_nothing(seen, found, load(owner)))
    assert "partitioned" in said
    findings = rules.find(owner, seen, load(owner))
    assert any("partitioned" in f.detail for f in findings)


def test_findings_are_stored_and_shown(app: psycopg.Connection[Any], owner: PsycopgDatabase) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    seen, _ = advise(owner)
    found = rules.find(owner, seen, load(owner))
    numbers = rules.store(owner, seen, found)
    assert rules.store(owner, seen, found) != numbers  # stored anew, not twice
    rows = app.execute("select severity, rule, detail, statement from architect.findings").fetchall()
    assert len(rows) == len(found)
    assert rows[0][:2] == ("high", "slow_statement")
    assert "about 100,000 rows read for 20.0 returned" in rows[0][2]
    assert rows[0][3] == "select amount from public.orders where customer_id = $1"


def test_findings_show_facts_to_viewers_and_texts_to_their_owners(
    app: psycopg.Connection[Any], owner: PsycopgDatabase, cluster: Cluster, database: str
) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    seen, _ = advise(owner)
    assert rules.store(owner, seen, rules.find(owner, seen, load(owner)))
    with cluster.connect(database) as connection:
        connection.execute("set role architect_viewer")
        facts = connection.execute("select title, statement from architect.findings").fetchall()
    assert facts
    assert {statement for _, statement in facts} == {None}
    # A later snapshot that nobody has analysed does not hide them; one without findings does.
    later = statements.take_snapshot(owner)
    count = "select count(*) from architect.findings"
    assert app.execute(count).fetchone() != (0,)
    rules.store(owner, examination.Examination(later, (), (), {}), [])
    assert app.execute(count).fetchone() == (0,)


def test_hypothetical_indexes_of_the_session_stay(
    app: psycopg.Connection[Any], cluster: Cluster, database: str
) -> None:
    repeat(app, "select amount from public.orders where customer_id = {n}")
    with cluster.connect(database) as connection:
        connection.execute("select hypopg_create_index('create index on public.orders (amount)')")
        connection.execute("set role architect_owner")
        own = PsycopgDatabase(connection)
        advise(own)
        assert own.query("select count(*) as n from hypopg()")[0]["n"] == 1
        bad = what_if.Question(1, "select id from public.orders where no_such_column = 1", ((),), ((), (0,)))
        answer = what_if.ask(own, [bad], ["create index on public.orders (customer_id)"])
        assert "SQLSTATE 42703" in answer.failed[1]
        fine = what_if.Question(1, "select id from public.orders", ((),), ((0,), (1,)))
        answer = what_if.ask(own, [fine], ["create index on public.nowhere (a)", "create index on public.orders (at)"])
        assert "nowhere" in answer.refused[0]
        assert own.query("select count(*) as n from hypopg()")[0]["n"] == 1
        assert own.query("select 1 as one from pg_prepared_statements") == []


def test_only_index_statements_are_tried(owner: PsycopgDatabase, app: psycopg.Connection[Any]) -> None:
    question = what_if.Question(1, "select 1", ((),), ((0,),))
    with pytest.raises(Exception, match="only a create index statement can be tried"):
        what_if.ask(owner, [question], ["drop table public.orders"])


def test_ordinary_roles_cannot_use_the_planner(app: psycopg.Connection[Any], cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute("set role architect_operator")
        for call in (
            "select architect._planner_what_if('{}')",
            "select architect._planner_explain('{}')",
            "select architect._planner_parameter_types('select 1')",
            "select * from architect._reader_column_statistics('public.orders'::regclass)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(call)
