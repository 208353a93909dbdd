"""Captured text is hostile: nothing that somebody planted runs with anybody's rights, and no secret is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support import people
from support.cluster import Cluster
from support.people import ADMIN, APP, APPROVER, OPERATOR, VIEWER, Connection

LOW = "t_low"
STRANGE_ROLE = "t_x'; drop table app.thing; --"
STRANGE_TABLE = 'low."t""; drop table app.thing; --"'

# Whatever calls it is seen in the server's log: a message needs no right, and no rollback takes it back.
PLANT = """
create schema low;
create sequence low.evidence;
grant usage on schema low to public; grant all on sequence low.evidence to public;
create function low.evil(a int) returns int language plpgsql immutable cost 0.0001 as $$
begin
  raise log 'EVIL RAN as % for %', current_user, session_user;
  begin perform nextval('low.evidence'); exception when others then null; end;
  return a;
end $$;
create function low.evil(a int, b int) returns boolean language sql immutable as 'select low.evil(a) = b';
create function low.evil_text(c varchar) returns text language plpgsql immutable as
  $$ begin perform low.evil(1); return c; end $$;
create function low.lower(varchar) returns text language sql immutable as 'select low.evil_text($1)';
create function low.abs(int) returns int language sql immutable as 'select low.evil($1)';
create function low.evil_rows() returns setof int language sql immutable as 'select low.evil(1)';
create function low.evil_state(int, int) returns int language sql immutable as 'select low.evil($2)';
create aggregate low.evil_total(int) (sfunc = low.evil_state, stype = int, initcond = '0');
create operator low.### (leftarg = int, rightarg = int, function = low.evil);
create function low.evil_mixed(int, varchar) returns boolean language sql immutable as 'select low.evil($1) = 1';
create operator low.= (leftarg = int, rightarg = varchar, function = low.evil_mixed);
create domain low.evil_number as int check (low.evil(value) is not null);
create type low.evil_pair as (x int);
create function low.evil_cast(low.evil_pair) returns int language sql immutable as 'select low.evil(($1).x)';
create cast (low.evil_pair as int) with function low.evil_cast;
create table low.t (id int primary key, a int, b varchar default 'x' || low.evil(7), c int);
insert into low.t select i, i % 700, 'v' || i % 90, i % 5 from generate_series(1, 1000) as i;
create function low.evil_row(low.t) returns int language sql immutable as 'select low.evil(($1).a)';
create view low.v as select * from low.t where a = low.evil(5);
create table low.guarded as select * from low.t;
alter table low.guarded enable row level security;
create policy p on low.guarded using (a = low.evil(5));
create table low.partly as select * from low.t;
create index on low.partly (b) where low.evil(5) = 5;
create table low.expressed as select * from low.t;
create index on low.expressed ((low.evil(a)));
create statistics low.s on (low.evil(a)), c from low.expressed;
create table low.base (id int, a int);
create table low.checked (check (low.evil(5) = 5 and a > 0)) inherits (low.base);
insert into low.checked select i, i from generate_series(1, 500) as i;
create table low.domains as select id, a::low.evil_number as a from low.t;
create table low.parts (a int, b int) partition by range (low.evil(a));
create table low.part1 partition of low.parts for values from (0) to (100000);
insert into low.parts select i, i from generate_series(1, 500) as i;
create table low.generated (a int, b int generated always as (low.evil(a)) stored);
insert into low.generated select i from generate_series(1, 500) as i;
create table low."t""; drop table app.thing; --" ("a'; select low.evil(5); --" int, "größe" int);
insert into low."t""; drop table app.thing; --" select i, i % 1000 from generate_series(1, 1000) as i;
analyze;
"""

QUERIES = [
    "select * from low.t where a = low.evil(5)",
    "select * from low.t where low.evil(a, 5)",
    "select * from low.t where a operator(low.###) 5",
    "select * from low.t where a = b",
    "select * from low.t where a operator(low.=) 'x'::varchar",
    "select * from low.t where a = '5'::low.evil_number",
    "select * from low.t where a = row(5)::low.evil_pair::int",
    "select * from low.t where lower(b) = 'v5'",
    "select * from t where abs(a) = 5",
    "select * from t where a = 5 and c = 1",
    "select low.evil_total(a) from low.t",
    "select t.evil_row from low.t",
    "select (t).evil_row from low.t where a = 5",
    "select t from low.t where t = row(1, 2, 'x', 4)::low.t",
    "select * from low.t, lateral low.evil_rows() as e where a = e",
    "select * from low.evil_rows()",
    "with x as (select low.evil(5) as y) select * from low.t, x where a = y",
    "select (select low.evil(5)) from low.t where a = 5",
    "select case when a = 5 then low.evil(5) end from low.t",
    "select * from low.t order by low.evil(5), a limit low.evil(5)",
    "select count(*) over (partition by low.evil(a)) from low.t where a = 5",
    "select a from low.t group by a having low.evil(5) = a",
    "values (low.evil(5))",
    "select * from low.v where b = 'v5'",
    "select * from low.guarded where b = 'v5'",
    "select * from low.partly where b = 'v5'",
    "select * from low.expressed where a = 5 and c = 5",
    "select * from low.t where a > 5 and a < 8",
    "select * from low.base where a = 5",
    "select * from low.domains where a = 5",
    "select * from low.parts where a = 5",
    "select * from low.generated where b = 5",
    "select * from pg_class where relname = 'x'",
    "select 1 as \"; copy (select 1) to program 'touch /tmp/evil'; --\" from low.t where a = 5",
    f'select * from {STRANGE_TABLE} where "a\'; select low.evil(5); --" = 5',
    f'select * from {STRANGE_TABLE} where "größe" = 5',
    "select * from low.t where a = 5 -- '; select low.evil(5); --",
    "select * from low.t where b = $x$'; select low.evil(5); --$x$",
    "select * from low.t where a in (" + ", ".join(map(str, range(3000))) + ")",
    "select " + "1 + (" * 2500 + "a" + ")" * 2500 + " from low.t where a = 5",
    "select * from low.t where a = 5 /* " + "x" * 60000 + " */",
    "insert into low.t (id, a) values (-1, 5) on conflict do nothing",
    "update low.t set c = low.evil(c) where a = 699 and c = low.evil(3)",
    "delete from low.t where a = low.evil(-5)",
    "do $$ begin perform low.evil(5); end $$",
    "create temp table if not exists thing (id int, a int, b text)",
    "select * from thing where a = 5",
    "select * from pg_temp.thing where b = 'x'",
]


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        yield connection
        connection.execute(f"drop owned by {LOW} cascade; drop role {LOW}")


@pytest.fixture
def planted(cluster: Cluster, database: str, superuser: Connection) -> Connection:
    """A low role has run every statement above, so that pg_stat_statements holds them; all are to be looked at."""
    people.make_table(superuser)
    people.make_role(superuser, LOW)
    people.make_role(superuser, STRANGE_ROLE)
    superuser.execute(f'grant create, temporary on database "{database}" to {LOW}')
    superuser.execute("select architect.set_setting('max_analysed_statements', '1000')")
    superuser.execute("select architect.set_setting('min_share', '0')")
    with cluster.connect(database, user=LOW) as low:
        low.execute(PLANT.encode())
        superuser.execute("select pg_stat_statements_reset()")
        low.execute("set search_path = low, pg_catalog, public; set plan_cache_mode = force_custom_plan")
        for text in QUERIES:
            low.execute(text.encode())
    superuser.execute(f'grant select on app.thing to "{STRANGE_ROLE}"; grant usage on schema app to "{STRANGE_ROLE}"')
    with cluster.connect(database, user=STRANGE_ROLE) as strange:
        strange.execute("select * from app.thing where a = 5")
    return superuser


def evil_ran(cluster: Cluster) -> int:
    return (cluster.directory / "log").read_text(errors="replace").count("EVIL RAN")


def notices_of(connection: Connection) -> list[str]:
    told: list[str] = []
    connection.add_notice_handler(lambda diagnostic: told.append(str(diagnostic.message_primary)))
    return told


def test_evil_works(cluster: Cluster, planted: Connection) -> None:
    """The trap itself: planning such a statement, without running it, runs the code with the planner's rights."""
    for trap in (
        "select * from low.t where a = low.evil(5)",
        "select * from low.partly where b = 'x'",
        "select * from low.v",
    ):
        before = evil_ran(cluster)
        planted.execute(f"explain {trap}")  # type: ignore[call-overload]
        assert evil_ran(cluster) > before, trap


