"""Who may do what: every entry point, for every role, and what a refusal leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from support import people
from support.cluster import ROOT, Cluster
from support.people import ADMIN, APP, APPROVER, NOBODY, OPERATOR, VIEWER, Connection, refused, refused_by_server

GROUPS = {
    VIEWER: "architect_viewer",
    OPERATOR: "architect_operator",
    APPROVER: "architect_approver",
    ADMIN: "architect_admin",
}

# What each may call, besides what everybody with architect_viewer may. A new function belongs to nobody until it is
# granted in sql/990_privileges.sql and added here.
MAY_CALL = {
    NOBODY: set(),
    VIEWER: {"check_health", "_default_settings", "_default_policies", "_gate_rules", "_load", "_deployment_id"},
    OPERATOR: {
        "sp_autonomous_improvement", "sp_deploy_approved", "sp_rollback", "propose_change", "take_snapshot",
        "judge_statement", "judge_script", "prove_harmless", "_begin_run", "_end_run", "_think", "_submit",
        "_begin_rollback", "_must_be_deployable", "_own_address", "_is_resting", "_cron_is_usable", "_executor_start",
        "_executor_interrupt",
    },
    APPROVER: {"approve", "reject", "judge_statement", "judge_script"},
    ADMIN: {"set_setting", "reset_setting", "set_policy", "enroll", "withdraw", "_record_enrollment", "_unfit_owner"},
}  # fmt: skip
# Rows of single samples are for the admin; what only the measurement uses is for nobody.
HIDDEN = {"built_index", "measurement_sample", "must_roll_back", "replay", "replay_statement"}


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        yield connection


def allowed(person: str) -> set[str]:
    return MAY_CALL[person] | (MAY_CALL[VIEWER] if person != NOBODY else set())


@pytest.mark.parametrize("person", [NOBODY, VIEWER, OPERATOR, APPROVER, ADMIN])
def test_every_routine_is_refused_to_who_may_not(
    cluster: Cluster, database: str, superuser: Connection, person: str
) -> None:
    before = people.state_of_the_world(superuser)
    with cluster.connect(database, user=person) as connection:
        tried = 0
        for routine in people.routines(superuser):
            if routine.name in allowed(person) or routine.returns_trigger:
                continue
            refused_by_server(connection, routine.call())
            tried += 1
    assert tried > 5
    assert people.state_of_the_world(superuser) == before


@pytest.mark.parametrize("person", [VIEWER, OPERATOR, APPROVER, ADMIN])
def test_each_role_may_call_what_is_its_own(superuser: Connection, person: str) -> None:
    rows = superuser.execute(
        "select proname from pg_proc where pronamespace = 'architect'::regnamespace"
        " and prorettype <> 'trigger'::regtype and has_function_privilege(%s, oid, 'execute')",
        (person,),
    ).fetchall()
    found = {name for (name,) in rows}
    known = {one.name for one in people.routines(superuser)}
    assert found == allowed(person) & known
    assert allowed(person) <= known | {"judge_statement", "prove_harmless"}, "a function of this list is gone"


@pytest.mark.parametrize("person", [NOBODY, VIEWER, OPERATOR, APPROVER, ADMIN])
def test_relations_are_read_only(cluster: Cluster, database: str, superuser: Connection, person: str) -> None:
    before = people.state_of_the_world(superuser)
    tables = people.tables(superuser)
    with cluster.connect(database, user=person) as connection:
        for name in people.relations(superuser):
            readable = person == ADMIN if name == "measurement_sample" else person != NOBODY and name not in HIDDEN
            if readable:
                connection.execute(f"select * from architect.{name} limit 1")
            else:
                refused_by_server(connection, f"select * from architect.{name}")
            if name not in tables:  # that no view can be written is in the catalogue, see below
                continue
            refused_by_server(connection, f"delete from architect.{name}")
            refused_by_server(connection, f"truncate architect.{name}")
            refused_by_server(connection, f"insert into architect.{name} default values")
            column = superuser.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
                " and attidentity = '' limit 1",
                (f"architect.{name}",),
            ).fetchone()
            assert column is not None
            refused_by_server(connection, f'update architect.{name} set "{column[0]}" = null')
    assert people.state_of_the_world(superuser) == before


def test_nobody_but_the_owner_may_write(superuser: Connection) -> None:
    """By the catalogue, for every role there is: predefined ones that write everywhere are the DBA's own choice."""
    wrong = superuser.execute("""
        select r.rolname, c.relname, privilege
          from pg_roles as r, pg_class as c,
               unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
         where c.relnamespace = 'architect'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
           and r.rolname <> 'architect_owner' and r.rolname !~ '^pg_' and not r.rolsuper
           and (has_table_privilege(r.oid, c.oid, privilege)
                or privilege in ('insert', 'update', 'references')
                   and has_any_column_privilege(r.oid, c.oid, privilege))
           and not pg_has_role(r.oid, 'pg_write_all_data', 'usage')
        union all
        select r.rolname, c.relname, 'sequence'
          from pg_roles as r, pg_class as c
         where c.relnamespace = 'architect'::regnamespace and c.relkind = 'S' and r.rolname <> 'architect_owner'
           and not r.rolsuper and r.rolname !~ '^pg_' and has_sequence_privilege(r.oid, c.oid, 'usage, update')
        union all
        select r.rolname, 'schema', 'create' from pg_roles as r
         where r.rolname <> 'architect_owner' and not r.rolsuper and has_schema_privilege(r.oid, 'architect', 'create')
    """).fetchall()
    assert wrong == []


