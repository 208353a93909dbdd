"""People with the roles of pg_architect, its entry points by the catalogue, and what a refusal must look like."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from support.cluster import Cluster

Connection = psycopg.Connection[Any]

NOBODY, VIEWER, OPERATOR, APPROVER, ADMIN = "t_nobody", "t_viewer", "t_operator", "t_approver", "t_admin"
APP = "t_app"  # owns tables
PEOPLE = {
    NOBODY: None,
    VIEWER: "architect_viewer",
    OPERATOR: "architect_operator",
    APPROVER: "architect_approver",
    ADMIN: "architect_admin",
    APP: None,
}


def make_people(connection: Connection) -> None:
    """Login roles, one for each role of pg_architect; roles are the cluster's, so they may be there already."""
    for name, group in PEOPLE.items():
        make_role(connection, name, *([group] if group else []))


def make_role(connection: Connection, name: str, *groups: str, options: str = "login") -> None:
    there = connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone()
    if there is None:
        connection.execute(sql.SQL("create role {} " + options).format(sql.Identifier(name)))
    for group in groups:
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class Routine:
    """A function or procedure of schema architect."""

    name: str
    identity: str
    is_procedure: bool
    returns_trigger: bool
    types: tuple[str, ...]

    def call(self, *values: str | None) -> sql.SQL:
        """The statement that calls it with these literals; NULL for what is not given."""
        given = [*values, *[None] * (len(self.types) - len(values))]
        arguments = [f"{_literal(value)}::{type_name}" for value, type_name in zip(given, self.types, strict=True)]
        if self.is_procedure:
            return sql.SQL(f"call architect.{self.name}({', '.join(arguments)})")
        # Subqueries, because a strict function's call with a constant NULL is folded before a right is checked.
        hidden = ", ".join(f"(select {argument})" for argument in arguments)
        return sql.SQL(f"select * from architect.{self.name}({hidden})")


def _literal(value: str | None) -> str:
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def routines(connection: Connection) -> list[Routine]:
    """Every routine that can be called; the arguments of a procedure include the INOUT ones."""
    rows = connection.execute("""
        select proname, oid::regprocedure::text, prokind = 'p', prorettype = 'trigger'::regtype,
               array(select format_type(t, null) from unnest(proargtypes) with ordinality as u (t, n) order by n)
          from pg_proc where pronamespace = 'architect'::regnamespace order by 2
    """).fetchall()
    return [Routine(name, identity, kind, trigger, tuple(types)) for name, identity, kind, trigger, types in rows]


def public_routines(connection: Connection) -> list[Routine]:
    return [one for one in routines(connection) if not one.name.startswith("_")]


def relations(connection: Connection) -> list[str]:
    """Tables and views of schema architect."""
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'architect'::regnamespace"
        " and relkind in ('r', 'p', 'v', 'm') order by 1"
    ).fetchall()
    return [name for (name,) in rows]


def tables(connection: Connection) -> list[str]:
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'architect'::regnamespace"
        " and relkind in ('r', 'p') order by 1"
    ).fetchall()
    return [name for (name,) in rows]


def state_of_the_world(connection: Connection) -> dict[str, Any]:
    """What a refused call must leave as it was: all rows of pg_architect, and every object, role and membership."""
    found: dict[str, Any] = {}
    for name in tables(connection):
        query = sql.SQL("select count(*), md5(string_agg(t::text, '' order by t::text)) from architect.{} as t")
        found[name] = connection.execute(query.format(sql.Identifier(name))).fetchone()
    catalogue: dict[str, LiteralString] = {
        "objects": "select count(*), md5(string_agg(format('%s %s %s', oid, relname, relacl), '' order by oid))"
        " from pg_class"
        " where relpersistence <> 't' and relnamespace not in ('pg_toast'::regnamespace)",
        "routines": "select count(*), md5(string_agg(format('%s %s', oid, proacl), '' order by oid)) from pg_proc",
        "roles": "select count(*), md5(string_agg(r::text, '' order by r.oid)) from pg_roles as r",
        "members": "select count(*) from pg_auth_members",
    }
    for name, text in catalogue.items():
        found[name] = connection.execute(text).fetchone()
    return found


