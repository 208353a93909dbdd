"""Proofs that look deeper, against a real server: through views, partitions, policies and functions of users.

What the first list holds runs code of a user when it is run by hand; what is proved runs none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety import deep_queries
from pg_architect.safety.catalogue import Catalogue
from pg_architect.safety.harmless import Proof, prove_harmless
from support.cluster import Cluster
from support.traps import EVE, Connection, prove, traces

DEEP = """
create function public.clean(value text) returns text language sql immutable return pg_catalog.lower(btrim(value));
create function public.twice(value text, n int default 2) returns text language sql immutable
    return repeat(public.clean(value), n);
create function public.by_default(value int default eve.evil(5)) returns int language sql immutable return value;
create function public.calls_evil(value int) returns int language sql immutable return eve.evil(value);
create function public.deeper(value int) returns int language sql immutable return public.calls_evil(value);
create function public.old(value int) returns int language sql immutable as 'select abs(value)';
create function public.many(variadic items int[]) returns int language sql immutable return items[1];
create function public.many_evil(variadic items int[]) returns int language sql immutable return eve.evil(items[1]);
create function public.any_type(value anyelement) returns anyelement language sql immutable
    set search_path = pg_catalog, pg_temp as 'select value';
create function public.over(value int) returns int language sql immutable return value;
create function public.over(value text) returns text language plpgsql immutable as
    $$begin perform nextval('public.traces'); return 'x'; end$$;
create function public.some_of(value int) returns setof int language sql immutable begin atomic select value; end;
create function public.outs(value int, out a int, out b int) language sql immutable return (value, value);
create function public.reads(value int) returns bigint language sql stable return (select count(*) from public.by_view);
create function public.definer(value int) returns int language sql immutable security definer return value;
create function public.sleeps(value int) returns text language sql return pg_catalog.pg_sleep(value)::text;
create function public.moody(value public.mood) returns int language sql immutable return 1;
create function public.both_of(value int) returns int language sql immutable return value;
create function eve.both_of(value int) returns int language sql immutable return value;
create function public.checked(value int) returns boolean language sql immutable return value > 1;
create domain public.twofold as int check (eve.evil(value) = 1);
create function public.twofold(a int, b int) returns int language sql immutable return a;
create type public.cold as enum ('yes');
create domain public.positive as int check (value > 0);
create type public.place as (city text, size public.positive);
create table public.docs (id int, body text, search tsvector, size public.positive, place public.place);
create function public.a_row(value int) returns public.docs language sql stable return null::public.docs;
create table public.texts (id int, search text);
create text search configuration public.mine (copy = pg_catalog.english);
create view public.good as select id, day from public.plain where calm = 'yes';
create view public.better as select id, count(*) as n from public.good group by id;
create view public.invoked with (security_invoker, security_barrier) as select clean(name) as name from public.plain;
create view public.series as select s.n, e.key from generate_series(1, 3) as s (n), jsonb_each('{"a": 1}') e;
create view public.over_evil as select id from public.by_view;
create view public.over_over_evil as select o.id from public.over_evil o join public.plain p on p.id = o.id;
create view public.reads_file as select pg_read_file('/etc/passwd') as x;
create view public.sleeping as select pg_sleep(1)::text as x;
create view public.evil_from as select x from eve.evil(5) as x;
create view public.evil_where as select id from public.plain where id operator(eve.=) 1;
create view public.evil_cast as select id from public.plain where lower(mood) = 'x';
create view public.evil_domain as select 5::public.dom as d;
create operator eve.< (leftarg = int, rightarg = int, function = eve.evil_eq);
create operator eve.> (leftarg = int, rightarg = int, function = eve.evil_eq);
create operator class eve.ints for type int using btree as
    operator 1 eve.<, operator 3 eve.=, operator 5 eve.>, function 1 btint4cmp(int, int);
