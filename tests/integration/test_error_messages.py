"""Messages that need an odd moment to be seen; golden/errors.txt lists every one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from pg_architect.safety.sandbox import read_only
from support import people
from support.cluster import ROOT, Cluster, install_extensions
from support.people import APP, OPERATOR, Connection, refused

INDEX = "create index concurrently thing_a on app.thing (a)"


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        people.make_table(connection)
        connection.execute(f"select architect.enroll('{APP}')")
        yield connection
        connection.execute(f"revoke {APP} from architect_executor")


@pytest.fixture
def operator(cluster: Cluster, database: str, superuser: Connection) -> Iterator[Connection]:
    with cluster.connect(database, user=OPERATOR) as connection:
        yield connection


def deploy(number: int) -> str:
    return f"call architect.sp_deploy_approved({number}, wait => '1 minute')"


def test_a_move_that_is_not_allowed(superuser: Connection) -> None:
    number = people.insert_proposal(superuser, "somebody", "kept")
    refused(superuser, f"select architect._transition({number}, 'approved')", "55000", "it cannot become approved")
    refused(superuser, "select architect._transition(99, 'approved')", "55000", "is unknown")


def test_a_count_is_a_whole_number(superuser: Connection) -> None:
    refused(superuser, "select architect.set_setting('max_statements', '10.5')", "22023", "is a count")


def test_a_read_only_session(operator: Connection) -> None:
    operator.execute("select architect.take_snapshot()")  # registers this copy of the template
    operator.execute("set default_transaction_read_only = on")
    refused(operator, "call architect.sp_autonomous_improvement()", "25006", "this session is read-only")


def test_the_planner_takes_queries_only(superuser: Connection) -> None:
    """Its callers prove what they pass; this holds the line if one forgets."""
    for text in ("drop table app.thing", "delete from app.thing", "create table x as select 1", "do $$ begin end $$"):
        call = read_only(f"architect._planner_replay('{text}', '{{}}', '{{}}')")
        refused(superuser, f"select {call}", "42501", "only a SELECT")
        call = read_only(f"architect._planner_parameter_types('{text}')")
        refused(superuser, f"select {call}", "0A000", "only a query is planned", hint=False)
    request = '{"indexes": ["drop table app.thing"], "statements": []}'
    words = "only a create index statement can be tried"
    call = read_only(f"architect._planner_what_if('{request}')")
    refused(superuser, f"select {call}", "0A000", words, hint=False)
    assert superuser.execute("select count(*) from app.thing").fetchone() == (2000,)


def test_an_owner_who_became_somebody_else(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Rights that were given after the enrollment count, too."""
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute(f"grant pg_execute_server_program to {APP}")
    try:
        with cluster.connect(database, user=OPERATOR) as operator:
            refused(operator, deploy(number), "42501", "architect_executor must not act for the owner of app.thing")
    finally:
        superuser.execute(f"revoke pg_execute_server_program from {APP}")


def test_an_owner_without_a_place_for_the_index(cluster: Cluster, database: str, superuser: Connection) -> None:
    superuser.execute("alter schema app owner to postgres")
    superuser.execute(f"grant usage on schema app to {APP}")
    number = people.approved_change(cluster, database, INDEX)
    with cluster.connect(database, user=OPERATOR) as operator:
        words = f'"{APP}" may not create objects in the schema of app.thing'
        refused(operator, deploy(number), "42501", words, hint=f"grant create on schema app to {APP};")
    query = "select status, detail, remedy from architect.check_health() where component = %s"
    status, detail, remedy = superuser.execute(query, (f"tables of {APP}",)).fetchone() or ("", "", "")
    assert (status, remedy) == ("warning", f"grant create on schema app to {APP};")
    assert detail == "1 table, but no index may be created in their schema: CREATE is missing"
    superuser.execute(remedy.encode())
    # Neither a partitioned table nor its partitions can be indexed by us.
    superuser.execute(f"""
        create table app.parted (id int) partition by list (id);
        create table app.part partition of app.parted default;
        alter table app.parted owner to {APP}; alter table app.part owner to {APP}""")
    assert superuser.execute(query, (f"tables of {APP}",)).fetchone() == (
        "ok", "1 table can be looked at and, after approval, indexed", None,
    )  # fmt: skip


def test_no_proposal_at_all(operator: Connection) -> None:
    call = "call architect.sp_deploy_approved(null, wait => '1 minute')"
    refused(operator, call, "P0002", "there is no proposal NULL")