def test_public_holds_nothing(superuser: Connection) -> None:
    wrong = superuser.execute("""
        select c.relname from pg_class as c, aclexplode(c.relacl) as a
         where c.relnamespace = 'architect'::regnamespace and a.grantee = 0
        union all
        select p.oid::regprocedure::text
          from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
         where p.pronamespace = 'architect'::regnamespace and a.grantee = 0
        union all
        select nspname from pg_namespace, aclexplode(nspacl) as a where nspname = 'architect' and a.grantee = 0
        union all
        select r.rolname from pg_roles as r
         where has_schema_privilege('public', 'architect', 'usage') and r.rolname = current_user
    """).fetchall()
    assert wrong == []


def test_roles_have_no_power_of_their_own(superuser: Connection) -> None:
    rows = superuser.execute(
        "select rolname, rolcanlogin from pg_roles where rolname like 'architect\\_%%'"
        " and not rolsuper and not rolbypassrls and not rolcreaterole and not rolcreatedb"
        " and not rolreplication order by 1"
    ).fetchall()
    assert dict(rows) == {
        "architect_admin": False,
        "architect_approver": False,
        "architect_executor": True,
        "architect_operator": False,
        "architect_owner": False,
        "architect_planner": False,
        "architect_reader": False,
        "architect_viewer": False,
    }
    rows = superuser.execute(
        "select m.member::regrole::text, m.roleid::regrole::text from pg_auth_members as m"
        " where m.member::regrole::text in ('architect_owner', 'architect_planner', 'architect_reader') order by 1, 2"
    ).fetchall()
    assert rows == [
        ("architect_owner", "pg_read_all_settings"),
        ("architect_owner", "pg_read_all_stats"),
        ("architect_reader", "pg_read_all_data"),
    ]


def test_owned_by_a_superuser_is_what_is_always_rolled_back_or_reads_a_closed_file(superuser: Connection) -> None:
    rows = superuser.execute(
        "select p.proname from pg_proc as p join pg_roles as r on r.oid = p.proowner"
        " where p.pronamespace = 'architect'::regnamespace and r.rolsuper"
    ).fetchall()
    assert sorted(rows) == [("_hide_index",), ("_lend_rights",), ("_trusting_hba_lines",)]


@pytest.mark.parametrize("name", ["statement", "top_queries", "findings"])
def test_texts_of_others_are_invisible(cluster: Cluster, database: str, superuser: Connection, name: str) -> None:
    """A statement is for its role, for members of that role, and for pg_read_all_stats."""
    people.make_role(superuser, "t_author", "architect_viewer")
    people.make_role(superuser, "t_friend", "architect_viewer", "t_author")
    people.make_role(superuser, "t_statistics", "architect_viewer", "pg_read_all_stats")
    people.make_table(superuser)
    superuser.execute("grant usage on schema app to t_author; grant select on app.thing to t_author")
    superuser.execute("select pg_stat_statements_reset()")
    with cluster.connect(database, user="t_author") as author:
        for _ in range(20):
            author.execute("select count(*) from app.thing where b = 'canary'")
    with cluster.connect(database, user=OPERATOR) as operator:
        snapshot = operator.execute("select architect.take_snapshot()").fetchone()
    if name == "findings":  # that a run would make
        superuser.execute("update architect.snapshot set analysed_at = now() where snapshot_id = %s", snapshot)
        superuser.execute(
            "insert into architect.finding"
            " (snapshot_id, deployment_id, rule, key, severity, title, statement_id, detail, remedy)"
            " select %s, deployment_id, 'test', 'test', 'high', 'app.thing', statement_id, 'app.thing', ''"
            "   from architect.statement"
            "  where role_oid = 't_author'::regrole and text like '%%app.thing where b = %%'",
            snapshot,
        )

    def sees(person: str) -> bool:
        with cluster.connect(database, user=person) as connection:
            rows = connection.execute(f"select t::text from architect.{name} as t").fetchall()
            return any("where b = " in str(row[0]) for row in rows)

    seen = {who: sees(who) for who in ("t_author", "t_friend", "t_statistics", VIEWER, OPERATOR, APPROVER, ADMIN)}
    assert [who for who, it in seen.items() if it] == ["t_author", "t_friend", "t_statistics"]


