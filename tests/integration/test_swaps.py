"""What was proved is not what is there any more: while it is used, its owner puts something else in its place.

Each test makes the swap between a proof and its use, and looks at what the owner's code could do then. It is seen in
the server's log: a message needs no right, and no rollback takes it back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase, Row
from pg_architect.safety import executable, executable_queries
from support.cluster import Cluster
from support.people import Connection, make_role
from support.shop import DANA, INES, Call, Shop, until

EVE, READER = "t_swapper", "t_swap_reader"

# What Eve's code tries when it runs; each attempt by itself, whatever became of the others.
ATTEMPTS = {
    "write": "insert into swap.trace values (1)",
    "sequence": "select nextval('swap.numbers')",
    "table": "create table swap.made (a int)",
    "temporary table": "create temporary table bait (a int)",
    "read write": "set transaction read write",
    "setting off": "select set_config('transaction_read_only', 'off', false)",
    "function off": "select swap.writing()",
    "role": "set role architect_owner",
    "no role": "reset role",
    "session": "set session authorization postgres",
    "membership": "grant t_swap_reader to t_swapper",
    "power": "alter role t_swapper superuser",
    "door": "alter function architect._planner_explain(jsonb) security invoker",
    "settings": "insert into architect.setting (name, value) values ('min_share', '1')",
    "approval": "select architect.approve(1)",
    "switch": "select architect._hide_index(1)",
    "passwords": "select rolpassword from pg_authid",
    "somebody else's table": "select * from app.orders",
    "its author's table": "select * from public.for_the_reader",
    "program": "copy (select 1) to program 'touch /tmp/evil'",
    "file": "select pg_read_file('postgresql.conf')",
}
PLANT = """
create schema swap;
grant usage on schema swap to public;
create table swap.trace (a int);
create sequence swap.numbers;
create table swap.attempt (name text, statement text);
grant select on swap.attempt to public; grant all on swap.trace, swap.numbers to public;
set check_function_bodies = off;  -- PostgreSQL 16 refuses the next one; here it is to fail when it is called
create function swap.writing() returns void language plpgsql set transaction_read_only = off as
  $$ begin insert into swap.trace values (1); end $$;
create function swap.act() returns void language plpgsql as $$
declare one record;
begin
  raise log 'SWAP runs as % for %', current_user, session_user;
  for one in select name, statement from swap.attempt loop
    begin
      execute one.statement;
      raise log 'SWAP does %', one.name;
    exception when others then
      raise log 'SWAP cannot % (% %)', one.name, sqlstate, sqlerrm;
    end;
  end loop;
  perform set_config('search_path', 'swap', false);
  notify swap;
end $$;
create function swap.evil(a int) returns int language plpgsql immutable as
  $$ begin perform swap.act(); return a; end $$;
create table swap.t (id int primary key, a int);
insert into swap.t select i, i % 50 from generate_series(1, 20000) as i;
grant select on swap.t to public;
analyze swap.t;
"""
# Each is evaluated when a statement on swap.t is planned.
SWAPS = {
    "view": """
        alter table swap.t rename to old;
        create view swap.t as select * from swap.old where id > swap.evil(5);
        grant select on swap.t to public;
    """,
    "index": """
        lock table swap.t in access exclusive mode;
        create index on swap.t ((a + swap.evil(1)));
        delete from swap.trace; alter sequence swap.numbers restart; drop table if exists swap.made;
    """,
}


@dataclass(frozen=True, slots=True)
class Log:
    """What the server's log got since it was made."""

    cluster: Cluster
    start: int

    def after(self, begin: str) -> list[str]:
        """The rest of every line that has these words."""
        text = (self.cluster.directory / "log").read_bytes()[self.start :].decode(errors="replace")
        found = [line.partition(begin)[2].strip() for line in text.splitlines() if f"LOG:  {begin}" in line]
        return [line.partition(" at character ")[0] for line in found]


def log_from_now(cluster: Cluster) -> Log:
    return Log(cluster, (cluster.directory / "log").stat().st_size)


@pytest.fixture
def planted(shop: Shop) -> Iterator[Shop]:
    """A shop in which Eve has a schema."""
    with shop.connect() as superuser:
        make_role(superuser, EVE)
        make_role(superuser, READER)
        superuser.execute(f'grant create, temporary on database "{shop.name}" to {EVE}')
        superuser.execute(f"create table public.for_the_reader (a int); grant select on for_the_reader to {READER}")
    with shop.connect(EVE) as eve:
        eve.execute(PLANT)
    shop.rows("select pg_stat_statements_reset()")
    yield shop
    with shop.connect() as superuser:
        superuser.execute(f"drop owned by {EVE}, {READER} cascade")