def test_a_dry_run_of_a_superuser_runs_nobodys_code(cluster: Cluster, database: str, planted: Connection) -> None:
    before = evil_ran(cluster)
    told = notices_of(planted)
    planted.execute("call architect.sp_autonomous_improvement(max_changes_per_run => 100)")
    rows = planted.execute("select * from architect.top_queries, architect.findings, architect.proposals").fetchall()
    planted.execute("select * from architect.check_health()")
    with cluster.connect(database, user=OPERATOR) as operator:
        operator.execute("call architect.sp_autonomous_improvement(max_changes_per_run => 100, target_area => 'cost')")
        operator.execute("select architect.take_snapshot()")
    assert evil_ran(cluster) == before, [line for line in told if "EVIL" in line]
    assert isinstance(rows, list)
    assert any(line.startswith("analyze:") for line in told)
    # what was planted did not keep the honest statements from being looked at
    honest = planted.execute(
        "select count(*) from architect.statement where plannable and relation_names = '{app.thing}'"
    ).fetchone()
    assert honest == (1,)
    assert planted.execute("select count(*) from app.thing").fetchone() == (2000,)


def test_proofs_run_nothing(cluster: Cluster, planted: Connection) -> None:
    """Asked one by one, as a superuser, in the name of each role: an answer for every text, and no code run."""
    before = evil_ran(cluster)
    harmless = []
    for text in QUERIES:
        for role in (LOW, "postgres", None):
            row = planted.execute(
                "select harmless, reason from architect.prove_harmless(%s, %s)", (text, role)
            ).fetchone()
            assert row is not None
            assert row[0] or row[1], text[:80]
            if row[0]:
                harmless.append(text)
        judged = planted.execute("select verdict, reasons from architect.judge_statement(%s)", (text,)).fetchone()
        assert judged is not None
        assert judged[0] == "refuse" or text in harmless, text[:80]
    assert evil_ran(cluster) == before
    called = [text.replace("'; select low.evil", "") for text in harmless]
    assert not [text for text in called if "low.evil" in text or "operator(low." in text]


