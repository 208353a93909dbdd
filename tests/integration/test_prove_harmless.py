"""Hostile text against a real server: nothing of its author's runs, neither in the proof nor when it is planned.

The caller is a superuser throughout: that is whose rights the author of the text is after.
"""

from __future__ import annotations

import json

import psycopg
import pytest

from support.cluster import Cluster
from support.people import make_role
from support.traps import DANGEROUS, DISARMED, EVE, HARMLESS, SUSPECT, Connection, prove, traces


@pytest.mark.parametrize("statement", DANGEROUS + DISARMED)
def test_the_traps_work(admin: Connection, statement: str) -> None:
    """Whoever plans these by hand runs the trap: otherwise the tests below would prove nothing."""
    before = traces(admin)
    with admin.transaction(force_rollback=True):
        admin.execute("set local search_path = eve, public, pg_catalog")
        if "by_policy" in statement:  # to which a superuser is not subject
            admin.execute("set local role t_victim")
        admin.execute(f"explain {statement}")
        admin.execute(statement)
    assert traces(admin) > before


@pytest.mark.parametrize("statement", DANGEROUS + SUSPECT)
def test_hostile_statements_are_not_harmless(admin: Connection, statement: str) -> None:
    before = traces(admin)
    proof = prove(admin, statement)
    assert not proof.harmless
    assert proof.reason
    assert proof.qualified_text is None
    if "\0" not in statement:
        row = admin.execute(
            "select harmless, reason is null from architect.prove_harmless(%s, %s)", (statement, EVE)
        ).fetchone()
        # That one looks deeper; behind this table there is nothing to be afraid of.
        assert row == (("from partitioned" in statement),) * 2
    assert traces(admin) == before


@pytest.mark.parametrize("statement", HARMLESS)
@pytest.mark.parametrize("path", ["eve, public", "public, eve, pg_catalog"])
def test_harmless_statements_are_planned_without_a_trace(admin: Connection, statement: str, path: str) -> None:
    before = traces(admin)
    proof = prove(admin, statement)
    assert proof.harmless, proof.reason
    admin.execute(f"set search_path = {path}")
    # A temporary table of the caller's hides the real one where names are not qualified.
    admin.execute("create temporary table plain (id int, name text check (public.evil(length(name)) = 1))")
    admin.execute("set standard_conforming_strings = off")
    row = admin.execute("select public.plan_pinned(%s)", (proof.qualified_text,)).fetchone()
    assert row is not None
    assert "pg_temp" not in json.dumps(row)
    assert traces(admin) == before


def test_standard_strings_mean_the_same_whatever_the_session_says(admin: Connection) -> None:
    text = prove(admin, "select 'a\\', ' from plain where 1 = evil(5) --\\'").qualified_text
    admin.execute("set standard_conforming_strings = off")
    assert admin.execute(str(text).encode()).fetchone() == ("a\\", " from plain where 1 = evil(5) --\\")


def test_names_are_those_of_the_statements_role(admin: Connection) -> None:
    with admin.transaction(force_rollback=True):
        admin.execute("create schema other; create table other.plain (id int); create table other.alone (id int)")
        admin.execute("grant usage on schema other to t_victim; grant select on all tables in schema other to t_victim")
        assert [r.schema for r in prove(admin, "select id from plain").relations] == ["public"]
        assert prove(admin, "select id from alone", "t_victim").qualified_text == "SELECT id FROM other.alone"
        admin.execute("alter role t_victim in database " + admin.info.dbname + " set search_path = other, public")
        assert prove(admin, "select id from plain", "t_victim").qualified_text == "SELECT id FROM other.plain"
        admin.execute("create schema more; create table more.alone (id int); alter role t_victim reset all")
        admin.execute("alter role t_victim in database " + admin.info.dbname + " reset all")
        assert "ambiguous" in str(prove(admin, "select id from alone", "t_victim").reason)