def attempts(shop: Shop, statements: dict[str, str]) -> None:
    with shop.connect(EVE) as eve:
        for item in statements.items():
            eve.execute("insert into swap.attempt values (%s, %s)", item)


def read_by(shop: Shop, author: str) -> None:
    with shop.connect(author) as connection:
        for n in range(20):
            connection.execute(f"select id from swap.t where a = {n}")


def swap_while_it_waits(shop: Shop, begin: Callable[[], Call], swap: str = "view") -> tuple[Call, Log]:
    """``begin`` starts what will read swap.t; it waits for a lock, and finds something else. Also the log from then."""
    with shop.connect(EVE, autocommit=False) as eve:
        eve.execute(SWAPS[swap])
        call = begin()
        until(lambda: shop.value("select count(*) from pg_locks where not granted"), "it waits for the table", 10)
        log = log_from_now(shop.cluster)
        eve.commit()
    return call, log


def assert_nothing_lasts(shop: Shop) -> None:
    assert shop.value("select count(*) from swap.trace") == 0
    assert shop.value("select is_called from swap.numbers") is False
    assert shop.value("select count(*) from pg_class where relname in ('made', 'bait')") == 0
    assert shop.value("select count(*) from pg_auth_members where member = 'architect_planner'::regrole") == 0
    assert shop.value("select count(*) from architect.must_roll_back") == 0


@pytest.mark.parametrize("author", [EVE, READER])
@pytest.mark.parametrize(("caller", "swap"), [(DANA, "view"), ("postgres", "view"), ("postgres", "index")])
def test_a_table_that_changes_while_it_is_planned(planted: Shop, author: str, caller: str, swap: str) -> None:
    """It runs, with the rights of who ran the statement: it may read what that role may read, and write nothing."""
    attempts(planted, ATTEMPTS)
    read_by(planted, author)
    run = "call architect.sp_autonomous_improvement()"
    call, log = swap_while_it_waits(planted, lambda: planted.begin(run, caller), swap)
    call.result()
    runs, does = log.after("SWAP runs as "), log.after("SWAP does ")
    assert set(runs) == {f"architect_planner for {caller}"}
    assert set(does) == ({"its author's table"} if author == READER else set())
    assert len(does) + len(log.after("SWAP cannot ")) == len(runs) * len(ATTEMPTS)
    assert_nothing_lasts(planted)
    after = call.connection.execute(
        "select current_setting('search_path'), current_setting('transaction_read_only'),"
        " (select count(*) from pg_prepared_statements)"
    ).fetchone()
    assert after == ('"$user", public', "off", 0)


@pytest.mark.parametrize(
    "attempt",
    ["deallocate all", "prepare planted as select 1", "deallocate own; prepare own as select swap.evil(1)"],
)
def test_prepared_statements_of_the_session(planted: Shop, attempt: str) -> None:
    """No rollback takes them back, and the session would execute them with its own rights: it is ended."""
    attempts(planted, {"prepared": attempt})
    read_by(planted, EVE)
    connection = planted.connect()
    connection.execute("prepare own as select 1")
    call = Call(connection, "call architect.sp_autonomous_improvement()", connection.info.backend_pid)
    planted.calls.append(call)
    swap_while_it_waits(planted, call.start)
    error = call.failure()
    assert error.sqlstate == "42501"
    assert (error.diag.message_primary or "").startswith("pg_architect: the code of others changed the prepared")
    assert error.diag.message_hint
    assert connection.closed
    assert_nothing_lasts(planted)
    # the honest go on
    planted.begin("call architect.sp_autonomous_improvement()").result()
    assert planted.rows("select status from architect.run order by run_id") == [("interrupted",), ("completed",)]


