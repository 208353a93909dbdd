"""Hostile text against a real server: nothing of its author's runs, neither in the proof nor when it is planned.

Every trap is a function marked immutable that draws from a sequence, which no rollback takes back. The caller is a
superuser throughout: that is whose rights the author of the text is after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety.harmless import Proof, prove_harmless
from support.cluster import Cluster
from support.people import make_role

Connection = psycopg.Connection[Any]

HOSTILE = (Path(__file__).parents[1] / "data" / "hostile_statements.txt").read_text().splitlines()
EVE = "t_eve"

TRAPS = """
create sequence public.traces;
grant usage on sequence public.traces to public;
create schema eve authorization t_eve;
grant create on schema public to t_eve;
set role t_eve;
set search_path = eve, public;
create function eve.evil(int) returns int immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 1; end$$;
create function eve.evil(text) returns text immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 'x'; end$$;
create function public.evil(int) returns int immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 1; end$$;
create function public."EVIL"(int) returns int immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 1; end$$;
create function public.lower(varchar) returns text immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 'x'; end$$;
create function eve.abs(int) returns int immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 1; end$$;
create function eve.evil_eq(int, int) returns boolean immutable language plpgsql as
    $$begin perform nextval('public.traces'); return true; end$$;
create operator eve.= (leftarg = int, rightarg = int, function = eve.evil_eq);
create operator public.=== (leftarg = int, rightarg = int, function = eve.evil_eq);
create domain public.dom as int check (eve.evil(value) = 1);
create type public.mood as enum ('good', 'bad');
create type public.calm as enum ('yes', 'no');
create function eve.mood_text(public.mood) returns text immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 'x'; end$$;
create cast (public.mood as text) with function eve.mood_text(public.mood) as implicit;
create type public.pair as (a int, b public.dom);
create table public.plain (id int primary key, name varchar, day date, calm public.calm, mood public.mood, d public.dom,
    p public.pair, ds public.dom[], tags text[]);
create index on public.plain (calm) where calm = 'yes';
create index on public.plain (mood);
insert into public.plain (id, name, day, calm, mood)
    select i, 'n' || i, '2024-01-01', 'yes', 'good' from generate_series(1, 100) i;
create function eve.row_text(public.plain) returns text immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 'x'; end$$;
create cast (public.plain as text) with function eve.row_text(public.plain) as implicit;
create function public.virtual(public.plain) returns int immutable language plpgsql as
    $$begin perform nextval('public.traces'); return 1; end$$;