create view public.using_operator as select id from public.plain order by id using operator(eve.<);
create table public.bad_class (id int) partition by list (id eve.ints);
create view public.locking as select id from public.plain for update;
create view public.ruled as select id from public.plain;
create rule r as on insert to public.ruled do instead nothing;
create view public.over_index as select id from public.by_expression;
create view public.searching as select id from public.docs where body @@ 'x';
create view public.with_default as select public.by_default() as x;
create view public.loop_a as select 1 as id;
create view public.loop_b as select id from public.loop_a;
create or replace view public.loop_a as select id from public.loop_b;
create view public.n1 as select 1 as id;
create view public.n2 as select id from public.n1; create view public.n3 as select id from public.n2;
create view public.n4 as select id from public.n3; create view public.n5 as select id from public.n4;
create view public.n6 as select id from public.n5; create view public.n7 as select id from public.n6;
create view public.n8 as select id from public.n7; create view public.n9 as select id from public.n8;
create materialized view public.stored as select eve.evil(5) as id; create index on public.stored (id);
create materialized view public.stored_evil as select 1 as id; create index on public.stored_evil (eve.evil(id));
create table public.parts (id int primary key, x int) partition by range (id);
create table public.parts_1 partition of public.parts for values from (0) to (10);
create table public.parts_2 partition of public.parts for values from (10) to (20) partition by hash (id);
create table public.parts_2_1 partition of public.parts_2 for values with (modulus 1, remainder 0);
create table public.bad_index (id int) partition by range (id);
create table public.bad_index_1 partition of public.bad_index for values from (0) to (10);
create table public.bad_index_2 partition of public.bad_index for values from (10) to (20) partition by list (id);
create table public.bad_index_2_1 partition of public.bad_index_2 for values in (11);
create index on public.bad_index_2_1 (eve.evil(id));
create table public.bad_key (id int) partition by list (eve.evil(id));
create table public.bad_key_1 partition of public.bad_key for values in (1);
create table public.bad_foreign (id int) partition by list (id);
create foreign data wrapper w; create server s foreign data wrapper w;
create foreign table public.bad_foreign_1 partition of public.bad_foreign for values in (1) server s;
create foreign table public.far (id int) server s;
create table public.family (id int); create table public.family_1 (x int check (x > 1)) inherits (public.family);
create table public.moods (id public.mood) partition by list (id);
create table public.good_policy (id int, owner text); alter table public.good_policy enable row level security;
create policy p on public.good_policy using (owner = current_user and public.checked(id));
create table public.sub_policy (id int); alter table public.sub_policy enable row level security;
create policy p on public.sub_policy using (exists (select from public.by_view));
create table public.write_policy (id int); alter table public.write_policy enable row level security;
create policy p on public.write_policy for insert with check (eve.evil(5) = 1);
grant select on all tables in schema public to t_eve, t_victim;
grant all on all sequences in schema public to t_eve;
"""

# Each with a part of the reason; those of the first list run the trap, or code of a user, when they are run by hand.
DEEP_EVIL = {
    "select id from over_evil": "view public.over_evil: view public.by_view: function eve.evil is written in plpgsql",
    "select id from over_over_evil": "view public.over_over_evil: view public.over_evil: view public.by_view: ",
    "with q as (select 1 from over_evil) select 1 from plain where exists (select 1 from q)": "view public.by_view",
    "select id from evil_where": "view public.evil_where: operator eve.= is not built in",
    "select x from evil_from": "function in FROM eve.evil is not built in",
    "select id from evil_cast": "view public.evil_cast: ",
    "select d from evil_domain": "domain public.dom has a check or default that calls: function eve.evil",
    "select x from with_default": "function public.by_default has a default of an argument that calls",
    "select by_default()": "has a default of an argument that calls: function eve.evil",
    "select public.by_default(1), by_default()": "has a default",
    "select calls_evil(1)": "function public.calls_evil calls: function eve.evil is written in plpgsql",
    "select deeper(1)": "function public.deeper calls: function public.calls_evil calls: function eve.evil",
    "select many_evil(1, 2)": "function public.many_evil calls: function eve.evil",
    "select public.many_evil(variadic array[1, 2])": "function public.many_evil calls: function eve.evil",
    "select over('x'::text)": "function public.over is written in plpgsql",
    "select id from plain where public.lower(name) = 'x'": "function public.lower is written in plpgsql",
    "select count(*) from bad_index where eve.evil(id) = 1": "function eve.evil is written",
    "select lower(array[calm]::calm[]::text) || moody('good'), lower('good'::mood) from plain": "has casts",
    "select public.twofold('5')": "function public.twofold may also mean a type: domain public.twofold has a check",
    "select reads(1)": "function public.reads contains a query",
}
DEEP_REFUSED = {
    "select x from reads_file": "view public.reads_file: function pg_read_file is not known to be harmless",
    "select x from sleeping": "view public.sleeping: function pg_sleep",
    "select id from using_operator": "view public.using_operator: operator eve.< is not built in",
    "select x.virtual from good x": "x.virtual may not be a column",
    "select good from good": "good may mean a whole row",
    "select id from good for update": "it locks rows",
    "select id from locking": "view public.locking: it locks rows",
    "select id from ruled": "view public.ruled has rules of its own",
    "select id from over_index": "view public.over_index: public.by_expression: index by_expression_",
    "select id from searching": "view public.searching: operator @@ is not known to be harmless",
    "select id from loop_a": "nested too deeply",
    "select id from n9": "nested too deeply",
    "select id from stored_evil": "public.stored_evil: index stored_evil_",
    "select id from bad_index": "public.bad_index: index bad_index_2_1_",
    "select id from bad_index_2": "index bad_index_2_1_",
    "select id from bad_index_2_1": "index bad_index_2_1_",
    "select id from bad_key": "public.bad_key is partitioned by an expression",
    "select id from bad_key_1 where id = 1": "public.bad_key_1: public.bad_key is partitioned by an expression",
    "select id from bad_class": "public.bad_class is partitioned by an operator class that is not built in",
    "select id from bad_foreign": "public.bad_foreign: public.bad_foreign_1 is a foreign table",
    "select id from far": "public.far is a foreign table",
    "select id from parent": "check constraint child_check depends on",
    "select 1 from moods": "partitioned by a column that is not proved",
    "select id from by_policy": "policy p of public.by_policy calls: function eve.evil",
    "select id from sub_policy": "policy p of public.sub_policy contains a query",
    "select id from write_policy": "policy p of public.write_policy calls: function eve.evil",
    "select both_of(1)": "function both_of is in eve and public: write its schema",
    "select old(1)": "names mean what the caller's search_path says",
    "select any_type(1)": "pseudo-type",
    "select over(1)": "function public.over is written in plpgsql",
    "select many(items => array[1])": "NamedArgExpr",
    "select twice('x', n => 3)": "NamedArgExpr",
    "select a_row(1)": "is the row of a table",
    "select some_of(1)": "is no plain function",
    "select outs(1)": "pseudo-type",
    "select (many(1)).a": "field of a value",
    "select a from outs(1)": "function outs in FROM is not built in",
    "select x from public.clean('a') as x": "function in FROM public.clean is not built in",
    "select definer(1)": "runs with its owner's rights",
    "select sleeps(1)": "pg_sleep",
    "select moody('good')": "has casts",
    "select eve.abs(1)": "function eve.abs is written in plpgsql",
    "select vector_dims('[1]'::vector)": "vector",
    "select * from evil(5)": "function evil in FROM is not built in",
    "select u.pg_read_file from unnest(array['/etc/passwd']) as u": "u.pg_read_file may not be a column",
    "select u.evil from unnest(array[1]) as u (x)": "u.evil may not be a column",
    "select plain from plain, generate_series(1, 2) as s": "may mean a whole row",
    "select s from generate_series(1, 2) as s where exists (select 1 from plain s)": "may mean a whole row",
    "select s.s from plain s, lateral (select 1 from generate_series(1, 2) as s) x": "may not be a column",
    "select * from rows from (generate_series(1, 2), evil(5)) as x": "in FROM in a form",
    "select a from json_to_record('{}') as x (a public.dom)": "defines the columns",
    "select * from json_populate_record(null::public.plain, '{}')": "json_populate_record is not known",
    "select x from pg_ls_dir('.') as x": "function pg_ls_dir is not known",
    "select word from ts_stat('select eve.evil(5)')": "function ts_stat is volatile",
    "select x from query_to_xml('select 1', true, true, '') as x": "query_to_xml is",
    "select x from current_date as x": "in FROM in a form",
    "select id from docs where body @@ to_tsquery('english', 'x')": "operator @@ is not known",
    "select 1 from docs where exists (select 1 from texts where search @@ 'x')": "operator @@ is not known",
    "select 1 from docs, lateral (select body as search) b where search @@ 'x'": "operator @@ is not known",
    "select 1 from docs, jsonb_each_text('{}') as e (search) where search @@ 'x'": "operator @@ is not known",
    "select 1 from (select body as search from docs) docs where docs.search @@ 'x'": "operator @@ is not known",
    "select to_tsvector(body) from docs": "function to_tsvector is not known",
    "select to_tsvector('mine', body) from docs": "function to_tsvector is not known",
    "select to_tsvector('public.mine'::regconfig, body) from docs": "function to_tsvector is not known",
    "select to_tsvector(body::regconfig, body) from docs": "function to_tsvector is not known",
    "select 'plain'::regclass": "type regclass is not known",
    "select null::public.docs": "is the row of a table",
    "select (place).city from docs": "field of a value",
}
DEEP_HARMLESS = [
    "select * from good where id = 5",
    "select n from better b where b.id = 5",
    "select name from invoked",
    "select * from series where n > 1",
    "select id from n8",
    "select id from stored where id = 1",
    "select id, x from parts where id = 5 and x > 1",
    "select id from parts_2_1 where id = 11",
    "select count(*) from partitioned",
    "select id from family where id = 1",
    "select id from good_policy where id = 5",
    "select clean(name), public.twice(name), twice(name, 3) from plain",
    "select many(1, 2), public.many(variadic array[1, 2])",
    "select checked(id) from plain where public.checked(5)",
    "select id, ts_rank(search, q) from docs, to_tsquery('english', 'a & b') as q where search @@ q",
    "select d.id from docs d where d.search @@ websearch_to_tsquery('english'::regconfig, 'x')",
    "select id from docs where to_tsvector('pg_catalog.simple', body) @@ 'x'",
    "select size, place from docs where size = 5::positive and place = row('x', 5)::public.place",
    "select 'yes'::cold, 'yes'::public.calm = calm, array['yes'::cold] from plain",
    "select s, s.s + 1 from generate_series(1, 3) as s",
    "select generate_series from generate_series(1, 3) where generate_series.generate_series > 1",
    "select t, u.tag, u.ordinality from plain, unnest(tags) as t, unnest(tags) with ordinality as u (tag, ordinality)",
    "select e.key, e.value ->> 'x', e from jsonb_each('{\"a\": {}}') as e, jsonb_array_elements('[1]') as a",
    "select a.value from jsonb_array_elements_text('[1]') as a where a <> 'x'",
    "select word from regexp_split_to_table('a b', ' ') as word order by lower(word)",
    "select s.x from (select m[1] as x from regexp_matches('ab', 'a', 'g') as m) s",
    "select x from plain p cross join lateral string_to_table(p.name, ',') as x where p.id = 1",
    "select percentile_cont(0.5) within group (order by id) from parts",
]


@pytest.fixture(scope="module")
def deep_traps(cluster: Cluster, trapped: str) -> Iterator[Connection]:
    """A superuser in the database of traps, with more of them in a transaction."""
    with cluster.connect(trapped) as connection, connection.transaction(force_rollback=True):
        connection.execute("set local search_path = pg_catalog, public, eve")
        connection.execute(DEEP)
        connection.execute("set local search_path = pg_catalog, pg_temp")
        yield connection


def prove_deep(connection: Connection, statement: str, role: str = EVE) -> Proof:
    database = PsycopgDatabase(connection)
    return prove_harmless(database, statement, role, Catalogue(database, deep=True))


@pytest.mark.parametrize("statement", DEEP_EVIL)
def test_the_deep_traps_work(deep_traps: Connection, statement: str) -> None:
    before = traces(deep_traps)
    with deep_traps.transaction(force_rollback=True):
        deep_traps.execute("set local search_path = eve, public, pg_catalog")
        deep_traps.execute("insert into public.bad_index values (11)")
        deep_traps.execute(statement)
    assert traces(deep_traps) > before


@pytest.mark.parametrize(("statement", "reason"), [*DEEP_EVIL.items(), *DEEP_REFUSED.items()])
def test_the_deep_proof_names_the_path_to_what_is_not_proved(
    deep_traps: Connection, statement: str, reason: str
) -> None:
    before = traces(deep_traps)
    proof = prove_deep(deep_traps, statement)
    assert not proof.harmless
    assert proof.qualified_text is None
    assert reason in str(proof.reason)
    row = deep_traps.execute("select reason from architect.prove_harmless(%s, %s)", (statement, EVE)).fetchone()
    assert row == (proof.reason,)
    assert not prove(deep_traps, statement).harmless
    assert traces(deep_traps) == before


@pytest.mark.parametrize("statement", DEEP_HARMLESS)
def test_what_is_proved_deeply_runs_without_a_trace(deep_traps: Connection, statement: str) -> None:
    before = traces(deep_traps)
    proof = prove_deep(deep_traps, statement)
    assert proof.harmless, proof.reason
    with deep_traps.transaction(force_rollback=True):
        deep_traps.execute("set local search_path = eve, public, pg_catalog")
        deep_traps.execute("set local standard_conforming_strings = off")
        deep_traps.execute("select public.plan_pinned(%s)", (proof.qualified_text,))
    assert traces(deep_traps) == before
    # What is planned with lent rights gets the plain proof, which knows none of this.
    assert not prove(deep_traps, statement).harmless


def test_the_tables_behind_a_view_are_told(deep_traps: Connection) -> None:
    proof = prove_deep(deep_traps, "select better.n from public.better, public.parts")
    assert [relation.name for relation in proof.relations] == ["better", "parts"]
    assert [relation.name for relation in proof.behind] == ["good", "plain"]


def test_a_deep_proof_needs_the_pinned_path(deep_traps: Connection) -> None:
    with deep_traps.transaction(force_rollback=True):
        deep_traps.execute("set local search_path = eve, pg_catalog, pg_temp")
        assert "can only be proved under search_path" in str(prove_deep(deep_traps, "select id from good").reason)


def test_casts_of_the_array_of_a_type(deep_traps: Connection) -> None:
    """The owner of an enumeration also owns its array, and may give that an implicit cast."""
    statement = "select lower(array['yes'::cold])"
    with deep_traps.transaction(force_rollback=True):
        deep_traps.execute("set local search_path = eve, public, pg_catalog")
        deep_traps.execute(
            "create function eve.cold_text(public.cold[]) returns text immutable language plpgsql as"
            " $$begin perform nextval('public.traces'); return 'x'; end$$;"
            " create cast (public.cold[] as text) with function eve.cold_text as implicit"
        )
        before = traces(deep_traps)
        deep_traps.execute(statement)
        assert traces(deep_traps) > before
        deep_traps.execute("set local search_path = pg_catalog, pg_temp")
        assert "type public.cold[] has casts" in str(prove_deep(deep_traps, statement).reason)
        assert "has casts" in str(prove_deep(deep_traps, "select '{}'::public.cold[]").reason)


def test_a_view_is_judged_by_what_is_stored_and_not_only_by_its_text(deep_traps: Connection) -> None:
    """An implicit cast is not in the text of a view, but it is among what the view depends on."""
    database = PsycopgDatabase(deep_traps)
    (view,) = database.query("select 'public.evil_cast'::regclass::oid::bigint as oid")
    assert "mood_text" not in str(database.query("select pg_get_viewdef($1::oid) as text", view["oid"]))
    (rule,) = database.query("select oid::bigint as oid from pg_rewrite where ev_class = $1::oid", view["oid"])
    uses = database.query(deep_queries.USES, "pg_catalog.pg_rewrite", rule["oid"])
    assert "function eve.mood_text(public.mood)" in [row["object"] for row in uses]
