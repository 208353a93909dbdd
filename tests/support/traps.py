"""A database full of traps, and what an attacker would have planned there.

Every trap is a function marked immutable that draws from a sequence, which no rollback takes back.
"""

from __future__ import annotations

from typing import Any

import psycopg

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety.harmless import Proof, prove_harmless

Connection = psycopg.Connection[Any]

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
    "select 'x'::text || mood from plain",
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
    "select name || ' ' || calm || id || row (id, day) from plain where name like '%' || 'n1' || '%'",
]


def traces(connection: Connection) -> int:
    row = connection.execute("select case when is_called then last_value else 0 end from public.traces").fetchone()
    assert row is not None
    return int(row[0])


def prove(connection: Connection, statement: str, role: str = EVE) -> Proof:
    return prove_harmless(PsycopgDatabase(connection), statement, role)