def test_a_measurement_runs_nobodys_code(cluster: Cluster, database: str, planted: Connection) -> None:
    """An index on the low role's own table, built and measured against all that it planted."""
    planted.execute(f"select architect.enroll('{LOW}')")
    planted.execute("select architect.set_setting('measurement_window_seconds', '0.1')")
    planted.execute("select architect.set_setting('replay_time_limit', '10')")
    number = people.approved_change(cluster, database, "create index concurrently low_t_c on low.t (c)")
    before = evil_ran(cluster)
    with cluster.connect(database, user=OPERATOR) as operator:
        operator.execute(f"call architect.sp_deploy_approved({number}, wait => '2 minutes')")
    assert evil_ran(cluster) == before
    row = planted.execute("select state, verdict from architect.proposals where proposal_id = %s", (number,)).fetchone()
    assert row is not None
    assert row[0] in ("kept", "reverted"), row
    reasons = planted.execute(
        "select count(*) from architect.measurement_statements where not_measured_reason is not null"
    ).fetchone()
    assert reasons is not None
    assert reasons[0] > 5
    planted.execute(f"select architect.withdraw('{LOW}')")


SECRETS = [
    "create role t_canary password 'CANARY-password'",
    "alter role t_canary with password 'CANARY-password' valid until '2030-01-01'",
    "comment on table app.thing is 'CANARY-comment'",
    "set canary.setting = 'CANARY-setting'",
    "do $$ begin perform 'CANARY-do'; end $$",
    "create function pg_temp.f() returns text language sql as $$ select 'CANARY-function' $$",
    "create temp view v as select 'CANARY-view' as c",
    "create temp table made as select 'CANARY-table' as c",
    "prepare p as select * from app.thing where b = 'CANARY-prepared'",
    "execute p",
    "explain select * from app.thing where b = 'CANARY-explained'",
    "copy (select 'CANARY-copied') to '/dev/null'",
    "select * from app.thing where b = 'CANARY-literal'",
    "select * from app.thing where b = E'CANARY-\\x65scaped' or b = U&'CANARY-\\0061' or b = $q$CANARY-dollar$q$",
    "select 'CANARY-target' from app.thing where a = 3 group by 'CANARY-group' || b",
    "drop role t_canary",
]


