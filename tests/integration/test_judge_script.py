"""Scripts against a real catalogue: what earlier statements of a script do is seen by later ones."""

from __future__ import annotations

import random
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
create view public.seen as select id from public.small;
analyze public.big, public.small;
select architect.set_setting('scan_mb_per_second', '1');
select architect.set_setting('max_blocked_seconds', '1');
"""
ADD_CHECK = "alter table big add constraint c check (total > 0) not valid"


@pytest.fixture
def admin(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        connection.execute(TABLES)
        yield connection


def judge(connection: Connection, script: str | None, single: bool = False) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("select * from architect.judge_script(%s, %s)", (script, single)).fetchall()


def verdicts(connection: Connection, script: str, single: bool = False) -> list[str]:
    return [row["verdict"] for row in judge(connection, script, single)]


def rules(row: dict[str, Any]) -> set[str]:
    return {reason["rule"] for reason in row["reasons"]}


def test_a_statement_alone_is_judged_as_by_judge_statement(admin: Connection) -> None:
    for text in ("drop table big", "create index on big (total)", "select 1", "nonsense", "alter table big add x int"):
        (row,) = judge(admin, text)
        with admin.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            alone = cursor.execute("select * from architect.judge_statement(%s)", (text,)).fetchone()
        assert alone is not None
        assert {"number", "line", "statement"} == row.keys() - alone.keys()
        assert (row["number"], row["line"], row["statement"]) == (1, 1, text)
        assert {key: row[key] for key in alone} == alone


def test_no_statement(admin: Connection) -> None:
    for script in ("", "  -- nothing\n;"):
        (row,) = judge(admin, script)
        assert (row["verdict"], row["kind"], row["reasons"], row["apply_sql"]) == ("allow", "nothing", [], None)
    (row,) = judge(admin, None)
    assert (row["verdict"], row["reasons"][0]["rule"]) == ("refuse", "one-statement")


def test_too_much(admin: Connection) -> None:
    for script in ("select 1;" * 1001, "-" * (1024 * 1024 + 1)):
        (row,) = judge(admin, script)
        assert (row["verdict"], row["reasons"][0]["rule"]) == ("refuse", "script")


def test_what_is_made_is_there(admin: Connection) -> None:
    script = """
        create schema app;
        create type app.mood as enum ('calm');
        create table app.t (id bigint generated always as identity primary key, name text not null unique,
            mood app.mood, big_id bigint references public.big, check (id > 0));
        create index on app.t (big_id);
        create index t_mood on app.t (mood);
        alter table app.t add column extra int not null;
        alter table app.t alter extra set default 5;
        alter table app.t add constraint extra_positive check (extra > 0);
        alter table app.t rename column extra to more;
        create unique index concurrently t_more on app.t (more);
        comment on table app.t is 'made here';
        comment on column app.t.more is 'renamed here';
        alter type app.mood add value 'wild';
        alter table app.t drop column more;
        alter table app.t rename to u"""
    rows = judge(admin, script)
    wrong = [(row["statement"], row["reasons"]) for row in rows if row["verdict"] == "refuse"]
    assert wrong == []
    by_verdict = {row["kind"]: row["verdict"] for row in rows}
    assert by_verdict["create_table"] == "allow"
    assert by_verdict["create_index"] == "allow"
    assert by_verdict["add_column"] == "allow", rows[9]["reasons"]
    assert by_verdict["rename_table"] == "allow", str(rows[-2]["reasons"])
    assert str(1 << 33)[:6] not in str([row["objects"] for row in rows])


def test_what_was_made_twice_or_is_gone(admin: Connection) -> None:
    script = """
        create table t (a int); create table t (b int);"""
    assert [row["reasons"][-1]["rule"] for row in judge(admin, script)][1] == "name-taken"
    script = "alter table small rename to smaller; alter table small add x int"
    assert rules(judge(admin, script)[1]) == {"exists"}
    script = "alter table small rename column big_id to b; create index on small (big_id)"
    assert rules(judge(admin, script)[1]) == {"exists"}
    script = "create index i on small (big_id); create index i on big (total)"
    assert rules(judge(admin, script)[1]) == {"name-taken"}
    script = "create index concurrently i on small (big_id); create index concurrently j on small (big_id)"
    assert rules(judge(admin, script)[1]) == {"duplicate-index"}
    script = "alter table small drop constraint small_big_id_fkey; alter table small drop constraint small_big_id_fkey"
    assert rules(judge(admin, script)[1]) == {"exists"}


def test_the_safe_way_to_not_null_is_understood(admin: Connection) -> None:
    admin.execute("alter table big add note text default 'x'")
    script = """
        set lock_timeout = '2s';
        alter table big add constraint there check (note is not null) not valid;
        alter table big validate constraint there;
        alter table big alter note set not null;"""
    rows = judge(admin, script)
    assert [row["verdict"] for row in rows] == ["allow", "allow", "allow", "allow"]
    assert not rows[3]["scans"]
    assert verdicts(admin, "alter table big alter note set not null") == ["refuse"]
    # and what the gate expects comes true
    for row in rows:
        admin.execute(row["apply_sql"])


def test_statements_of_which_too_little_is_known_are_not_allowed(admin: Connection) -> None:
    for earlier in (
        "create table copy as select * from big",
        "create table copy (like big including all)",
        "do $$ begin end $$",
        "insert into small values (1)",
        "nonsense",
    ):
        rows = judge(admin, f"{earlier}; alter table copy add x int; drop table copy")
        assert all(row["verdict"] != "allow" for row in rows[1:]), earlier
    script = "alter table big rename to huge; create view v as select id from huge; select * from v"
    for row in judge(admin, script)[1:]:
        assert "depends-on-earlier-statement" in rules(row)
        assert row["verdict"] == "needs_approval"


def test_what_would_be_refused_now_stays_refused(admin: Connection) -> None:
    """Not knowing what an earlier statement did is no way around a refusal."""
    for earlier in (
        "create view v as select id from big",
        "alter table big drop column total",
        "alter table small drop constraint small_big_id_fkey",
        "alter table big rename to huge",
        "drop view seen",
        "create table t as select 1 as a",
        "alter table small set (fillfactor = 50)",
        "nonsense",
    ):
        assert verdicts(admin, f"{earlier}; drop table big")[-1] == "refuse", earlier
        assert verdicts(admin, f"{earlier}; create index on big (id, status)")[-1] == "refuse", earlier


@pytest.mark.parametrize(
    ("script", "number", "rule", "verdict"),
    [
        ("begin; create index concurrently i on big (total); commit", 2, "concurrent-in-transaction", "refuse"),
        ("begin; vacuum big; commit", 2, "concurrent-in-transaction", "refuse"),
        ("begin; select 1; begin; commit", 3, "nested-transaction-control", "needs_approval"),
        ("commit", 1, "nested-transaction-control", "needs_approval"),
        ("begin; select 1; rollback", 3, "nested-transaction-control", "refuse"),
        ("begin; savepoint a; commit", 2, "nested-transaction-control", "refuse"),
        ("begin; select 1", 1, "uncommitted-transaction", "refuse"),
        (
            f"begin; {ADD_CHECK}; alter table big validate constraint c; commit",
            3, "validate-in-same-transaction", "refuse",
        ),
        (
            "begin; alter table small add x int; create unique index on big (total); commit",
            3, "several-locks-in-transaction", "refuse",
        ),
        (
            f"begin; {ADD_CHECK}; alter table small add x int; commit", 3, "several-locks-in-transaction", "allow",
        ),
    ],
)  # fmt: skip
def test_transactions(admin: Connection, script: str, number: int, rule: str, verdict: str) -> None:
    row = judge(admin, script)[number - 1]
    assert rule in rules(row), row["reasons"]
    assert row["verdict"] == verdict


def test_a_referenced_table_is_still_known(admin: Connection) -> None:
    script = """
        create table t (id bigint primary key, big_id bigint references big, other bigint);
        alter table big add constraint c check (total > 0) not valid;
        alter table t add constraint f foreign key (other) references big (id) not valid;
        alter table big add column note text;
        alter table big drop constraint big_pkey"""
    rows = judge(admin, script)
    assert [row["verdict"] for row in rows[:4]] == ["allow"] * 4, [row["reasons"] for row in rows]
    assert rules(rows[4]) == {"certain-to-fail"}
    assert "foreign keys" in str(rows[4]["reasons"])


def test_two_transactions_are_not_one(admin: Connection) -> None:
    script = """
        begin; alter table big add constraint c check (total > 0) not valid; commit;
        alter table big validate constraint c;"""
    assert verdicts(admin, script) == ["allow"] * 4


def test_a_script_that_runs_as_one_transaction(admin: Connection) -> None:
    script = "create index concurrently i on big (total)"
    assert verdicts(admin, script) == ["allow"]
    (row,) = judge(admin, script, single=True)
    assert (row["verdict"], rules(row) & {"concurrent-in-transaction"}) == ("refuse", {"concurrent-in-transaction"})


def test_a_new_value_is_not_used_before_it_is_committed(admin: Connection) -> None:
    admin.execute("create type mood as enum ('calm'); create table felt (m mood)")
    script = "begin; alter type mood add value 'wild'; alter table felt alter m set default 'wild'; commit"
    rows = judge(admin, script)
    assert "enum-in-transaction" in rules(rows[2])
    assert rows[2]["verdict"] != "allow"


def test_timeouts(admin: Connection) -> None:
    script = "alter table small add x int; set lock_timeout = '2s'; alter table small add y int"
    rows = judge(admin, script)
    assert [row["kind"] for row in rows] == ["add_column", "set_timeout", "add_column"]
    assert "lock-queue" in rules(rows[0])
    assert "lock-queue" not in rules(rows[2])
    assert verdicts(admin, "set work_mem = '1GB'") == ["refuse"]


def test_nothing_is_executed(admin: Connection) -> None:
    before = admin.execute("select count(*), max(oid) from pg_class").fetchone()
    judge(admin, "create table t (a int); drop table small; set lock_timeout = '7s'; begin; create schema x; commit")
    assert admin.execute("select count(*), max(oid) from pg_class").fetchone() == before
    assert admin.execute("show lock_timeout").fetchone() == ("0",)


STATEMENTS = """
alter table big add column note text
alter table big add column flag boolean not null default false
alter table big drop column note
alter table big drop column total
alter table big rename column total to amount
alter table big rename column amount to total
alter table big alter note set default 'x'
alter table big alter note set not null
alter table big alter note drop not null
alter table big alter total type text
alter table big alter note type varchar(20)
alter table big add constraint positive check (total > 0) not valid
alter table big add constraint positive check (amount > 0)
alter table big add constraint there check (note is not null) not valid
alter table big validate constraint positive
alter table big validate constraint there
alter table big drop constraint there
alter table big rename constraint positive to above
alter table big drop constraint above
alter table big rename to huge
alter table huge rename to big
alter table small drop constraint small_big_id_fkey
alter table small add constraint small_big_id_fkey foreign key (big_id) references big not valid
alter table small validate constraint small_big_id_fkey
create index concurrently big_total on big (total)
create index big_status on big (status)
create unique index concurrently big_note on big (note)
create index concurrently big_part on big (status) where total > 5
alter table big add constraint big_note_key unique using index big_note
drop index concurrently big_total
alter index big_total rename to big_sum
create view wide as select id, status from big
drop view wide
drop view seen
drop table small
drop table big
create table t (id bigint primary key, big_id bigint references big, name varchar(9) unique)
alter table t add column mood mood
create index t_mood on t (mood)
alter table t drop constraint t_name_key
alter table t add check (id > 0)
alter table t rename to u
drop table t
create type mood as enum ('calm')
alter type mood add value 'wild'
drop type mood
create schema app
alter table t set schema app
create table app.t (a int)
drop schema app
create sequence counter
drop sequence counter
create table copy as select 1 as a
drop table copy
select id, status from big
select note from big
grant select on big to pg_monitor
insert into t (id) select 7
insert into small (id) values (nextval('counter'))
update big set status = lower(status) where id < 3
truncate small
create function spy() returns trigger language plpgsql as 'begin return new; end'
create function lower(a small) returns text language sql as 'select ''x'''
create trigger spying before insert on small for each row execute function spy()
drop trigger spying on small
create policy mine on small using (id > 0)
drop policy mine on small
alter table small enable row level security
alter table t owner to pg_monitor
create index big_status_too on big (status)
create index on big (status)
create index concurrently big_lower on big (lower(status))
alter type mood add value if not exists 'tame'
alter table big alter total set default 7
""".strip().splitlines()


@pytest.mark.parametrize("seed", range(16))
def test_the_server_agrees_with_what_is_foreseen(admin: Connection, seed: int) -> None:
    """Random scripts, executed: each statement in turn is judged again where the script says that it would stand."""
    draw = random.Random(seed)
    script: list[str] = []
    for text in draw.choices(STATEMENTS, k=60):  # those that work, in this order
        try:
            admin.execute(text, prepare=False)  # type: ignore[arg-type]
        except psycopg.Error:
            continue
        script.append(text)
    for table in ("app.t", "huge", "u", "t", "copy", "small", "big"):
        admin.execute(f"drop table if exists {table} cascade")  # type: ignore[arg-type]
    admin.execute("drop schema if exists app cascade; drop type if exists mood; drop sequence if exists counter")
    admin.execute("drop function if exists spy() cascade")
    admin.execute(TABLES)  # type: ignore[arg-type]
    for row in judge(admin, ";\n".join(script)):
        (alone,) = judge(admin, row["statement"])
        where = (row["number"], row["statement"], row["reasons"], alone["reasons"])
        # What is allowed would be allowed then, or there is nobody to be hurt but by failing.
        if row["verdict"] == "allow":
            assert alone["verdict"] != "refuse", where
        # A refusal for what is not there is true.
        if row["reasons"] and row["reasons"][0]["rule"] in ("exists", "name-taken", "duplicate-index"):
            assert alone["verdict"] == "refuse", where
        admin.execute(row["statement"], prepare=False)
