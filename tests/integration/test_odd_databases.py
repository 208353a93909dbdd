"""Odd databases: nothing to see, nothing to see it with, odd names and objects. Always a plain report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support import people
from support.cluster import Cluster, install_extensions
from support.people import APP, Connection, refused


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        people.make_table(connection)
        yield connection


def dry_run(connection: Connection, **arguments: Any) -> list[str]:
    """What a dry run says."""
    told: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        told.append(str(diagnostic.message_primary))

    connection.add_notice_handler(note)
    given = ", ".join(f"{name} => {value}" for name, value in arguments.items())
    connection.execute(f"call architect.sp_autonomous_improvement({given})".encode())
    connection.remove_notice_handler(note)
    return told


def health(connection: Connection, component: str) -> tuple[str, str]:
    row = connection.execute(
        "select status, coalesce(remedy, '') from architect.check_health() where component = %s", (component,)
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_an_empty_workload(superuser: Connection) -> None:
    superuser.execute("select pg_stat_statements_reset()")
    superuser.execute("set pg_stat_statements.track = none")
    told = dry_run(superuser)
    assert any("nothing to do" in line for line in told), told
    row = superuser.execute("select status, next_step from architect.runs").fetchone()
    assert row is not None
    assert row[0] == "completed"
    assert "nothing to do" in row[1]


def test_without_pg_stat_statements(superuser: Connection) -> None:
    superuser.execute("drop extension pg_stat_statements")
    refused(superuser, "call architect.sp_autonomous_improvement()", "55000", "pg_stat_statements is not installed")
    assert superuser.execute("select status from architect.runs").fetchall() == [("failed",)]
    assert health(superuser, "pg_stat_statements") == ("critical", "create extension pg_stat_statements;")
    superuser.execute(health(superuser, "pg_stat_statements")[1].encode())
    assert health(superuser, "pg_stat_statements")[0] == "ok"
    dry_run(superuser)


def test_without_hypopg(superuser: Connection) -> None:
    """Proposed without a prediction, and it says why there is none."""
    superuser.execute("drop extension if exists hypopg")
    superuser.execute(
        "insert into app.thing select i, i, 'x' from generate_series(10000, 60000) as i; analyze app.thing"
    )
    slow_query(superuser, "select * from app.thing where a = 5", times=20)
    dry_run(superuser)
    row = superuser.execute("select predicted_reduction_percent, predicted_how from architect.proposals").fetchone()
    assert row is not None
    assert row[0] is None
    assert "hypopg" in row[1].lower()
    status, remedy = health(superuser, "hypopg")
    assert status == "warning"
    if remedy.startswith("create"):
        superuser.execute(remedy.encode())
        assert health(superuser, "hypopg")[0] == "ok"


def test_not_preloaded(cluster_factory: Any) -> None:
    bare = cluster_factory(conf={"shared_preload_libraries": "''"})
    with bare.connect() as connection:
        connection.execute("create extension pg_architect cascade; create extension pg_stat_statements")
        refused(connection, "call architect.sp_autonomous_improvement()", "55000", "pg_stat_statements is not loaded")
        status, remedy = health(connection, "pg_stat_statements")
        assert status == "critical"
        connection.execute(remedy.partition(";")[0].encode())
        row = connection.execute("select setting from pg_file_settings where name = 'shared_preload_libraries'")
        assert ("pg_stat_statements",) in row.fetchall()
    bare.remove()


def slow_query(connection: Connection, *texts: str, times: int = 5) -> None:
    connection.execute("select pg_stat_statements_reset()")
    for text in texts:
        for _ in range(times):
            connection.execute(text.encode())


FOREIGN = """create extension file_fdw;
create server s foreign data wrapper file_fdw;
create foreign table app.far (a int) server s options (filename '/dev/null')"""
WIDE = """do $$ begin
  execute format('create table app.wide (%s)',
                 (select string_agg('c' || i || ' int', ', ') from generate_series(1, 1500) i));
