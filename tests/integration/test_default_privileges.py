"""What the extension grants does not depend on the default privileges of whoever installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import catalogue, people
from support.cluster import Cluster
from support.people import APPROVER, NOBODY, OPERATOR, VIEWER, refused_by_server

GOLDEN = Path(__file__).parents[1] / "golden"
INSTALL = "create extension pg_architect cascade"
DEFAULTS = {
    "functions to a role": f'alter default privileges grant execute on functions to {NOBODY}, "t_Odd role"',
    "functions from public": "alter default privileges revoke execute on functions from public",
    "tables to a role": f"alter default privileges grant select on tables to {NOBODY}",
    "all tables to public": "alter default privileges grant all on tables to public",
    "with grant option": f"alter default privileges grant all on functions to {NOBODY} with grant option",
    "to roles of ours": "alter default privileges grant all on tables to architect_owner, architect_viewer",
    "from the owner": "alter default privileges revoke all on tables from postgres;"
    " alter default privileges revoke all on functions from postgres, public;"
    " alter default privileges revoke all on sequences from postgres;"
    " alter default privileges revoke all on schemas from postgres",
    "sequences": f"alter default privileges grant all on sequences to {NOBODY}, public",
    "usage of schemas": f"alter default privileges grant usage on schemas to {NOBODY}, public",
    "all on schemas": f"alter default privileges grant all on schemas to {NOBODY}",
    "in a schema that is there": "create schema architect;"
    f" alter default privileges in schema architect grant all on tables to {NOBODY};"
    f" alter default privileges in schema architect grant all on routines to {NOBODY};"
    f" grant usage on schema architect to {NOBODY}",
}


@pytest.fixture(scope="module", autouse=True)
def everybody(cluster: Cluster) -> Iterator[None]:
    with cluster.connect() as connection:
        people.make_people(connection)
        people.make_role(connection, "t_Odd role")
        yield
        connection.execute('drop role "t_Odd role"')


@pytest.mark.parametrize("which", sorted(DEFAULTS))
def test_a_fresh_installation(cluster: Cluster, plain_database: str, which: str) -> None:
    with cluster.connect(plain_database) as connection:
        connection.execute("create extension pg_stat_statements")
        connection.execute(DEFAULTS[which])
        connection.execute(INSTALL)
        for name in ("privileges", "objects"):
            found = catalogue.lines(connection, getattr(catalogue, name.upper()))
            assert found == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        # its owner may use what it has, also an identity's sequence
        assert connection.execute("""
            select c.oid::regclass::text from pg_class as c
             where c.relnamespace = 'architect'::regnamespace
               and (c.relkind in ('r', 'v') and not has_table_privilege(c.relowner, c.oid, 'insert')
                    or c.relkind = 'S' and not has_sequence_privilege(c.relowner, c.oid, 'usage'))
             union all
            select p.oid::regprocedure::text from pg_proc as p
             where p.pronamespace = 'architect'::regnamespace
               and not has_function_privilege(p.proowner, p.oid, 'execute')
             union all
            select nspname from pg_namespace as n
             where nspname = 'architect' and not has_schema_privilege(nspowner, oid, 'usage, create')
        """).fetchall() == []  # fmt: skip
        assert not_as_created(connection) == []
        # no setting of ours outlives the script
        assert connection.execute(
            "select coalesce(current_setting('pg_architect.existing_objects', true), '')"
        ).fetchone() == ("",)
    with cluster.connect(plain_database, user=OPERATOR) as operator:
        operator.execute("select * from architect.proposals")
        operator.execute("call architect.sp_autonomous_improvement()")
    with cluster.connect(plain_database, user=VIEWER) as viewer:
        refused_by_server(viewer, "select architect.approve(1)")
        refused_by_server(viewer, "select architect._lend_rights(0, '{}')")
    with cluster.connect(plain_database, user=NOBODY) as nobody:
        refused_by_server(nobody, "select * from architect.proposal")


def test_a_schema_that_others_may_create_in_is_refused(cluster: Cluster, plain_database: str) -> None:
    """One that CREATE EXTENSION did not make itself."""
    with cluster.connect(plain_database) as connection:
        connection.execute(f"create schema architect; grant create on schema architect to {NOBODY}")
        people.refused(connection, INSTALL, "42501", "others than its owner may create objects")


def test_a_dump_has_no_privileges_but_those_of_a_dba(cluster: Cluster, plain_database: str) -> None:
    """pg_dump compares with pg_init_privs, which has to hold what the installation ended with."""
    with cluster.connect(plain_database) as connection:
        connection.execute(
            DEFAULTS["functions to a role"] + ";" + DEFAULTS["sequences"] + ";" + DEFAULTS["tables to a role"]
        )
        connection.execute(INSTALL)
        connection.execute(f"grant select on architect.run to {APPROVER}")
    dump = cluster.run("pg_dump", plain_database)
    ours = [line for line in dump.splitlines() if line.startswith(("GRANT", "REVOKE")) and " architect." in line]
    assert ours == [f"GRANT SELECT ON TABLE architect.run TO {APPROVER};"]


def not_as_created(connection: people.Connection) -> list[tuple[str]]:
    """Objects of ours whose privileges are not those that pg_init_privs notes."""
    rows: list[tuple[str]] = connection.execute("""
        select c.oid::regclass::text
          from pg_class as c
          left join pg_init_privs as i on i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = 0
         where c.relnamespace = 'architect'::regnamespace and c.relkind in ('r', 'v', 'S')
           and i.initprivs::text is distinct from c.relacl::text
         union all
        select p.oid::regprocedure::text
          from pg_proc as p left join pg_init_privs as i on i.classoid = 'pg_proc'::regclass and i.objoid = p.oid
         where p.pronamespace = 'architect'::regnamespace and i.initprivs::text is distinct from p.proacl::text
    """).fetchall()  # fmt: skip
    return rows
