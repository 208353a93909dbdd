"""What the server would refuse is refused before it is tried, and what only looks like it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety import parse, readers
from pg_architect.safety.context import Context
from pg_architect.safety.operation import Operation
from support.cluster import Cluster
from support.traps import Connection

TABLES = """
create type public.mood as enum ('calm', 'wild');
create table public.orders (
    id bigint primary key, ordered_at timestamptz, placed_at timestamp, day date, name varchar(20), a text, b text,
    total numeric, quantity int, mood public.mood, data jsonb, code int not null, tags text[],
    label varchar(10), twice int generated always as (code * 2) stored, number int generated always as identity,
    parent_id bigint references public.orders
);
create table public.customers (id int primary key, email varchar(50) not null, nick text, late int,
    unique (email), unique (late) deferrable);
create unique index customers_partial on public.customers (nick) where nick > '';
create unique index customers_lower on public.customers (lower(nick));
create unique index customers_pair on public.customers (id, email) include (late);
create index orders_name on public.orders (name);
create index orders_expression on public.orders (lower(name));
create index orders_part on public.orders (a) where b = 'x';
create index orders_check on public.orders (total, quantity);
alter table public.orders add constraint positive check (quantity > 0);
create statistics public.orders_stats on a, b from public.orders;
create table public.items (order_id bigint references public.orders, customer int);
create view public.seen as select id, total, a from public.orders;
create table public.guarded (id int, tenant text);
create policy own on public.guarded using (tenant = current_user);
create function public.sum_of() returns numeric language sql begin atomic select sum(quantity) from public.orders; end;
create table public.plain (id int not null, note text, at timestamptz not null default now());
create unlogged table public.scratch (id int primary key);
create table public.parts (at timestamptz not null, region text, n int, primary key (at, n)) partition by range (at);
create table public.parts_1 partition of public.parts for values from ('2025-01-01Z') to ('2026-01-01Z');
create table public.parts_rest partition of public.parts default;
insert into public.parts values ('2024-01-01Z', 'x', 1);
create table public.regions (region text, n int) partition by list (region);
create table public.hashed (n int) partition by hash (n);
create table public.good (at timestamptz not null, region text, n int not null);
create table public.missing (at timestamptz not null, n int not null);
create table public.extra (at timestamptz not null, region text, n int not null, more int);
create table public.other_type (at timestamptz not null, region text, n bigint not null);
create table public.nullable (at timestamptz, region text, n int not null);
create sequence public.counter minvalue 5 maxvalue 10;
"""

DATA = Path(__file__).parents[1] / "data"
# The server refuses each of them.
FAILS = (DATA / "certain_fails.txt").read_text()
# The server takes each of them, and they are not refused.
WORKS = (DATA / "certain_works.txt").read_text()
# The server takes them silently, and does nothing.
HIDES = (DATA / "certain_hides.txt").read_text()


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.fixture(scope="module")
def admin(cluster: Cluster) -> Iterator[Connection]:
    with cluster.database() as name, cluster.connect(name) as connection:
        connection.execute(TABLES)
        connection.execute("analyze")
        yield connection


def judge(connection: Connection, statement: str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute("select * from architect.judge_statement(%s)", (statement,)).fetchall()
    return row


def run(connection: Connection, *statements: str) -> None:
    """Each in a transaction that is rolled back."""
    connection.execute("begin")
    try:
        for statement in statements:
            connection.execute(re.sub("(?i) concurrently", "", statement))  # type: ignore[call-overload]
    finally:
        connection.execute("rollback")


def rules(row: dict[str, Any]) -> dict[str, str]:
    return {reason["rule"]: reason["detail"] for reason in row["reasons"]}


@pytest.mark.parametrize("statement", lines(FAILS))
def test_what_the_server_refuses(admin: Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error):
        run(admin, statement)
    row = judge(admin, statement)
    assert row["verdict"] == "refuse", rules(row)
    assert rules(row).keys() & {"certain-to-fail", "exists", "name-taken", "foreign-code"}, rules(row)


@pytest.mark.parametrize("statement", lines(WORKS))
def test_what_the_server_takes(admin: Connection, statement: str) -> None:
    run(admin, statement)
    row = judge(admin, statement)
    assert row["verdict"] != "refuse", rules(row)
    run(admin, row["apply_sql"])


@pytest.mark.parametrize("statement", lines(HIDES))
def test_what_if_not_exists_hides(admin: Connection, statement: str) -> None:
    run(admin, statement)
    assert rules(judge(admin, statement)).keys() & {"if-not-exists-hides"}, rules(judge(admin, statement))


@pytest.mark.parametrize(
    "keys",
    [
        "lower(name)",
        "(a || b)",
        "a, lower(name)",
        "a, b) include (total",
        "lower(a), lower(b)",
        "(data ->> 'x')",
        "((data ->> 'x')::int)",
        "(total::int)",
        "coalesce(a, b)",
        "(case when a is null then b else a end)",
        "date_trunc('day', placed_at), extract(year from placed_at)",
        "(ordered_at at time zone 'UTC')",
        "id, ordered_at, placed_at, quantity, lower(name), upper(name), length(a), code, label, day",
        "nullif(a, b), greatest(a, b), least(a, b)",
        '(a collate "C")',
    ],
)
def test_the_name_that_the_server_gives(admin: Connection, keys: str) -> None:
    statement = f"create index on orders ({keys})"
    admin.execute("begin")
    try:
        for _ in range(2):
            name = predicted_name(admin, statement)
            admin.execute(statement)  # type: ignore[call-overload]
            found = admin.execute("select relname from pg_class order by oid desc limit 1").fetchone()
            assert found == (name,)
            admin.execute(f'drop index public."{name}"')  # type: ignore[call-overload]
            admin.execute(f'create table public."{name}" ()')  # type: ignore[call-overload]
    finally:
        admin.execute("rollback")


def predicted_name(connection: Connection, statement: str) -> str:
    row = judge(connection, statement)
    name = str(row["objects"]["index_name"])
    assert row["revert_sql"].lower().endswith(f"public.{name}")
    return name


def read(connection: Connection, statement: str) -> Operation:
    tree = parse.parse_one(statement)
    (operation,) = readers.reader(tree)(tree, Context.of(PsycopgDatabase(connection)))
    return operation


def test_what_goes_with_a_column_is_told(admin: Connection) -> None:
    gone = read(admin, "alter table orders drop column b").facts["goes_too"]
    assert gone == ["index orders_part", "statistics object orders_stats"]
    gone = read(admin, "alter table orders drop column parent_id").facts["goes_too"]
    assert gone == ["constraint orders_parent_id_fkey on table orders"]
    assert read(admin, "alter table orders drop column number").facts["goes_too"] == ["sequence orders_number_seq"]
    assert read(admin, "alter table orders drop column data").facts["goes_too"] == []


def test_rows_of_the_default_partition_may_be_in_the_way(admin: Connection) -> None:
    bound = "for values from ('2027-01-01') to ('2028-01-01')"
    assert read(admin, f"create table p partition of parts {bound}").facts["may_fail"]
    assert read(admin, f"alter table parts attach partition good {bound}").facts["may_fail"]
    assert not read(admin, "create table p partition of regions for values in ('a')").facts["may_fail"]


def test_a_script_is_told_too(admin: Connection) -> None:
    script = """
        create table public.made (id int primary key, name text, pair int, at timestamptz,
            unique (name) include (pair));
        create table public.refers (made_id int references made, name varchar(5));
        alter table public.refers add foreign key (name) references made (name);
        alter table public.refers add foreign key (made_id) references made (pair);
        alter table public.made add primary key (name);
        create index on public.made ((at::date));
        create index on public.made (lower(name));
        alter table public.made add column x int default 'x'"""
    with admin.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("select * from architect.judge_script(%s)", (script,)).fetchall()
    assert [row["verdict"] for row in rows[:3]] == ["allow"] * 3, [row["reasons"] for row in rows]
    for number in (3, 4, 5, 7):
        assert rules(rows[number]).keys() & {"certain-to-fail"}, rows[number]["reasons"]
    assert "certain-to-fail" not in rules(rows[6])