create table public.by_expression (id int);
create index on public.by_expression (eve.evil(id));
create table public.by_predicate (id int);
create index on public.by_predicate (id) where eve.evil(id) = 1 and eve.evil(5) = 1;
create table public.by_check (id int check (eve.evil(5) = id));
create table public.by_statistics (id int, x int);
create statistics public.st on (eve.evil(id)), (eve.evil(5) + x) from public.by_statistics;
create table public.by_generated (id int, g int generated always as (eve.evil(id)) stored);
create table public.by_policy (id int);
alter table public.by_policy enable row level security;
create policy p on public.by_policy using (eve.evil(5) = 1);
create view public.by_view as select eve.evil(5) as id;
create table public.parent (id int);
create table public.child (check (eve.evil(5) = 1)) inherits (public.parent);
create table public.partitioned (id int) partition by list (id);
create table public.only_eve (id int);
create table eve.pg_class (relname text);
grant select on public.plain, public.by_policy to t_victim;
grant usage on schema eve to t_victim;
reset role;
reset search_path;
alter role t_eve set search_path = eve, pg_catalog, public;
create function public.plan_pinned(statement text) returns text language plpython3u
set search_path = pg_catalog, pg_temp
as $$
import json
plan = plpy.execute("explain (format json) " + statement)[0]["QUERY PLAN"]
plpy.execute(statement)
return plan if isinstance(plan, str) else json.dumps(plan)
$$;
analyze;
"""

# Each reaches the trap when it is planned by hand; see test_the_traps_work.
DANGEROUS = [
    "select 1 from public.plain where id = public.evil(5)",
    "select 1 from plain where id = evil(5)",
    "select 1 from plain where id = eve.evil(5)",
    'select 1 from plain where id = public."EVIL"(5)',
    'select 1 from plain where id = u&"\\0065vil"(5)',
    'select 1 from plain where id = "eve"."evil"(5)',
    "select 1 from plain where id operator(eve.=) 1 or 1 operator(eve.=) 1",
    "select 1 from plain where 1 === 2",
    "select 1 from plain where id = '5'::public.dom",
    "select 1 from plain where id = 5::dom",
    "select 1 from plain where id = cast(5 as public.dom)",
    "select 1 from plain where ('(1,2)'::public.pair).b = 1",
    "select 1 from plain where array[1, 2]::public.dom[] is not null",
    "select 1 from plain where 'good'::public.mood::text = 'x'",
    "select (select case when exists (select 1 where evil(5) = 1) then 1 else 0 end) from plain",
    "with q as materialized (select evil(5) as x) select x from q",
    "select array[evil(5)], coalesce(null, evil(6)), greatest(1, evil(7))",
    "select sum(id) filter (where evil(5) = 1) over (order by evil(6)) from plain",
    "select id from plain order by evil(5) + id limit evil(6)",
    "select v.x from (values (evil(5))) v (x)",
    "select * from evil(5)",
    "select id from by_view",
    "select id from by_expression where evil(id) = evil(5)",
    "select id from by_policy",
]
# By hand these reach it too, and under the pinned search_path they do not.
DISARMED = [
    "select 1 from plain where name = lower('x'::varchar)",
    "select 1 from plain where name = LOWER(cast('x' as varchar))",
]
# These need not spring the trap on this server; they are refused all the same.
SUSPECT = [
    "select id from by_expression where id = 1",
    "select id from by_predicate where id = 1",
    "select id from by_check where id = 1",
    "select id from by_statistics where id = 1 and x = 1",
    "select id from by_generated",
    "select id from parent",
    "select id from child",
    "select id from partitioned",
    "select mood from plain",
    "select 1 from plain where mood = 'good'",
    "select d from plain",
    "select ds from plain",
    "select p from plain",
    "select * from plain",
    "select plain from plain",
    "select plain.* || 'x' from plain",
    "select lower(x) from plain x",
    "select plain.virtual from plain",
    "select virtual(plain) from plain",
    "select s.virtual from (select * from plain) s",
    "select concat(plain.*) from plain",
    "select relname from pg_class",
    "select oid from pg_catalog.pg_proc",
    "select proposal_id from architect.proposal",
    "select query_to_xml('select public.evil(5)', true, true, '')",
    "select ts_rewrite('a'::tsquery, 'select evil(5)')",
    "select table_to_xml('by_view'::regclass, true, true, '')",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select nextval('traces')",
    "select set_config('search_path', 'eve', false)",
    "select pg_sleep(10)",
    "select pg_notify('a', 'b')",
    "select dblink('', 'x')",
    "select 'public.evil(int)'::regprocedure",
    "select 1; select evil(5)",
    "select evil(5) /* \0 */",
    "select 1 from plain where exists (select 1 from plain for update)",
    "explain analyze select evil(5)",
    "do 'begin perform evil(5); end'",
    "prepare x as select evil(5)",
]
# Harmless, although traps of the same names lie about.
HARMLESS = [
    *DISARMED,
    "select relname from eve.pg_class",
    "select lower(name) from plain where id = 5",
    "select lower('X'::varchar), abs(-5)",
    "select id from plain where id = 5 and abs(id) = 5",
    "select id from plain where calm = 'yes' and day > '2023-01-01'",
    "select calm, count(*) from plain group by calm order by 1",
    "select x.id from plain x join plain y using (id) where x.id in (select z.id from plain z)",
    "with evil as (select id from plain) select evil.id from evil",
    "select id as evil from plain order by evil",
    "select name from plain where name like '50\\%' or name ~ '^n\\d$' or name = E'\\\\'",
    "select extract(year from day), day + interval '1 day', now() - interval '1 day' from plain",
    "select a.id, row_number() over (partition by a.day order by a.id) from plain as a where a.tags is null",
    "select position('n' in name), substring(name from 1 for 2), trim(both 'n' from name) from plain",
    'select name collate "C" from plain',
    "select json_build_object('id', id, 'calm', calm), array_agg(day) from plain group by id, calm",
    "select id from only plain where day between '2024-01-01' and '2024-12-31'",
]


@pytest.fixture(scope="module")
def trapped(cluster: Cluster) -> Iterator[str]:
    with cluster.database() as name:
        with cluster.connect(name) as connection:
            make_role(connection, EVE)
            make_role(connection, "t_victim")
            connection.execute(TRAPS)
        yield name
        with cluster.connect() as connection:
            connection.execute("alter role t_eve reset all")


@pytest.fixture
def admin(cluster: Cluster, trapped: str) -> Iterator[Connection]:
    with cluster.connect(trapped) as connection:
        yield connection


def traces(connection: Connection) -> int:
    row = connection.execute("select case when is_called then last_value else 0 end from public.traces").fetchone()
    assert row is not None
    return int(row[0])


def prove(connection: Connection, statement: str, role: str = EVE) -> Proof:
    return prove_harmless(PsycopgDatabase(connection), statement, role)


@pytest.mark.parametrize("statement", DANGEROUS + DISARMED)
def test_the_traps_work(admin: Connection, statement: str) -> None:
    """Whoever plans these by hand runs the trap: otherwise the tests below would prove nothing."""
    before = traces(admin)
    with admin.transaction(force_rollback=True):
        admin.execute("set local search_path = eve, public, pg_catalog")
        if "by_policy" in statement:  # to which a superuser is not subject
            admin.execute("set local role t_victim")
        admin.execute(f"explain {statement}")
        admin.execute(statement)
    assert traces(admin) > before


@pytest.mark.parametrize("statement", DANGEROUS + SUSPECT)
def test_hostile_statements_are_not_harmless(admin: Connection, statement: str) -> None:
    before = traces(admin)
    proof = prove(admin, statement)
    assert not proof.harmless
    assert proof.reason
    assert proof.qualified_text is None
    if "\0" not in statement:
        row = admin.execute(
            "select harmless, reason from architect.prove_harmless(%s, %s)", (statement, EVE)
        ).fetchone()
        assert row == (False, proof.reason)
    assert traces(admin) == before


@pytest.mark.parametrize("statement", HARMLESS)
@pytest.mark.parametrize("path", ["eve, public", "public, eve, pg_catalog"])
def test_harmless_statements_are_planned_without_a_trace(admin: Connection, statement: str, path: str) -> None:
    before = traces(admin)
    proof = prove(admin, statement)
    assert proof.harmless, proof.reason
    admin.execute(f"set search_path = {path}")
    # A temporary table of the caller's hides the real one where names are not qualified.
    admin.execute("create temporary table plain (id int, name text check (public.evil(length(name)) = 1))")
    admin.execute("set standard_conforming_strings = off")
    row = admin.execute("select public.plan_pinned(%s)", (proof.qualified_text,)).fetchone()
    assert row is not None
    assert "pg_temp" not in json.dumps(row)
    assert traces(admin) == before


def test_standard_strings_mean_the_same_whatever_the_session_says(admin: Connection) -> None:
    text = prove(admin, "select 'a\\', ' from plain where 1 = evil(5) --\\'").qualified_text
    admin.execute("set standard_conforming_strings = off")
    assert admin.execute(str(text).encode()).fetchone() == ("a\\", " from plain where 1 = evil(5) --\\")


def test_names_are_those_of_the_statements_role(admin: Connection) -> None:
    with admin.transaction(force_rollback=True):
        admin.execute("create schema other; create table other.plain (id int); create table other.alone (id int)")
        admin.execute("grant usage on schema other to t_victim; grant select on all tables in schema other to t_victim")
        assert [r.schema for r in prove(admin, "select id from plain").relations] == ["public"]
        assert prove(admin, "select id from alone", "t_victim").qualified_text == "SELECT id FROM other.alone"
        admin.execute("alter role t_victim in database " + admin.info.dbname + " set search_path = other, public")
        assert prove(admin, "select id from plain", "t_victim").qualified_text == "SELECT id FROM other.plain"
        admin.execute("create schema more; create table more.alone (id int); alter role t_victim reset all")
        admin.execute("alter role t_victim in database " + admin.info.dbname + " reset all")
        assert "ambiguous" in str(prove(admin, "select id from alone", "t_victim").reason)


def test_the_owner_of_the_statement_must_still_be_allowed_to_read(admin: Connection) -> None:
    assert prove(admin, "select id from only_eve").harmless
    assert "may not read public.only_eve" in str(prove(admin, "select id from only_eve", "t_victim").reason)
    with admin.transaction(force_rollback=True):
        admin.execute("create table public.columns (a int, b int); grant select (a) on public.columns to t_victim")
        assert prove(admin, "select a from columns where a = 1", "t_victim").harmless
        assert prove(admin, "select count(*) from columns", "t_victim").harmless
        for statement in ("select b from columns", "select * from columns", "select a, ctid from columns"):
            assert "may not read" in str(prove(admin, statement, "t_victim").reason)
    assert "does not exist any more" in str(prove(admin, "select 1", "t_nobody_at_all").reason)


@pytest.mark.parametrize(
    ("wiring", "reason"),
    [
        ("create cast (int as xml) with function public.evil_xml(int) as implicit", "cast from integer to xml"),
        ("create function pg_catalog.lower(int) returns text immutable language sql as 'select null'", "added to"),
        ("create operator pg_catalog.= (leftarg = int, rightarg = text, function = public.evil_eq)", "operator ="),
        (
            "create operator class public.x default for type point using btree as function 1 evil_cmp(point, point)",
            "operator class x",
        ),
        (
            "alter operator family integer_ops using btree add function 1 (int4, text) public.evil_cmp(int4, text)",
            "operator family integer_ops",
        ),
    ],
)
def test_user_code_wired_into_built_in_types(admin: Connection, wiring: str, reason: str) -> None:
    """Only a superuser can do that; a statement that looks harmless is refused all the same."""
    with admin.transaction(force_rollback=True):
        for signature, result in {
            "evil_xml(int)": "xml",
            "evil_eq(int, text)": "boolean",
            "evil_cmp(point, point)": "int",
            "evil_cmp(int4, text)": "int",
        }.items():
            admin.execute(
                f"create function public.{signature} returns {result} immutable language plpgsql as"
                " $$begin perform nextval('public.traces'); return null; end$$"
            )
        assert prove(admin, "select lower(name) from plain where id = 1").harmless
        admin.execute(wiring)
        assert reason in str(prove(admin, "select lower(name) from plain where id = 1").reason)


def test_an_index_of_an_extensions_operator_class(admin: Connection) -> None:
    with admin.transaction(force_rollback=True):
        admin.execute("create table public.vectors (id int, v public.vector(3))")
        admin.execute("grant select on public.vectors to t_eve")
        assert prove(admin, "select id from vectors").harmless
        assert "user-defined type vector" in str(prove(admin, "select v from vectors").reason)
        admin.execute("create index on public.vectors using hnsw (v public.vector_l2_ops)")
        assert "vector_l2_ops" in str(prove(admin, "select id from vectors").reason)


def test_prove_harmless_asks_for_the_sessions_own_role(cluster: Cluster, admin: Connection, trapped: str) -> None:
    make_role(admin, "t_safety_operator", "architect_operator")
    admin.execute("grant select on public.plain to t_safety_operator")
    with cluster.connect(trapped, "t_safety_operator") as connection:
        row = connection.execute(
            "select * from architect.prove_harmless('select id from plain where id = $1')"
        ).fetchone()
        assert row == ("select", True, None, ["public.plain"], 1)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied to ask for role t_eve"):
            connection.execute("select * from architect.prove_harmless('select 1', 't_eve')")
        admin.execute("grant pg_read_all_stats to t_safety_operator")
        assert connection.execute("select harmless from architect.prove_harmless('select 1', 't_eve')").fetchone() == (
            True,
        )
        admin.execute("revoke pg_read_all_stats from t_safety_operator")
        row = connection.execute("select kind, harmless from architect.prove_harmless(null)").fetchone()
        assert row == ("unparsable", False)
    with cluster.connect(trapped, EVE) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from architect.prove_harmless('select 1')")


def judge(connection: Connection, statement: str | None) -> dict[str, Any]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute("select * from architect.judge_statement(%s)", (statement,)).fetchall()
    assert len(rows) == 1
    return rows[0]


def test_a_verdict_for_every_hostile_statement(admin: Connection) -> None:
    before = traces(admin)
    admin.execute("set search_path = eve, public")
    for statement in [*HOSTILE, *DANGEROUS, *SUSPECT, *HARMLESS, "", None]:
        if "\0" not in (statement or ""):
            row = judge(admin, statement)
            assert row["verdict"] == "refuse", statement
            assert row["reasons"]
            assert row["apply_sql"] is None
    assert traces(admin) == before


@pytest.mark.parametrize("unit", ["1+", "- ", "not ", "f(", "(select ", "1 union select ", "a[1]::int,"])
@pytest.mark.parametrize("length", [2_000, 60_000])
def test_deep_nesting_does_not_crash_the_server(admin: Connection, unit: str, length: int) -> None:
    text = "select " + unit * (length // len(unit)) + "1"
    for closed in (text, text + ")" * text.count("(")):
        assert judge(admin, closed)["verdict"] == "refuse"
        admin.execute("select * from architect.prove_harmless(%s)", (closed,))


@pytest.fixture
def shop_table(admin: Connection) -> Iterator[Connection]:
    admin.execute("""
        create schema "Läden" authorization t_eve;
        set role t_eve;
        create table "Läden"."Order"
            ("Größe" int primary key, "select" text, calm public.calm, mood public.mood, at timestamptz);
        reset role""")
    try:
        yield admin
    finally:
        admin.execute('reset role; drop schema "Läden" cascade')


def test_what_is_judged_can_be_applied_and_reverted(shop_table: Connection) -> None:
    """The server agrees with every part of the judgement: text, objects, lock-free form, and the way back."""
    statement = """create index concurrently "Ü" on "Läden"."Order" ("select" desc, calm) include (at)
        where calm = 'yes' and "Größe" in (1, 2) and at > '2024-01-01 00:00+00'"""
    row = judge(shop_table, statement)
    assert row["verdict"] == "needs_approval", row["reasons"]
    assert row["lock"] == "ShareUpdateExclusiveLock"
    assert row["needs_own_transaction"]
    shop_table.execute(row["apply_sql"])
    index = """select indrelid, indkey::int2[]::int[], indclass::oid[], indisvalid from pg_index
        where indexrelid = '"Läden"."Ü"'::regclass"""
    built = shop_table.execute(index).fetchone()
    assert built is not None
    columns = row["objects"]["columns"]
    assert built[0] == row["objects"]["relation_oid"]
    assert built[1] == [column["attnum"] for column in columns + row["objects"]["included"]]
    assert built[2] == [column["opclass_oid"] for column in columns]
    assert built[3]
    again = judge(shop_table, statement.replace('"Ü"', "other"))
    assert "is the same index" in again["reasons"][0]["detail"]
    assert "already has a relation" in judge(shop_table, statement)["reasons"][0]["detail"]

    assert "not created by pg_architect" in judge(shop_table, row["revert_sql"])["reasons"][0]["detail"]
    shop_table.execute("""
        insert into architect.built_index (deployment_id, index_oid, relation_oid, index_name, proposal_id)
        select architect._this_deployment(), indexrelid, indrelid, 'Ü', 0 from pg_index
        where indexrelid = '"Läden"."Ü"'::regclass""")
    drop = judge(shop_table, row["revert_sql"])
    assert drop["verdict"] == "needs_approval", drop["reasons"]
    assert drop["kind"] == "drop_index_concurrently"
    definition = 'select pg_get_indexdef(\'"Läden"."Ü"\'::regclass)'
    before = shop_table.execute(definition).fetchone()
    shop_table.execute(drop["apply_sql"])
    shop_table.execute(drop["revert_sql"])
    assert shop_table.execute(definition).fetchone() == before


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ('"Läden"."Order" (mood)', "user-defined type"),
        ('"Läden"."Order" ("Größe")', "is the same index"),
        ("public.by_view (id)", "not an ordinary table"),
        ("public.partitioned (id)", "partitioned"),
        ("public.parent (id)", "inheritance"),
        ("public.superusers (id)", "owned by the superuser"),
        ("pg_catalog.pg_class (relname)", "belongs to the system"),
        ("architect.proposal (state)", "belongs to pg_architect"),
        ("public.pg_stat_statements (calls)", "not an ordinary table"),
    ],
)
def test_tables_that_may_not_be_changed(shop_table: Connection, target: str, reason: str) -> None:
    shop_table.execute("create table if not exists public.superusers (id int)")
    assert reason in judge(shop_table, f"create index concurrently i on {target}")["reasons"][0]["detail"]


def test_a_locked_table_does_not_hold_up_the_verdict(cluster: Cluster, trapped: str, shop_table: Connection) -> None:
    with cluster.connect(trapped, autocommit=False) as other:
        other.execute('lock table "Läden"."Order" in access exclusive mode')
        shop_table.execute("set statement_timeout = '5s'")
        statement = 'create index concurrently i on "Läden"."Order" (at)'
        assert judge(shop_table, statement)["verdict"] == "needs_approval"
        assert prove(shop_table, 'select at from "Läden"."Order"').harmless
        other.rollback()