end $$"""
ODD = {
    # prepared by; statements; what happens before the run; words in a reason, or None where it can be planned
    "dropped table": (
        "create table app.gone (a int)",
        "select * from app.gone where a = 1",
        "drop table app.gone",
        "does not exist",
    ),
    "temporary table": ("create temp table fleeting (a int)", "select * from fleeting where a = 1", "", "temporary"),
    "foreign table": (
        FOREIGN,
        "select * from app.far where a = 1",
        "",
        "foreign",
    ),
    "partitioned table": (
        "create table app.all (a int, b int) partition by list (a); create table app.part partition of app.all default",
        "select * from app.all where b = 1",
        "",
        "partition",
    ),
    "view": ("create view app.seen as select a from app.thing", "select * from app.seen where a = 1", "", "view"),
    "materialized view": (
        "create materialized view app.kept as select a from app.thing",
        "select * from app.kept where a = 1",
        "",
        "",
    ),
    "user code": (
        "create function app.f(int) returns int language sql immutable as 'select $1'",
        "select * from app.thing where a = app.f(1)",
        "",
        "not built in",
    ),
    "system catalogue": ("", "select * from pg_class where relname = 'x'", "", ""),
    "renamed table": (
        "create table app.before (a int)",
        "select * from app.before where a = 1",
        "alter table app.before rename to after",
        "does not exist",
    ),
    "renamed column": (
        "create table app.cols (a int)",
        "select * from app.cols where a = 1",
        "alter table app.cols rename a to z",
        "",
    ),
    "never analysed": (
        "create table app.fresh as select i as a from generate_series(1, 500) i",
        "select * from app.fresh where a = 1",
        "",
        "",
    ),
    "empty table": ("create table app.void (a int)", "select * from app.void where a = 1", "", ""),
    "very wide": (
        WIDE,
        "select * from app.wide where c1 = 1 and c1500 = 2",
        "",
        "",
    ),
    "no table": ("", "select 1 + 1", "", ""),
    "role that is gone": (
        "create role t_gone login; grant usage on schema app to t_gone; grant select on app.thing to t_gone",
        "set role t_gone; select * from app.thing where b = 'x'; reset role",
        "drop owned by t_gone; drop role t_gone",
        "",
    ),
}


@pytest.mark.parametrize("what", sorted(ODD))
def test_odd_statements_are_reported(superuser: Connection, what: str) -> None:
    """Each alone in a dry run: never an error, and a reason in words where it is not planned."""
    prepare, statement, then, words = ODD[what]
    superuser.execute("select architect.set_setting('min_share', '0')")
    if prepare:
        superuser.execute(prepare.encode())
    slow_query(superuser, *statement.split("; "))
    if then:
        superuser.execute(then.encode())
    told = dry_run(superuser)
    assert told[-1].startswith("next step:")
    row = superuser.execute("select status, error from architect.runs").fetchone()
    assert row == ("completed", None)
    reasons = superuser.execute(
        "select string_agg(unplannable_reason, '; ') from architect.top_queries where is_plannable is not true"
    ).fetchone()
    assert reasons is not None
    if words:
        assert words in str(reasons[0]), reasons


def test_names_that_need_quotes(cluster: Cluster, database: str, superuser: Connection) -> None:
    """From the captured text to a proposal whose statement the server accepts as it is."""
    table = '"Ä schema"."Grüße ""x"""'
    superuser.execute(f"""
        create schema "Ä schema" authorization {APP};
        create table {table} ("größe" int, "select" text);
        insert into {table} select i, 'x' || i from generate_series(1, 50000) as i;
        alter table {table} owner to {APP};
        analyze {table};
        select pg_stat_statements_reset();
    """)
    indexes = "select count(*) from pg_index where indrelid = to_regclass(%s)"
    for number in range(30):
        superuser.execute(f"""select * from {table} where "größe" = {number}""".encode())
    told = dry_run(superuser)
    rows = superuser.execute("select apply_sql, revert_sql, title, state from architect.proposals").fetchall()
    assert len(rows) == 1, told
    apply_sql, revert_sql, title, state = rows[0]
    assert "größe" in title
    assert state == "proposed"
    superuser.execute(apply_sql.encode())
    assert superuser.execute(indexes, (table,)).fetchone() == (1,)
    superuser.execute(revert_sql.encode())
    assert superuser.execute(indexes, (table,)).fetchone() == (0,)


def test_other_encodings(cluster_factory: Any) -> None:
    """Names outside ASCII in a database that is not UTF8, and what cannot be read in any."""
    text = 'create table "größe" as select i as "größe" from generate_series(1, 20000) as i; analyze'
    query = 'select * from "größe" where "größe" = 5'
    server = cluster_factory()
    with server.connect() as connection:
        for encoding in ("LATIN1", "EUC_JP", "SQL_ASCII", "UTF8"):
            connection.execute(f"create database in_{encoding} encoding '{encoding}' locale 'C' template template0")
    for name in ("in_latin1", "in_euc_jp", "in_utf8"):
        with server.connect(name, client_encoding="UTF8") as connection:
            install_extensions(connection)
            connection.execute(text.encode())
            slow_query(connection, query)
            dry_run(connection)
            warned = connection.execute("select from architect.check_health() where component = 'encoding'").fetchall()
            assert len(warned) == (name != "in_utf8")
            assert connection.execute(
                "select relation_names[1] from architect.statement where kind = 'select' and relation_names[1] ~ 'gr'"
            ).fetchone() == ('public."größe"',)
    # A database without an encoding holds bytes that are no text; pg_stat_statements then fails in all others.
    with server.connect("in_sql_ascii", client_encoding="SQL_ASCII") as connection:
        connection.execute(text.encode("latin-1"))
        connection.execute(query.encode("latin-1"))
    with server.connect() as connection:  # what it left behind stays
        connection.execute("drop database in_sql_ascii")
    with server.connect("in_utf8") as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("call architect.sp_autonomous_improvement()")
        assert caught.value.sqlstate == "55000"
        _, _, remedy = (caught.value.diag.message_hint or "").partition(": ")
        connection.execute(remedy.encode())
        dry_run(connection)
    server.remove()
