"""CREATE EXTENSION refuses what it could not trust: roles and schemas that somebody else prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from support import people
from support.cluster import Cluster
from support.people import APP, Connection, refused

INSTALL = "create extension pg_architect cascade"


@pytest.fixture(scope="module")
def untouched(cluster_factory: Callable[..., Cluster]) -> Iterator[Cluster]:
    """A cluster of its own, because roles are global and outlive their database."""
    cluster = cluster_factory()
    yield cluster
    cluster.remove()


PREPARED = {
    # how it was prepared: (statements, what CREATE EXTENSION says, statements that mend it)
    "superuser": (
        "create role architect_owner superuser", "exists with attributes", "alter role architect_owner nosuperuser",
    ),
    "login": ("create role architect_viewer login", "exists with attributes", "alter role architect_viewer nologin"),
    "bypass": (
        "create role architect_planner bypassrls", "exists with attributes", "alter role architect_planner nobypassrls",
    ),
    "createrole": (
        "create role architect_admin createrole", "exists with attributes", "alter role architect_admin nocreaterole",
    ),
    "no login": ("create role architect_executor", "exists with attributes", "alter role architect_executor login"),
    "replication": (
        "create role architect_executor login replication",
        "exists with attributes",
        "alter role architect_executor noreplication",
    ),
    "password": (
        "create role architect_executor login password 'known'",
        'role "architect_executor" has a password',
        "alter role architect_executor password null",
    ),
    "password without login": (
        "create role architect_owner password 'known'",
        'role "architect_owner" has a password',
        "alter role architect_owner password null",
    ),
    "a stranger inside": (
        "create role architect_executor login; create role mallory login in role architect_executor",
        'role mallory is a member of "architect_executor"',
        "revoke architect_executor from mallory",
    ),
    "a stranger in the owner": (
        "create role architect_owner; create role mallory login in role architect_owner",
        'role mallory is a member of "architect_owner"',
        "revoke architect_owner from mallory",
    ),
    "more than it should": (
        "create role architect_viewer; create role mallory; grant mallory to architect_viewer",
        'role "architect_viewer" is a member of mallory',
        "revoke mallory from architect_viewer",
    ),
}  # fmt: skip


def without_roles(connection: Connection) -> None:
    for role in ("owner", "planner", "reader", "executor", "operator", "approver", "admin", "viewer"):
        connection.execute(f"drop role if exists architect_{role}")
    connection.execute("drop role if exists mallory")


@pytest.mark.parametrize("how", sorted(PREPARED))
def test_prepared_roles(untouched: Cluster, how: str) -> None:
    prepare, words, mend = PREPARED[how]
    with untouched.database("template1") as name, untouched.connect(name) as connection:
        without_roles(connection)
        connection.execute(prepare)
        message = refused(connection, INSTALL, "42501", words)
        assert "architect_" in message
        assert connection.execute("select from pg_extension where extname = 'pg_architect'").fetchone() is None
        connection.execute(mend)
        connection.execute(INSTALL)
        connection.execute("drop extension pg_architect")


@pytest.mark.parametrize("quote", ["off", "on"])
def test_adopted_roles(untouched: Cluster, quote: str) -> None:
    """Whoever may approve already is named, and the executor's sessions begin as they should, in this database, too."""
    told: list[str] = []
    with untouched.database("template1") as name, untouched.connect(name) as connection:
        without_roles(connection)
        connection.execute(f"""
            create role architect_executor login;
            alter role architect_executor set lock_timeout = 0;
            alter role architect_executor set statement_timeout = 0;
            alter role architect_executor in database "{name}" set statement_timeout = 0;
            create role architect_approver;
            create role mallory login in role architect_approver;
            alter role architect_executor set default_transaction_read_only = on;
            grant mallory to architect_executor""")
        connection.add_notice_handler(lambda diagnostic: told.append(str(diagnostic.message_primary)))
        connection.execute(f"set quote_all_identifiers = {quote}".encode())
        connection.execute("grant pg_execute_server_program to architect_executor")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="member of pg_execute_server_program") as caught:
            connection.execute(INSTALL)
        connection.execute((caught.value.diag.message_hint or "").removeprefix("Run: ").encode())
        told.clear()
        connection.execute(INSTALL)
        assert [line for line in told if "member" in line] == [
            'role "architect_executor" is already a member of mallory',
            'role "mallory" is already a member of architect_approver',
        ]
        connection.execute("revoke mallory from architect_executor")
        with untouched.connect(name, user="architect_executor") as executor:
            for setting, value in (
                ("search_path", "pg_catalog, pg_temp"),
                ("lock_timeout", "1min"),
                ("statement_timeout", "1h"),
                ("deadlock_timeout", "100ms"),
                ("client_connection_check_interval", "1s"),
                ("default_transaction_read_only", "off"),
                ("default_transaction_isolation", "read committed"),
            ):
                row = executor.execute("select replace(current_setting(%s), '\"', '')", (setting,)).fetchone()
                assert row == (value,)
        # All roles are there now.
        connection.execute("drop extension pg_architect")
        connection.execute(INSTALL)
        connection.execute("drop extension pg_architect")


