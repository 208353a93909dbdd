"""Code that somebody planted beforehand: in types, casts, checks, indexes, partition keys, operator classes, views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety import gate
from support.cluster import Cluster
from support.corpus import FOLDER, corpus_database
from support.traps import Connection

PLANTED = [json.loads(line) for line in (FOLDER / "planted.jsonl").read_text().splitlines()]

REFERRED = """
create table app.r0 (id int primary key);
create table app.p0 (id int primary key, r int references app.r0) partition by range (id);
create table app.p01 partition of app.p0 for values from (0) to (100);
create table app.q0 (id int, p int references app.p0);
create table app.pc0 (id int not null, r int);
"""
KEPT = """
create table app.kx (id int, name varchar(100), code text);
create index kx_lower on app.kx (lower(name)); create index kx_code on app.kx (code); create index kx_id on app.kx (id);
"""


@pytest.fixture(scope="module")
def corpus(cluster: Cluster) -> Iterator[str]:
    with corpus_database(cluster) as name:
        yield name


@contextmanager
def planted(cluster: Cluster, corpus: str, setup: str) -> Iterator[Connection]:
    """A superuser's session in a transaction in which the set-up has run; it is undone."""
    with cluster.connect(corpus) as connection:
        connection.execute("begin")
        for statement in filter(None, map(str.strip, [setup])):
            connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("reset role; set local search_path = pg_catalog, pg_temp")
        yield connection
        connection.execute("rollback")


def judge(cluster: Cluster, corpus: str, setup: str, statement: str) -> gate.Judgement:
    with planted(cluster, corpus, setup) as connection:
        return gate.judge(PsycopgDatabase(connection), statement)


@pytest.mark.parametrize("case", PLANTED, ids=[case["id"] for case in PLANTED])
def test_what_would_run_planted_code_is_refused(cluster: Cluster, corpus: str, case: dict[str, Any]) -> None:
    judgement = judge(cluster, corpus, case["setup"], case["sql"])
    assert judgement.verdict == "refuse", judgement.reasons
    assert judgement.reasons[0].rule not in ("judging-failed", "exists", "certain-to-fail"), judgement.reasons


@pytest.mark.parametrize(
    ("statement", "locked"),
    [
        ("create table app.p02 partition of app.p0 for values from (500) to (600)", {"app.q0", "app.r0"}),
        ("alter table app.p0 detach partition app.p01", {"app.q0", "app.r0", "app.p01"}),
        ("alter table app.p0 attach partition app.pc0 for values from (101) to (200)", {"app.q0", "app.r0", "app.pc0"}),
        ("alter table app.q0 add column pp int references app.p0", {"app.p0", "app.p01"}),
        ("create table app.nn0 (id int references app.p0)", {"app.p0", "app.p01"}),
        ("alter table app.q0 drop constraint q0_p_fkey", {"app.p0", "app.p01"}),
        ("alter table app.q0 drop column p", {"app.p0", "app.p01"}),
        ("alter table app.p0 rename column r to rr", {"app.p01"}),
    ],
)
def test_locks_on_partners_and_partitions(cluster: Cluster, corpus: str, statement: str, locked: set[str]) -> None:
    judgement = judge(cluster, corpus, REFERRED, statement)
    assert judgement.apply_sql, judgement.reasons
    strong = {name for name, lock in judgement.objects["locks"].items() if gate.locks.blocks_writes(lock)}
    assert locked <= strong


@pytest.mark.parametrize("change", ["name type varchar(200)", "name type text", "code type bpchar"])
def test_a_kept_table_whose_indexes_are_built_again(cluster: Cluster, corpus: str, change: str) -> None:
    judgement = judge(cluster, corpus, KEPT, f"alter table app.kx alter column {change}")
    assert judgement.scans


def test_a_default_that_calls_a_function_of_a_user_may_rewrite(cluster: Cluster, corpus: str) -> None:
    setup = """create function app.two() returns int language sql volatile set search_path = pg_catalog, pg_temp
        as 'select 2'"""
    judgement = judge(cluster, corpus, setup, "alter table app.events add column z int default app.two()")
    assert judgement.rewrites
    assert judgement.objects["functions"].keys() == {"app.two"}


def test_deletes_that_cascade_are_told(cluster: Cluster, corpus: str) -> None:
    statement = "alter table app.staging add foreign key (id) references app.empty_table on delete cascade not valid"
    judgement = judge(cluster, corpus, "", statement)
    assert judgement.verdict == "needs_approval"
    assert "foreign-key-action" in {one.rule for one in judgement.reasons}


def test_a_sequence_name_is_folded_as_the_server_does(cluster: Cluster, corpus: str) -> None:
    statement = "alter table app.order_items alter column line set default nextval('app.Ticket_Number')"
    judgement = judge(cluster, corpus, 'create sequence app."Ticket_Number"', statement)
    assert judgement.apply_sql is not None
    assert "app.ticket_number" in judgement.apply_sql


def chain(links: int, calls: int) -> str:
    first = "create function app.f0(x int) returns int language sql immutable return x;"
    rest = [
        f"create function app.f{n}(x int) returns int language sql immutable return "
        f"{' + '.join([f'app.f{n - 1}(x)'] * calls)};"
        for n in range(1, links)
    ]
    return first + "".join(rest)


@pytest.mark.timeout(60)
def test_a_chain_of_functions_is_looked_into_once(cluster: Cluster, corpus: str) -> None:
    statement = "create index on app.empty_table (app.f6(id))"
    assert judge(cluster, corpus, chain(7, 10), statement).verdict == "allow"


def test_no_locks_are_left(cluster: Cluster, corpus: str) -> None:
    held = """select relation::regclass::text from pg_locks where pid = pg_backend_pid() and relation >= 16384
        and relation::regclass::text like 'app.%'"""
    with cluster.connect(corpus) as connection:
        connection.execute("begin")
        for statement in ("select * from app.open_orders", "alter table app.orders drop constraint orders_total_check"):
            connection.execute("select * from architect.judge_statement(%s)", (statement,))
        assert connection.execute(held).fetchall() == []
        connection.execute("rollback")


def test_the_way_back_does_not_depend_on_the_session(cluster: Cluster, corpus: str) -> None:
    with cluster.connect(corpus) as connection:
        connection.execute("set datestyle = 'SQL, DMY'")
        statement = "alter table app.metrics detach partition app.metrics_2025"
        (row,) = connection.execute("select revert_sql from architect.judge_statement(%s)", (statement,)).fetchall()
    assert "2025-01-01" in row[0]


def test_strings_with_a_backslash_where_they_mean_something_else(cluster: Cluster, corpus: str) -> None:
    with cluster.connect(corpus) as connection:
        connection.execute("set standard_conforming_strings = off")
        text = r"comment on table app.scratch is '\'"
        (row,) = connection.execute("select verdict from architect.judge_statement(%s)", (text,)).fetchall()
        assert row[0] == "refuse"