def test_a_view_in_place_of_a_table_that_is_replayed(planted: Shop) -> None:
    """The session of the executor, which holds the rights of the enrolled owners, gives none of them away."""
    attempts(planted, ATTEMPTS | {"owner's table": "select * from app.quiet"})
    planted.rows(f"grant usage on schema app to {READER}; grant select on app.orders to {READER}")
    with planted.connect(READER) as reader:
        for n in range(20):
            reader.execute(f"select count(*) from app.orders as o join swap.t on a = total % 50 where customer = {n}")
    planted.set(replay_blocks="100", replay_time_limit="5")
    proposal = planted.approved()
    call = planted.begin_deployment(proposal)
    until(lambda: planted.state(proposal) == "verifying", "it measures", 30)
    log = swap_while_it_waits(planted, lambda: call)[1]
    call.join(90)
    assert set(log.after("SWAP runs as ")) == {"architect_planner for architect_executor"}
    assert set(log.after("SWAP does ")) == {"its author's table", "somebody else's table"}  # which the reader may read
    assert_nothing_lasts(planted)
    assert planted.state(proposal) in ("kept", "reverted", "verifying"), call.error


# Types that a role without any rights can make, and a way into its code from each.
TYPES = """
create function swap.act(anyelement) returns boolean language plpgsql immutable as
  $$ begin perform swap.act(); return true; end $$;
create type swap.mood as enum ('good', 'bad');
create type swap.calm as enum ('good', 'bad');
create domain swap.word as text check (swap.act(value));
create type swap.pair as (a int, b swap.word);
create function swap.difference(int, int) returns float8 language plpgsql immutable as
  $$ begin perform swap.act(); return $1 - $2; end $$;
create type swap.span as range (subtype = int, subtype_diff = swap.difference);
create function swap.mood_text(swap.mood) returns text language plpgsql immutable as
  $$ begin perform swap.act(); return 'good'; end $$;
create function swap.text_mood(text) returns swap.mood language plpgsql immutable as
  $$ begin perform swap.act(); return 'good'::swap.mood; end $$;
create function swap.text_pair(text) returns swap.pair language plpgsql immutable as
  $$ begin perform swap.act(); return row(1, 'x'::swap.word); end $$;
create function swap.same(swap.calm, text) returns boolean language plpgsql immutable as
  $$ begin perform swap.act(); return true; end $$;
create operator swap.= (leftarg = swap.calm, rightarg = text, function = swap.same);
create cast (text as swap.pair) with function swap.text_pair as implicit;
create table swap.typed (id int primary key, mood swap.mood, calm swap.calm, word swap.word, pair swap.pair,
  span swap.span, moods swap.mood[], words swap.word[], plain text);
insert into swap.typed
select i, 'good', 'good', 'x', row(1, 'x')::swap.pair, '[1,2)', '{good}', '{x}', 'x' from generate_series(1, 200) as i;
analyze swap.typed;
"""
CASTS = """
create cast (swap.mood as text) with function swap.mood_text as implicit;
create cast (text as swap.mood) with function swap.text_mood as implicit;
"""
VALUES = {  # of each column but the first
    "mood": "good", "calm": "good", "word": "x", "pair": "(1,x)", "span": "[1,2)", "moods": "{good}", "words": "{x}",
    "plain": "x",
}  # fmt: skip


@pytest.fixture
def typed(planted: Shop) -> Shop:
    with planted.connect(EVE) as eve:
        eve.execute(TYPES)
    return planted


def type_of(column: str) -> str:
    return {"moods": "swap.mood[]", "words": "swap.word[]", "plain": "text"}.get(column, f"swap.{column}")


def index(where: str, keys: str = "(id)") -> str:
    return f"create index concurrently i on swap.typed {keys} {where}"


def index_statements() -> Iterator[str]:
    for column, value in VALUES.items():
        yield index("", f"({column})")
        yield index("", f"(id) include ({column})")
        for constant in (
            f"'{value}'",
            f"'{value}'::text",
            f"'{value}'::{type_of(column)}",
            f"swap.act('{value}'::text)",
        ):
            yield index(f"where {column} = {constant}")
        yield index(f"where {column} in ('{value}', 'y')")
        yield index(f"where {column} operator(swap.=) '{value}'")


def runs_of_others(log: Log) -> list[str]:
    """Who ran Eve's code, but for herself."""
    return [who for who in log.after("SWAP runs as ") if who != f"{EVE} for {EVE}"]


def test_the_types_are_traps(typed: Shop) -> None:
    """Whoever uses them by hand runs Eve's code: otherwise the tests below would prove nothing."""
    typed.rows(CASTS)
    for trap in (
        "select 'x'::swap.word",
        "select '(1,x)'::swap.pair",
        "select 'x'::text::swap.pair",
        "select 'good'::text::swap.mood",
        "select 'good'::swap.mood::text",
        "select 'good'::swap.calm operator(swap.=) 'x'::text",
    ):
        log = log_from_now(typed.cluster)
        typed.rows(trap)
        assert runs_of_others(log) == ["postgres for postgres"] * len(runs_of_others(log)) != [], trap