def test_the_switch_is_for_the_executor(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Not for who became a member of the executor, and for no index but ours."""
    people.make_table(superuser)
    index = superuser.execute("select 'app.thing_pkey'::regclass::oid").fetchone()
    assert index is not None
    call = f"select architect._hide_index({index[0]})"
    people.make_role(superuser, "t_impostor", "architect_executor")
    try:
        with cluster.connect(database, user="t_impostor") as impostor:
            refused(impostor, call, "42501", "only architect_executor may hide an index")
            impostor.execute("set role architect_executor")
            refused(impostor, call, "42501", "only architect_executor may hide an index")
    finally:
        superuser.execute("drop role t_impostor")
    with cluster.connect(database, user="architect_executor") as executor:
        refused(executor, call, "42501", "was not created by pg_architect")
        refused(executor, "select architect._hide_index(0)", "42501", "was not created by pg_architect")
        refused_by_server(executor, "update pg_index set indisvalid = false")
        refused_by_server(executor, "insert into architect.must_roll_back values (1)")
    refused(superuser, call, "42501", "was not created by pg_architect")
    rows = superuser.execute("select count(*) from pg_index where not indisvalid").fetchall()
    assert rows == [(0,)]


def test_the_executor_replays_what_was_noted_for_its_measurement_alone(
    cluster: Cluster, database: str, superuser: Connection
) -> None:
    people.make_table(superuser)
    superuser.execute(
        "insert into architect.replay_statement"
        " values (1, 7, 'select a from app.thing', '{}', '[[]]', 't_app'::regrole, array['app.thing'::regclass])"
    )
    call = "select architect._replay_once(7, 0) ->> 'rows'"
    announce = ("select architect._begin_replay(1, 60)", "select architect._begin_statement(1, 7)")
    refusal = "this session does not replay statement 7"
    with cluster.connect(database, user="architect_executor") as executor:
        refused_by_server(executor, "select architect._lend_rights('t_app'::regrole, '{}')")
        refused_by_server(executor, "select architect._planner_replay('select a from app.thing', '{}', '{}')")
        refused_by_server(executor, "update architect.replay_statement set text = ''")
        refused(executor, call, "55000", refusal)
        for statement in announce:
            executor.execute(statement)
        refused(executor, call.replace("7", "8"), "55000", "this session does not replay statement 8")
        refused(executor, call.replace("0", "1"), "55000", refusal)
        with executor.transaction(force_rollback=True):
            assert executor.execute(call).fetchone() == ("2000",)
            assert executor.execute("select pg_has_role('architect_planner', 't_app', 'usage')").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InvalidTransactionTermination):
            executor.execute(call)
    people.make_role(superuser, "t_impostor", "architect_executor")
    try:
        with cluster.connect(database, user="t_impostor") as impostor:
            for statement in announce:
                impostor.execute(statement)
            refused(impostor, call, "55000", refusal)
    finally:
        superuser.execute("drop role t_impostor")


def test_grants_of_a_dba_survive(cluster: Cluster, database: str, superuser: Connection) -> None:
    """What 990_privileges.sql does on every upgrade: new objects get ours, known ones keep what they have."""
    superuser.execute("grant select on architect.proposals to t_nobody")
    superuser.execute("revoke execute on function architect.take_snapshot() from architect_operator")
    with superuser.transaction():
        superuser.execute((ROOT / "sql/000_guard.sql").read_text())
        superuser.execute("create function architect.brand_new() returns int language sql as 'select 1'")
        superuser.execute((ROOT / "sql/990_privileges.sql").read_text())
    row = superuser.execute("""
        select has_table_privilege('t_nobody', 'architect.proposals', 'select'),
               has_function_privilege('t_operator', 'architect.take_snapshot()', 'execute'),
               has_function_privilege('t_nobody', 'architect.brand_new()', 'execute'),
               (select proowner::regrole::text from pg_proc where proname = 'brand_new')
    """).fetchone()
    assert row == (True, False, False, "architect_owner")


ESCAPES = {
    "pg_backend_pid": "create function evil.pg_backend_pid() returns text language sql"
    " as $$select '1) as held; {}; select (0'$$",
    "quote_literal": "create function evil.quote_literal(text) returns text language sql"
    " as $$select 'null, ''caller''); {}; --'$$",
    "pg_sleep": "create function evil.pg_sleep(numeric) returns void language sql as $$select pg_catalog.pg_sleep(0)$$",
}  # fmt: skip


@pytest.mark.parametrize("shadowed", sorted(ESCAPES))
def test_an_operators_search_path_reaches_nobody_else(
    cluster: Cluster, database: str, superuser: Connection, shadowed: str
) -> None:
    """The procedures run with the caller's search_path; it must never speak in the executor's session."""
    people.make_table(superuser)
    superuser.execute("select architect.enroll('t_app')")
    superuser.execute(f"create schema evil authorization {OPERATOR}")
    planted = "create table app.planted ()"
    with cluster.connect(database, user=OPERATOR) as operator:
        operator.execute(ESCAPES[shadowed].format(planted))
        number = people.insert_proposal(superuser, OPERATOR, "kept")
        operator.execute("set search_path = evil, pg_catalog")
        operator.execute(f"call architect.sp_deploy_approved({number}, wait => '1 minute')")
        operator.execute("reset search_path")
    assert superuser.execute("select to_regclass('app.planted')").fetchone() == (None,)
    superuser.execute(f"select architect.withdraw('{APP}')")