def test_the_owner_of_the_statement_must_still_be_allowed_to_read(admin: Connection) -> None:
    assert prove(admin, "select id from only_eve").harmless
    assert "may not read public.only_eve" in str(prove(admin, "select id from only_eve", "t_victim").reason)
    with admin.transaction(force_rollback=True):
        admin.execute("create table public.columns (a int, b int); grant select (a) on public.columns to t_victim")
        assert prove(admin, "select a from columns where a = 1", "t_victim").harmless
        assert prove(admin, "select count(*) from columns", "t_victim").harmless
        for statement in ("select b from columns", "select * from columns", "select a, ctid from columns"):
            assert "may not read" in str(prove(admin, statement, "t_victim").reason)
    assert "does not exist any more" in str(prove(admin, "select 1", "t_nobody_at_all").reason)


@pytest.mark.parametrize(
    ("wiring", "reason"),
    [
        ("create cast (int as xml) with function public.evil_xml(int) as implicit", "cast from integer to xml"),
        ("create function pg_catalog.lower(int) returns text immutable language sql as 'select null'", "added to"),
        ("create operator pg_catalog.= (leftarg = int, rightarg = text, function = public.evil_eq)", "operator ="),
        (
            "create operator class public.x default for type point using btree as function 1 evil_cmp(point, point)",
            "operator class x",
        ),
        (
            "alter operator family integer_ops using btree add function 1 (int4, text) public.evil_cmp(int4, text)",
            "operator family integer_ops",
        ),
    ],
)
def test_user_code_wired_into_built_in_types(admin: Connection, wiring: str, reason: str) -> None:
    """Only a superuser can do that; a statement that looks harmless is refused all the same."""
    with admin.transaction(force_rollback=True):
        for signature, result in {
            "evil_xml(int)": "xml",
            "evil_eq(int, text)": "boolean",
            "evil_cmp(point, point)": "int",
            "evil_cmp(int4, text)": "int",
        }.items():
            admin.execute(
                f"create function public.{signature} returns {result} immutable language plpgsql as"
                " $$begin perform nextval('public.traces'); return null; end$$"
            )
        assert prove(admin, "select lower(name) from plain where id = 1").harmless
        admin.execute(wiring)
        assert reason in str(prove(admin, "select lower(name) from plain where id = 1").reason)


def test_an_index_of_an_extensions_operator_class(admin: Connection) -> None:
    with admin.transaction(force_rollback=True):
        admin.execute("create table public.vectors (id int, v public.vector(3))")
        admin.execute("grant select on public.vectors to t_eve")
        assert prove(admin, "select id from vectors").harmless
        assert "user-defined type vector" in str(prove(admin, "select v from vectors").reason)
        admin.execute("create index on public.vectors using hnsw (v public.vector_l2_ops)")
        assert "vector_l2_ops" in str(prove(admin, "select id from vectors").reason)


def test_prove_harmless_asks_for_the_sessions_own_role(cluster: Cluster, admin: Connection, trapped: str) -> None:
    make_role(admin, "t_safety_operator", "architect_operator")
    admin.execute("grant select on public.plain to t_safety_operator")
    with cluster.connect(trapped, "t_safety_operator") as connection:
        row = connection.execute(
            "select * from architect.prove_harmless('select id from plain where id = $1')"
        ).fetchone()
        assert row == ("select", True, None, ["public.plain"], 1)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied to ask for role t_eve"):
            connection.execute("select * from architect.prove_harmless('select 1', 't_eve')")
        admin.execute("grant pg_read_all_stats to t_safety_operator")
        assert connection.execute("select harmless from architect.prove_harmless('select 1', 't_eve')").fetchone() == (
            True,
        )
        admin.execute("revoke pg_read_all_stats from t_safety_operator")
        row = connection.execute("select kind, harmless from architect.prove_harmless(null)").fetchone()
        assert row == ("unparsable", False)
    with cluster.connect(trapped, EVE) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from architect.prove_harmless('select 1')")
