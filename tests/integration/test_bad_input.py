"""Bad arguments, bad moments: an error that says what to do; nothing changes, and the session lives."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from support import people
from support.cluster import Cluster
from support.people import Connection, Routine, refused

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
ANSWERS = {"check_health", "take_snapshot", "judge_statement", "judge_script", "prove_harmless"}


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
        ("select architect.set_setting('min_share', '0.5' || repeat(' ', 100))", 'setting "min_share" cannot be'),
        ("select architect.approve(1, ' ')", "an approval needs a reason"),
        ("select architect.approve(1, repeat('x', 10001))", "the reason has 10001 characters"),
        ("select architect.reject(1, repeat('x', 10001))", "the reason has 10001 characters"),
        ("call architect.sp_rollback(1, repeat('x', 10001))", "the reason has 10001 characters"),
        (
            "select architect.propose_change('create index concurrently i on app.thing (a)', repeat('x', 10001))",
            "the reason has 10001 characters",
        ),
    ],
)
def test_limits(superuser: Connection, statement: str, words: str) -> None:
    people.insert_proposal(superuser, "somebody", "approved")
    before = people.state_of_the_world(superuser)
    refused(superuser, statement, "22023", words)
    assert people.state_of_the_world(superuser) == before


def test_a_long_reason_is_kept_as_it_is(superuser: Connection) -> None:
    number = people.insert_proposal(superuser, "somebody")
    superuser.execute("select architect.approve(%s, repeat('ä', 10000))", (number,))
    assert superuser.execute("select length(reason) from architect.approval").fetchone() == (10000,)


def test_infinite_waiting(superuser: Connection) -> None:
    """PostgreSQL knows infinite intervals since version 17; before, the server refuses the word."""
    state = "22023" if superuser.info.server_version >= 170000 else "22007"
    refused(superuser, "call architect.sp_autonomous_improvement(wait => 'infinity')", state, hint=False)


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