def refused(connection: Connection, statement: Any, sqlstate: str, words: str = "", *, hint: bool | str = True) -> str:
    """Run a statement that must fail so, with a hint (these words); returns the message. The session stays usable."""
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    diag = caught.value.diag
    told = f"{diag.sqlstate} {diag.message_primary} ({diag.message_detail}; {diag.message_hint})"
    assert diag.sqlstate == sqlstate, told
    assert words in (diag.message_primary or ""), told
    assert not hint or diag.message_hint, f"no hint: {told}"
    assert not isinstance(hint, str) or hint in (diag.message_hint or ""), told
    if connection.autocommit:
        assert connection.execute("select 1").fetchone() == (1,)
    else:
        connection.rollback()
    return str(diag.message_primary)


def refused_by_server(connection: Connection, statement: Any) -> None:
    """The server's own privilege check; it has no hint."""
    refused(connection, statement, "42501", hint=False)


def insert_proposal(
    connection: Connection, requested_by: str, state: str = "awaiting_approval", number: int = 0
) -> int:
    """A proposal as the cycle would write it, put there by a superuser; returns its number."""
    objects = json.dumps({"relation_oid": 0, "relation_name": "app.thing", "index_name": f"thing_{number}"})
    row = connection.execute(
        """insert into architect.proposal (deployment_id, generator, change_type, requested_by, relation_oid,
             relation_name, relation_owner, index_name, title, hypothesis, why, apply_sql, revert_sql, definition,
             risk_level, impact, prediction, gate_verdict, gate_reasons, gate_version, gate_objects, digest, state)
           select architect._this_deployment(), 'rules', 'create_index', %(who)s, 0, 'app.thing', %(app)s, %(index)s,
             'an index', 'it helps', 'because', %(apply)s, %(revert)s, %(apply)s,
             'low', 'unknown', '{}', 'needs_approval', '[]', '1',
             %(objects)s, architect._digest(%(apply)s, %(revert)s, %(objects)s, '1'), %(state)s
           returning proposal_id""",
        {
            "who": requested_by,
            "app": APP,
            "index": f"thing_{number}",
            "apply": f"create index concurrently thing_{number} on app.thing using btree (a)",
            "revert": f"drop index concurrently app.thing_{number}",
            "objects": objects,
            "state": state,
        },
    ).fetchone()
    assert row is not None
    return int(row[0])


def make_table(connection: Connection, name: str = "thing", rows: int = 2000) -> None:
    """A table of t_app in its schema app, with rows and statistics."""
    connection.execute(sql.SQL("create schema if not exists app authorization {}").format(sql.Identifier(APP)))
    table = sql.Identifier("app", name)
    connection.execute(sql.SQL("create table {} (id int primary key, a int, b text)").format(table))
    connection.execute(
        sql.SQL("insert into {} select i, i %% 500, 'row ' || i from generate_series(1, %s) as i").format(table),
        (rows,),
    )
    connection.execute(sql.SQL("alter table {} owner to {}").format(table, sql.Identifier(APP)))
    connection.execute(sql.SQL("analyze {}").format(table))


def approved_change(cluster: Cluster, database: str, statement: str, reason: str = "it helps") -> int:
    """A change that an operator proposed and another person approved; returns its number."""
    with cluster.connect(database, user=OPERATOR) as operator:
        row = operator.execute("select architect.propose_change(%s, %s)", (statement, reason)).fetchone()
    assert row is not None
    with cluster.connect(database, user=APPROVER) as approver:
        approver.execute("select architect.approve(%s, 'looks right')", (row[0],))
    return int(row[0])