def test_the_gate_calls_no_function_of_a_type(typed: Shop) -> None:
    typed.rows(CASTS)
    log = log_from_now(typed.cluster)
    verdicts = {}
    for person in ("postgres", DANA, INES):
        with typed.connect(person) as connection:
            for statement in index_statements():
                row = connection.execute("select verdict from architect.judge_statement(%s)", (statement,)).fetchone()
                assert row is not None
                verdicts[statement] = row[0]
    with typed.connect(DANA) as dana:
        for statement in index_statements():
            # What may be judged harmless need not be what is executed.
            refused = psycopg.errors.FeatureNotSupported
            with pytest.raises(refused) if verdicts[statement] == "refuse" else contextlib.suppress(refused):
                dana.execute("select architect.propose_change(%s, 'x')", (statement,))
            # Some of them mean the same index, which is proposed once only while it is open.
            typed.rows("update architect.proposal set state = 'rejected', completed_at = clock_timestamp()")
    assert runs_of_others(log) == []
    allowed = {statement for statement, verdict in verdicts.items() if verdict != "refuse"}
    assert index("where calm = 'good'") in allowed
    assert not [s for s in allowed if any(name in s for name in ("mood", "word", "pair", "span", "swap.act"))], allowed


def test_a_run_calls_no_function_of_a_type(typed: Shop) -> None:
    typed.set(min_share="0", max_analysed_statements="1000")
    with typed.connect(EVE) as eve:
        eve.execute("set search_path = swap, public")
        for column, value in VALUES.items():
            eve.execute(f"select {column} from typed where id = 1")
            eve.execute(f"select count(*) from typed where {column} in ('{value}'::{type_of(column)}) and id > 1")
        eve.execute("select count(*) from typed where calm = 'good'::text")
        eve.execute(CASTS)  # beside which the server finds no operator for mood = 'good' any more
        eve.execute("select count(*) from typed where mood::text = 'good' and 'x'::text::swap.mood is not null")
    log = log_from_now(typed.cluster)
    for person in ("postgres", DANA):
        typed.begin("call architect.sp_autonomous_improvement(max_changes_per_run => 100)", person).result()
    assert runs_of_others(log) == []
    assert typed.value("select count(*) from architect.statement where '{swap.typed}' = relation_names") > 10


class Racing(PsycopgDatabase):
    """A session that is overtaken: after the gate has read the columns, and before it uses what it read."""

    def __init__(self, connection: Connection, overtake: Callable[[], object]) -> None:
        super().__init__(connection)
        self.overtake = overtake

    def query(self, sql: str, *params: object) -> list[Row]:
        rows = super().query(sql, *params)
        if sql == executable_queries.COLUMNS:
            self.overtake()
        return rows


@pytest.mark.parametrize(
    ("where", "swap"),
    [
        ("where mood = 'good'", CASTS),
        ("where mood in ('good', 'bad')", CASTS),
        ("where plain = 'good'", "alter table swap.typed alter plain type swap.word"),
        ("where plain = 'x'", "alter table swap.typed alter plain type swap.pair using row(1, 'x')::swap.pair"),
        ("where mood = 'good'", "alter type swap.mood rename to m; alter domain swap.word rename to mood"),
        ("where plain = 'x'", "create operator swap.= (leftarg = text, rightarg = text, function = swap.texts)"),
    ],
)
def test_a_type_that_changes_while_the_gate_looks(typed: Shop, where: str, swap: str) -> None:
    def overtake() -> None:
        with typed.connect(EVE) as eve:
            eve.execute(
                "create function swap.texts(text, text) returns boolean language sql immutable as 'select swap.act($1)'"
            )
            eve.execute(swap.encode())

    log = log_from_now(typed.cluster)
    with typed.connect() as connection:
        connection.execute("set role architect_owner; set search_path = pg_catalog, pg_temp")
        assert executable.judge_form(Racing(connection, overtake), index(where)).verdict == "needs_approval"
    assert typed.value("select count(*) from pg_proc where proname = 'texts'") == 1  # it was overtaken
    assert runs_of_others(log) == []
    # and who judges it afterwards sees what it is now
    typed.rows("select architect.judge_statement(%s)", index(where))
    assert runs_of_others(log) == []