def test_an_index_that_somebody_dropped(cluster: Cluster, database: str, superuser: Connection) -> None:
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute("update architect.proposal set state = 'deployed'")
    with cluster.connect(database, user=OPERATOR) as operator:
        refused(operator, deploy(number), "55000", "the index was dropped by somebody else")
    assert superuser.execute("select state from architect.proposal").fetchone() == ("failed",)


def test_a_name_that_is_taken_meanwhile(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Between the last look and the build; what has the name now is left alone."""
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute("update architect.proposal set state = 'deploying'; create table app.thing_a ()")
    with cluster.connect(database, user=OPERATOR) as operator:
        words = "no longer what was approved: app already has a relation named thing_a"
        refused(operator, deploy(number), "55000", words, hint="Propose it again with architect.propose_change.")
    assert superuser.execute("select state, to_regclass('app.thing_a') from architect.proposal").fetchone() == (
        "refused",
        "app.thing_a",
    )


def test_a_reader_in_the_way_of_a_rollback(cluster: Cluster, database: str, superuser: Connection) -> None:
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute(INDEX)
    superuser.execute("""
        update architect.proposal
           set state = 'kept', work_name = 'architect_1_test', created_index_oid = 'app.thing_a'::regclass;
        insert into architect.built_index (deployment_id, index_oid, relation_oid, index_name, proposal_id)
        select deployment_id, created_index_oid, relation_oid, index_name, proposal_id from architect.proposal;
        select architect.set_setting('build_lock_timeout', '1');
    """)
    call = f"call architect.sp_rollback({number}, 'maintenance')"
    with cluster.connect(database, user=OPERATOR) as operator:
        with cluster.connect(database) as reader, reader.transaction():
            reader.execute("select count(*) from app.thing where a = 1")
            refused(
                operator, call, "55000", f"proposal {number} could not be reverted: canceling statement due to lock"
            )
        row = superuser.execute(
            "select status from architect.check_health() where component = %s", (f"proposal {number}",)
        )
        assert row.fetchone() == ("critical",)
        operator.execute(call)
    assert superuser.execute("select state, to_regclass('app.thing_a') from architect.proposal").fetchone() == (
        "reverted",
        None,
    )


def test_a_standby(cluster_factory: Callable[..., Cluster]) -> None:
    """It says that it is one, and where to go."""
    server = cluster_factory()
    with server.connect() as connection:
        install_extensions(connection)
        people.make_people(connection)
    server.tool("stop")
    (server.directory / "data/standby.signal").touch()
    server.tool("start")
    with server.connect() as connection:
        refused(connection, "call architect.sp_autonomous_improvement()", "25006", "this server is a standby")
        row = connection.execute(
            "select status, remedy from architect.check_health() where component = 'server'"
        ).fetchone()
        assert row is not None
        assert row[0] == "critical"
        refused(connection, "select architect.take_snapshot()", "25006", hint=False)
        connection.execute("select * from architect.proposals, architect.findings, architect.top_queries")
    server.remove()


def test_a_server_of_another_version(superuser: Connection) -> None:
    """As on PostgreSQL 14 or 19: the guard itself, with other bounds."""
    guard = (ROOT / "sql/000_guard.sql").read_text()
    assert "150000 and 189999" in guard
    words = "pg_architect supports PostgreSQL 15 to 18, this is"
    refused(superuser, guard.replace("150000 and 189999", "140000 and 149999").encode(), "0A000", words)


def test_a_socket_of_another_server(cluster_factory: Callable[..., Cluster]) -> None:
    """The executor's session must be on the very server that asks for it, whatever lies at the socket's path."""
    ours, other = cluster_factory(), cluster_factory()
    for server in (ours, other):
        with server.connect() as connection:
            install_extensions(connection)
    crossing = ours.directory / "crossing"
    shutil.copytree(ours.directory / "socket", crossing, ignore=lambda _, names: names)
    shutil.chown(crossing, (ours.directory / "socket").owner())
    ours.tool("stop")
    ours.start({"unix_socket_directories": f"'{crossing}, {ours.socket}'"})
    own = crossing / f".s.PGSQL.{ours.port}"
    own.unlink()
    own.symlink_to(f"{other.socket}/.s.PGSQL.{other.port}")
    with ours.connect() as connection:
        row = connection.execute("select status, detail from architect.check_health() where component = 'executor'")
        status, detail = row.fetchone() or ("", "")
        assert status == "warning"
        assert "the server behind the socket is another one" in detail
        people.make_people(connection)
        number = people.insert_proposal(connection, "somebody", "approved")
        with ours.connect(user=OPERATOR) as operator:
            refused(operator, deploy(number), "55000", "the server behind the socket is another one")
    for server in (ours, other):
        server.remove()