def test_the_hint_mends_it(untouched: Cluster) -> None:
    """The command in the hint is one that can be run as it is."""
    with untouched.database("template1") as name, untouched.connect(name) as connection:
        connection.execute("drop role if exists architect_admin")
        connection.execute("create role architect_admin superuser login createdb")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(INSTALL)
        hint = caught.value.diag.message_hint or ""
        connection.execute(hint.partition("run: ")[2].encode())
        connection.execute(INSTALL)


def test_schema_of_somebody_else(untouched: Cluster) -> None:
    with untouched.database("template1") as name, untouched.connect(name) as connection:
        people.make_role(connection, "mallory")
        connection.execute("create schema architect authorization mallory")
        refused(connection, INSTALL, "42501", 'schema "architect" belongs to "mallory"')
        connection.execute("alter schema architect owner to postgres; grant create on schema architect to mallory")
        refused(connection, INSTALL, "42501", 'others than its owner may create objects in schema "architect": mallory')
        connection.execute("revoke create on schema architect from mallory")
        for planted in (
            "table architect.x ()",
            "function architect.x() returns int language sql return 1",
            "type architect.x",
        ):
            connection.execute(f"create {planted}")
            refused(connection, INSTALL, "42501", 'schema "architect" exists and is not empty')
            connection.execute("drop schema architect cascade; create schema architect")
        connection.execute(INSTALL)


def test_a_superuser_of_any_name(untouched: Cluster) -> None:
    with untouched.connect() as connection:
        people.make_role(connection, 'dba "1"', options="superuser login")
    with untouched.database("template1") as name, untouched.connect(name, user='dba "1"') as connection:
        connection.execute(INSTALL)
        row = connection.execute(
            "select nspowner::regrole::text from pg_namespace where nspname = 'architect'"
        ).fetchone()
        assert row == ("architect_owner",)
        # The server leaves the schema of an extension; it is empty, and the next installation takes it.
        connection.execute("drop extension pg_architect cascade")
        connection.execute(INSTALL)


def test_only_a_superuser_installs(untouched: Cluster) -> None:
    with untouched.connect() as connection:
        people.make_role(connection, "owner_of_it")
        connection.execute("create database of_somebody owner owner_of_it")
    with untouched.connect("of_somebody", user="owner_of_it") as connection:
        refused(connection, INSTALL, "42501")


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        yield connection


UNFIT = {
    "a superuser": ("create role t_unfit superuser", "t_unfit"),
    "a member of a superuser": ("create role t_unfit; grant postgres to t_unfit", "t_unfit"),
    "a grandchild": (
        "create role t_unfit; create role t_middle in role postgres; grant t_middle to t_unfit",
        "t_unfit",
    ),
    "in the owner": ("create role t_unfit in role architect_owner", "t_unfit"),
    "in the system": ("create role t_unfit in role pg_execute_server_program", "t_unfit"),
    "role maker": ("create role t_unfit createrole", "t_unfit"),
    "row security": ("create role t_unfit bypassrls", "t_unfit"),
    "replication": ("create role t_unfit replication", "t_unfit"),
    "the owner": ("", "architect_owner"),
    "the executor": ("", "architect_executor"),
    "the system": ("", "pg_read_all_data"),
    "the installer": ("", "postgres"),
}