def test_secrets_are_not_kept(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Neither from utility statements, nor literals, nor the common values of a column."""
    people.make_role(superuser, LOW)
    people.make_table(superuser, rows=1)
    # five values of a fifth each: common, none of them rare enough for a partial index
    superuser.execute(
        "insert into app.thing select i + 1, i, 'CANARY-value-' || i % 5 from generate_series(1, 20000) as i"
    )
    superuser.execute("analyze app.thing; select pg_stat_statements_reset()")
    for secret in SECRETS:
        superuser.execute(secret.encode())
    assert superuser.execute("select count(*) from pg_stat_statements where query like '%%CANARY%%'").fetchone() != (0,)
    superuser.execute("select architect.set_setting('min_share', '0')")
    log = cluster.directory / "log"
    start = log.stat().st_size
    told = notices_of(superuser)
    superuser.execute(
        "call architect.sp_autonomous_improvement(dry_run => false, max_changes_per_run => 10, debug => true)"
    )
    for name in people.relations(superuser):
        found = superuser.execute(f"select t::text from architect.{name} as t").fetchall()
        assert not [row for row in found if "CANARY" in str(row[0])], name
    assert not [line for line in told if "CANARY" in line]
    assert "CANARY" not in log.read_bytes()[start:].decode(errors="replace")
    kinds = superuser.execute("select distinct kind from architect.statement where text is null").fetchall()
    assert ("utility",) in kinds


def test_numbers_of_somebody_elses_table_stay_inside(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Who may read the views, but not the table, does not learn its values from a plan or a proposal."""
    people.make_role(superuser, LOW)
    people.make_table(superuser)
    superuser.execute("update app.thing set b = 'SALARY-' || a; analyze app.thing; select pg_stat_statements_reset()")
    superuser.execute(f"grant usage on schema app to {APP}")
    with cluster.connect(database, user=APP) as app:
        for number in range(30):
            app.execute("select * from app.thing where b = %s", (f"SALARY-{number}",), prepare=False)
    superuser.execute("select architect.set_setting('min_share', '0')")
    superuser.execute("call architect.sp_autonomous_improvement()")
    for person in (VIEWER, OPERATOR, APPROVER, ADMIN):
        with cluster.connect(database, user=person) as connection:
            for name in people.relations(superuser):
                try:
                    found: list[Any] = connection.execute(f"select t::text from architect.{name} as t").fetchall()
                except psycopg.errors.InsufficientPrivilege:
                    continue
                assert "SALARY" not in str(found), (person, name)
            if person == OPERATOR:
                row = connection.execute(
                    "select harmless, reason from architect.prove_harmless('select * from app.thing where a = 1')"
                ).fetchone()
                assert row is not None
                assert row[0] is False  # it may not read the table itself
