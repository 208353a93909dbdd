"""Bad arguments and odd databases: an error that says what to do, or a plain report; the session lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support import people
from support.cluster import Cluster, install_extensions
from support.people import APP, Connection, Routine, refused

# An index like any other, whose predicate holds what would be an injection if it were pasted somewhere.
HONEST = "create index concurrently i on app.thing (a) where b = ''';drop table app.thing;--'"
HOSTILE = [
    "",
    " ",
    "'",
    "\"; drop table app.thing; --",
    "'); drop table app.thing; --",
    "$$; drop table app.thing; $$",
    "$1",
    "%s %I %L {0}",
    "\\",
    "a\nb\r\n\tc",
    "größe 表 \U0001f600 \u202e",
    "e\u0301" * 40,
    "\x01\x7f",
    "null",
    "x" * 100_000,
    "(" * 50_000,
    "create index concurrently i on app.thing (a); drop table app.thing",
    HONEST,
    "select 1; select 2",
    "-- nothing",
    "/* never closed",
]  # fmt: skip
NUMBERS = {
    "bigint": ["0", "-1", "9223372036854775807", "-9223372036854775808"],
    "integer": ["0", "-1", "2147483647", "-2147483648"],
    "interval": ["0", "-1 second", "1000 years", "-178000000 years"],
    "boolean": ["true", "false"],
}
# SQLSTATEs of an error that a person can act on: ours, and the server's about values that its own types refuse.
OURS = {"22023", "42704", "P0002", "55000", "42501", "0A000", "42601"}
# These answer where others refuse: NULL or an odd text is a question like any other.
ANSWERS = {"check_health", "take_snapshot", "judge_statement", "prove_harmless"}


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        people.make_table(connection)
        yield connection


def candidates(routine: Routine) -> Iterator[tuple[str | None, ...]]:
    """Every bad value in every place, the others NULL; and NULL everywhere."""
    inputs = routine.types
    yield tuple([None] * len(inputs))
    for place, type_name in enumerate(inputs):
        for value in NUMBERS.get(type_name, HOSTILE):
            if type_name == "name":
                value = value[:60]
            values: list[str | None] = [None] * len(inputs)
            values[place] = value
            yield tuple(values)
    if "text" in inputs and "bigint" in inputs:
        for text in HOSTILE:
            yield tuple("1" if t == "bigint" else text if t == "text" else None for t in inputs)


def test_every_routine_with_bad_arguments(superuser: Connection) -> None:
    before = people.state_of_the_world(superuser)
    called, wrong = 0, []
    for routine in people.public_routines(superuser):
        if routine.name in ANSWERS:
            continue
        for values in candidates(routine):
            if routine.is_procedure and values[0] == "true":
                continue  # a run with its defaults
            called += 1
            if problem := what_is_wrong(outcome(superuser, routine, values)):
                wrong.append(f"{routine.identity} {str(values)[:150]}: {problem}")
    assert wrong == []
    assert called > 100
    assert people.state_of_the_world(superuser) == before


def what_is_wrong(told: psycopg.Error | None) -> str | None:
    """What an error lacks that a person needs; no error at all is wrong, too."""
    if told is None:
        return "taken"
    message = told.diag.message_primary or ""
    if told.sqlstate not in OURS or not told.diag.message_hint:
        return f"{told.sqlstate} {message[:200]}, hint: {told.diag.message_hint}"
    if len(message) > 1000:
        return f"repeats what it was given in {len(message)} characters"
    return None


def outcome(connection: Connection, routine: Routine, values: tuple[str | None, ...]) -> psycopg.Error | None:
    try:
        connection.execute(routine.call(*values))
    except psycopg.Error as error:
        return error
    return None


@pytest.mark.parametrize("name", ["judge_statement", "prove_harmless"])
def test_every_text_gets_an_answer(superuser: Connection, name: str) -> None:
    before = people.state_of_the_world(superuser)
    for text in [*HOSTILE, None]:
        rows = superuser.execute(f"select * from architect.{name}(%s)", (text,)).fetchall()
        assert len(rows) == 1, text
        answer = rows[0][0] if name == "judge_statement" else rows[0][1]
        assert answer in ("refuse", False) or text == HONEST, text
    assert people.state_of_the_world(superuser) == before


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("call architect.sp_autonomous_improvement(max_changes_per_run => 0)", "max_changes_per_run cannot be 0"),
        ("call architect.sp_autonomous_improvement(max_changes_per_run => -1)", "max_changes_per_run cannot be -1"),
        ("call architect.sp_autonomous_improvement(max_changes_per_run => 101)", "max_changes_per_run cannot be 101"),
        ("call architect.sp_autonomous_improvement(max_changes_per_run => null)", "max_changes_per_run cannot be"),
        ("call architect.sp_autonomous_improvement(target_area => 'speed')", 'there is no target area "speed"'),
        ("call architect.sp_autonomous_improvement(target_area => '')", 'there is no target area ""'),
        ("call architect.sp_autonomous_improvement(wait => '0')", "wait cannot be"),
        ("call architect.sp_autonomous_improvement(wait => '-1 s')", "wait cannot be"),
        ("call architect.sp_autonomous_improvement(wait => '8 days')", "wait cannot be"),
        ("call architect.sp_deploy_approved(1)", "a deployment needs somebody who waits"),
        ("call architect.sp_deploy_approved(1, wait => '0')", "wait cannot be"),
        ("call architect.sp_rollback(1, '')", "a rollback needs a reason"),
        ("call architect.sp_rollback(1, 'x', wait => '-1 s')", "wait cannot be"),
        ("select architect.propose_change('create index concurrently i on app.thing (a)', '')", "needs a reason"),
        ("select architect.propose_change('create index concurrently i on app.thing (a)', null)", "needs a reason"),
        ("select architect.set_policy('create_index', autonomy_level => 'full')", 'autonomy level "full"'),
        ("select architect.set_policy('create_index', max_changes_per_day => 1001)", "max_changes_per_day cannot be"),
        ("select architect.set_setting('min_share', 'NaN')", 'setting "min_share" cannot be'),
        ("select architect.set_setting('min_share', '1e400000')", 'setting "min_share" cannot be'),
        ("select architect.set_setting('min_share', '2')", 'setting "min_share" cannot be'),
    ],
)
def test_limits(superuser: Connection, statement: str, words: str) -> None:
    people.insert_proposal(superuser, "somebody", "approved")
    before = people.state_of_the_world(superuser)
    refused(superuser, statement, "22023", words)
    assert people.state_of_the_world(superuser) == before


def test_infinite_waiting(superuser: Connection) -> None:
    """PostgreSQL knows infinite intervals since version 17; before, the server refuses the word."""
    state = "22023" if superuser.info.server_version >= 170000 else "22007"
    refused(superuser, "call architect.sp_deploy_approved(1, wait => 'infinity')", state, hint=False)


CALLS = {
    # the procedure, as typed: its arguments in PL/pgSQL
    "sp_autonomous_improvement()": "run_id => n, next_step => a",
    "sp_deploy_approved(1, wait => '1 minute')": "1, '1 minute', a, b",
    "sp_rollback(1, 'x')": "1, 'x', '1 minute', a, b",
}


@pytest.mark.parametrize("call", CALLS)
def test_procedures_need_their_own_transaction(
    cluster: Cluster, database: str, superuser: Connection, call: str
) -> None:
    people.insert_proposal(superuser, "somebody", "approved")
    before = people.state_of_the_world(superuser)
    words = "cannot run inside a transaction block or a function"
    superuser.execute("begin")
    with pytest.raises(psycopg.Error) as caught:
        superuser.execute(f"call architect.{call}".encode())
    assert (caught.value.sqlstate, bool(caught.value.diag.message_hint)) == ("2D000", True)
    superuser.execute("rollback")
    nested = f"call architect.{call.partition('(')[0]}({CALLS[call]});"
    caught_error = f"declare a text; b text; n bigint; begin {nested} exception when division_by_zero then null; end"
    refused(superuser, f"do $do$ {caught_error} $do$", "2D000", words)
    superuser.execute(f"create function pg_temp.f() returns void language plpgsql as $f$ {caught_error} $f$".encode())
    refused(superuser, "select pg_temp.f()", "2D000", words)
    with cluster.connect(database, autocommit=False) as manual:
        manual.execute("select 1")
        refused(manual, f"call architect.{call}", "2D000", words)
        assert manual.execute("select 1").fetchone() == (1,)
    superuser.execute("drop function pg_temp.f()")
    assert people.state_of_the_world(superuser) == before


def test_a_read_only_session(superuser: Connection) -> None:
    superuser.execute("set default_transaction_read_only = on")
    for statement in ("call architect.sp_autonomous_improvement()", "select architect.set_setting('min_share', '0.5')"):
        refused(superuser, statement, "25006", hint=False)
    superuser.execute("select * from architect.check_health()")
    superuser.execute("reset default_transaction_read_only")


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
        for encoding in ("LATIN1", "SQL_ASCII", "UTF8"):
            connection.execute(f"create database in_{encoding} encoding '{encoding}' locale 'C' template template0")
    for name in ("in_latin1", "in_utf8"):
        with server.connect(name, client_encoding="UTF8") as connection:
            install_extensions(connection)
            connection.execute(text.encode())
            slow_query(connection, query)
            dry_run(connection)
            connection.execute("select * from architect.check_health()")
            assert connection.execute(
                "select relation_names[1] from architect.statement where kind = 'select' and relation_names[1] ~ 'gr'"
            ).fetchone() == ("public.größe",)
    # A database without an encoding holds bytes that are no text; pg_stat_statements then fails in all others.
    with server.connect("in_sql_ascii", client_encoding="SQL_ASCII") as connection:
        connection.execute(text.encode("latin-1"))
        connection.execute(query.encode("latin-1"))
    with server.connect("in_utf8") as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("call architect.sp_autonomous_improvement()")
        assert caught.value.sqlstate == "55000"
        remedy = (caught.value.diag.message_hint or "").rpartition("select ")
        connection.execute((remedy[1] + remedy[2]).encode())
        dry_run(connection)
    server.remove()