@pytest.mark.parametrize("who", sorted(UNFIT))
def test_enroll_refuses(superuser: Connection, who: str) -> None:
    prepare, role = UNFIT[who]
    try:
        if prepare:
            superuser.execute(prepare)
        before = people.state_of_the_world(superuser)
        refused(superuser, f"select architect.enroll('{role}')", "42501", f'role "{role}" cannot be enrolled')
        assert people.state_of_the_world(superuser) == before
    finally:
        superuser.execute("drop role if exists t_unfit; drop role if exists t_middle")


@pytest.mark.parametrize("name", ["no such role", "", '"; drop table x; --', "'", "größe", None])
def test_enroll_unknown(superuser: Connection, name: str | None) -> None:
    for function in ("enroll", "withdraw"):
        with pytest.raises(psycopg.Error) as caught:
            superuser.execute(f"select architect.{function}(%s)", (name,))
        assert caught.value.sqlstate == "42704"
        assert caught.value.diag.message_hint


def test_enroll_and_withdraw(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Also a role that owns the database, and one with a name that has to be quoted."""
    people.make_role(superuser, 't_App "2"')
    superuser.execute(f'alter database "{database}" owner to {APP}')
    with cluster.connect(database) as fresh:
        for name in (APP, 't_App "2"'):
            told = fresh.execute("select architect.enroll(%s)", (name,)).fetchone()
            assert told is not None
            assert "now holds the rights" in told[0]
            fresh.execute("select architect.enroll(%s)", (name,))  # twice is once
    rows = superuser.execute(
        "select role_name, enrolled_by, is_effective from architect.enrollments order by 1"
    ).fetchall()
    assert rows == [('t_App "2"', "postgres", True), (APP, "postgres", True)]
    # withdrawn behind our back: the view says so
    superuser.execute(f"revoke {APP} from architect_executor")
    rows = superuser.execute("select role_name from architect.enrollments where not is_effective").fetchall()
    assert rows == [(APP,)]
    for name in (APP, 't_App "2"'):
        superuser.execute("select architect.withdraw(%s)", (name,))
    assert superuser.execute("select count(*) from architect.enrollments").fetchone() == (0,)
    told = superuser.execute("select architect.withdraw(%s)", (APP,)).fetchone()
    assert told == (f"{APP} was not enrolled",)
    superuser.execute(f'alter database "{database}" owner to postgres; drop role "t_App ""2"""')


def test_enrolling_needs_the_right_to_grant(cluster: Cluster, database: str, superuser: Connection) -> None:
    """An admin of pg_architect who may not grant the role gets no further than the server lets them."""
    before = people.state_of_the_world(superuser)
    with cluster.connect(database, user=people.ADMIN) as admin:
        refused(admin, f"select architect.enroll('{APP}')", "42501", f'{people.ADMIN} may not grant role "{APP}"')
        # nor is one recorded that is not there
        admin.execute(f"select architect._record_enrollment('{APP}')")
    assert people.state_of_the_world(superuser) == before
    superuser.execute(f"select architect.enroll('{APP}')")
    with cluster.connect(database, user=people.ADMIN) as admin:
        refused(admin, f"select architect.withdraw('{APP}')", "42501", f'{people.ADMIN} may not revoke role "{APP}"')
        # nor forgotten while it is
        admin.execute(f"select architect._record_enrollment('{APP}')")
        assert admin.execute("select is_effective from architect.enrollments").fetchall() == [(True,)]
    superuser.execute(f"grant {APP} to {people.ADMIN} with admin option")
    with cluster.connect(database, user=people.ADMIN) as admin:
        admin.execute(f"select architect.enroll('{APP}')")
        admin.execute(f"select architect.withdraw('{APP}')")
    superuser.execute(f"revoke {APP} from {people.ADMIN}")
