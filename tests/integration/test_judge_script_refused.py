"""What is refused, and what that leaves known: later statements are judged as if nothing had been lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster
from support.traps import Connection

TABLES = """
create table public.big (id bigint primary key, status text not null, total numeric);
insert into public.big select i, 'new', i from generate_series(1, 100000) as i;
create table public.small (id int primary key, big_id bigint references public.big);
create type public.order_status as enum ('new', 'paid');
create type public.colour as enum ('red');
create table public.logged (id int primary key);
create function public.log() returns trigger language plpgsql as 'begin return new; end';
create trigger log before insert on public.logged for each row execute function public.log();
create table public.empty (id int);
create role script_app;
analyze public.big, public.small;
select architect.set_setting('scan_mb_per_second', '1');
select architect.set_setting('max_blocked_seconds', '1');
"""
DEPENDS = "depends-on-earlier-statement"


@pytest.fixture
def admin(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        connection.execute("drop role if exists script_app")
        connection.execute(TABLES)
        yield connection
        connection.execute("drop owned by script_app; drop role script_app")


def judge(connection: Connection, script: str, single: bool = False) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("select * from architect.judge_script(%s, %s)", (script, single)).fetchall()


def rules(row: dict[str, Any]) -> set[str]:
    return {reason["rule"] for reason in row["reasons"]}


# Nothing that these change is asked about LATER.
EARLIER = """
grant select on big to script_app
revoke select on big from script_app
grant usage on schema public to script_app
alter default privileges in schema public grant select on tables to script_app
create function f(a int) returns int language sql as 'select 1'
create or replace procedure p() language sql as 'select 1'
create trigger log before insert on small for each row execute function log()
drop trigger log on logged
create policy mine on small using (id > 0)
alter policy mine on small using (id > 1)
drop policy mine on small
alter table small enable row level security
insert into small (id, big_id) values (7, 1), (8, default)
insert into small select id, id from big where status like 'n%' on conflict (id) do nothing
update small set big_id = coalesce(big_id, 0) + 1 where id > 5
delete from small where id in (select id::int from big)
truncate small
comment on function log() is 'x'
comment on trigger log on logged is 'x'
create index concurrently big_total on big (total)
create index s_again on small (id)
create table big (a int)
drop table missing
alter table big drop column missing
create schema s9
create type kind as enum ('a')
alter type order_status add value 'gone'
set lock_timeout = '1s'
\\set ON_ERROR_STOP on
\\echo hello
""".strip().splitlines()
LATER = """
alter table big add column note text
create index concurrently late on big (status)
alter table big add constraint positive check (total > 0) not valid
create table fresh (id bigint primary key, note text)
alter table small alter big_id set default 3
create type mood as enum ('calm')
alter table big add column shade colour
""".strip().splitlines()


@pytest.mark.parametrize("earlier", EARLIER)
def test_what_changes_nothing_that_is_asked_later_hides_nothing(admin: Connection, earlier: str) -> None:
    later = [text for text in LATER if not (earlier.startswith("create index s_again") and "small" in text)]
    end = "\n" if earlier.startswith("\\") else ";\n"
    rows = judge(admin, earlier + end + ";\n".join(later))
    assert len(rows) == 1 + len(later)
    for row in rows[1:]:
        assert DEPENDS not in rules(row), (row["statement"], row["reasons"])


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("create function lower(a big) returns text language sql as 'select 1'",
         "create index concurrently i on big (lower(status))"),
        ("create function f(a int) returns int language sql as 'select 1'", "select f(id) from small"),
        ("create procedure p() language sql as 'select 1'", "select p()"),
        ("create function f(a int) returns int language sql as 'select 1'", "drop table small"),
        ("create trigger log before insert on small for each row execute function log()",
         "alter table small drop column big_id"),
        ("create policy mine on small using (id > log())", "select id from small"),
        ("insert into logged values (1)", "alter table big add column note text"),
        ("insert into small select log()", "alter table big add column note text"),
        ("select set_config('search_path', 'x', false)", "alter table big add column note text"),
        ("with x as (select 1) select * into other from x", "alter table big add column note text"),
        ("copy small from stdin", "alter table big add column note text"),
        ("copy (select 1) to program 'x'", "alter table big add column note text"),
        ("call p()", "alter table big add column note text"),
        ("do $$ begin end $$", "alter table big add column note text"),
        ("create extension citext", "alter table big add column note text"),
        ("\\i other.sql\n", "alter table big add column note text"),
        ("\\echo `psql -c x`\n", "alter table big add column note text"),
        ("nonsense", "alter table big add column note text"),
        ("alter type order_status add value 'gone'", "alter type order_status add value 'late'"),
        ("alter type order_status rename value 'new' to 'fresh'", "alter table big add column s order_status"),
        ("insert into empty values (1)", "alter table empty add constraint c check (id > 0)"),
    ],
)  # fmt: skip
def test_what_may_change_what_is_asked_later_does(admin: Connection, earlier: str, later: str) -> None:
    row = judge(admin, f"{earlier}{'' if earlier.endswith(chr(10)) else ';'} {later}")[-1]
    assert row["statement"] == later
    assert row["verdict"] != "allow", row["reasons"]


def test_a_new_table_that_was_filled_is_not_empty_any_more(admin: Connection) -> None:
    make = "create table t (id bigint primary key, note text);"
    build = "create index t_note on t (note)"
    assert judge(admin, make + build)[1]["verdict"] == "allow"
    row = judge(admin, f"{make} insert into t select id, status from big; {build}")[2]
    assert row["verdict"] != "allow"
    assert "index-not-concurrent" in rules(row), row["reasons"]


def test_a_failing_statement_ends_its_transaction(admin: Connection) -> None:
    """What was made in it before is not there afterwards."""
    rows = judge(admin, "begin; create table t (id int); drop table missing; commit; create index i on t (id)")
    assert DEPENDS in rules(rows[4])
    rows = judge(admin, "drop table missing; create table t (id int)", single=True)
    assert DEPENDS not in rules(rows[1])


def test_what_is_refused_is_locked_all_the_same(admin: Connection) -> None:
    script = "begin; truncate small; create unique index u on big (total); commit"
    assert "several-locks-in-transaction" in rules(judge(admin, script)[2])


def test_messages_name_lines(admin: Connection) -> None:
    rows = judge(admin, "\n\nnonsense;\nalter table big add column a text")
    assert "the statement of line 3 cannot be followed" in str(rows[1]["reasons"])
    rows = judge(admin, "create view v as select id from big;\n\nalter table big drop column total")
    wanted = "which views or constraints depend on it is not known after the statement of line 1"
    assert wanted in str(rows[1]["reasons"])
    rows = judge(admin, "\nbegin;\nbegin;\ncommit")
    assert "line 2" in rows[1]["reasons"][0]["detail"]


@pytest.mark.parametrize("text", ["\\i other.sql", "\\copy small from 'x'", "select 1 \\gexec"])
def test_commands_of_psql(admin: Connection, text: str) -> None:
    row = judge(admin, f"{text}\n; select 1")[0]
    assert "commands of psql are not SQL" in row["reasons"][0]["detail"]
    assert rules(row) == {"not-understood"}


def test_several_scripts_in_order(admin: Connection) -> None:
    script = (
        "-- architect: script 301.sql\nbegin;\ncreate table t (id int);\ncommit;\nset lock_timeout = '2s';\n"
        "-- architect: script 302.sql\n\ncreate index i on t (id);\nnonsense;\n"
        "-- architect: script 303.sql\nalter table small add column x int"
    )
    rows = judge(admin, script)
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 2, 3, 1]
    assert rows[4]["verdict"] == "allow"
    assert "lock-queue" in rules(rows[6])  # a session of its own
    assert "the statement of line 3 of 302.sql cannot be followed" in str(rows[6]["reasons"])
    script = "-- architect: script a\nbegin;\ncreate table t (id int)\n-- architect: script b\ncommit"
    rows = judge(admin, script)
    assert "uncommitted-transaction" in rules(rows[0])
    assert "nested-transaction-control" in rules(rows[2])
