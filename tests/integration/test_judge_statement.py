"""The verdict of the safety gate against a real server, for hostile text and for what can be applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety import executable
from support.cluster import Cluster
from support.people import APP, make_people, make_table
from support.traps import DANGEROUS, HARMLESS, SUSPECT, Connection, prove, traces

HOSTILE = (Path(__file__).parents[1] / "data" / "hostile_statements.txt").read_text().splitlines()


def judge(connection: Connection, statement: str | None) -> dict[str, Any]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute("select * from architect.judge_statement(%s)", (statement,)).fetchall()
    assert len(rows) == 1
    return rows[0]


def executable_form(connection: Connection, statement: str) -> dict[str, Any]:
    """What the gate says of a statement that pg_architect would execute itself."""
    return executable.judge(PsycopgDatabase(connection), statement).to_json()


def test_a_verdict_for_every_hostile_statement(admin: Connection) -> None:
    before = traces(admin)
    admin.execute("set search_path = eve, public")
    for statement in [*HOSTILE, *DANGEROUS, *SUSPECT, *HARMLESS, "", None]:
        if "\0" not in (statement or ""):
            row = judge(admin, statement)
            # Some of them harm nobody; the executor runs none.
            assert executable_form(admin, statement)["verdict"] == "refuse", statement
            assert row["reasons"] or row["verdict"] == "allow"
            assert (row["apply_sql"] is None) == (row["verdict"] == "refuse")
    assert traces(admin) == before


@pytest.mark.parametrize("unit", ["1+", "- ", "not ", "f(", "(select ", "1 union select ", "a[1]::int,"])
@pytest.mark.parametrize("length", [2_000, 60_000])
def test_deep_nesting_does_not_crash_the_server(admin: Connection, unit: str, length: int) -> None:
    text = "select " + unit * (length // len(unit)) + "1"
    for closed in (text, text + ")" * text.count("(")):
        assert judge(admin, closed)["verdict"] in ("refuse", "allow")
        admin.execute("select * from architect.prove_harmless(%s)", (closed,))


@pytest.fixture
def shop_table(admin: Connection) -> Iterator[Connection]:
    admin.execute("""
        create schema "Läden" authorization t_eve;
        set role t_eve;
        create table "Läden"."Order"
            ("Größe" int primary key, "select" text, calm public.calm, mood public.mood, at timestamptz);
        reset role""")
    try:
        yield admin
    finally:
        admin.execute('reset role; drop schema "Läden" cascade')


@pytest.mark.parametrize(
    ("column", "value"),
    [("timestamp", "2024-01-20"), ("time", "10:00"), ("timetz", "10:00+00"), ("numeric", "1.5"), ("bool", "t")],
)
def test_text_constants_of_types_with_a_name_in_the_grammar(shop_table: Connection, column: str, value: str) -> None:
    """They are written back with their type, and the server reads the same."""
    shop_table.execute(f'set role t_eve; create table "Läden".typed (a {column}); reset role')  # type: ignore[arg-type]
    row = executable_form(shop_table, f"""create index concurrently i on "Läden".typed (a) where a = '{value}'""")
    assert (row["verdict"] == "refuse") == (column in ("numeric", "bool")), row["reasons"]  # write a number plainly
    if row["verdict"] == "refuse":
        return
    shop_table.execute(row["apply_sql"])
    row = executable_form(shop_table, f"""create index concurrently j on "Läden".typed (a) where a = '{value}'""")
    assert "is the same index" in str(row["reasons"])


def test_what_is_judged_can_be_applied_and_reverted(shop_table: Connection) -> None:
    """The server agrees with every part of the judgement: text, objects, lock-free form, and the way back."""
    statement = """create index concurrently "Ü" on "Läden"."Order" ("select" desc, calm) include (at)
        where calm = 'yes' and "Größe" in (1, 2) and at > '2024-01-01 00:00+00'"""
    row = judge(shop_table, statement)
    assert row["verdict"] == "allow", row["reasons"]
    assert row["lock"] == "ShareUpdateExclusiveLock"
    assert row["needs_own_transaction"]
    shop_table.execute(row["apply_sql"])
    index = """select indrelid, indkey::int2[]::int[], indclass::oid[], indisvalid from pg_index
        where indexrelid = '"Läden"."Ü"'::regclass"""
    built = shop_table.execute(index).fetchone()
    assert built is not None
    columns = row["objects"]["columns"]
    assert built[0] == row["objects"]["relation_oid"]
    assert built[1] == [column["attnum"] for column in columns + row["objects"]["included"]]
    assert built[2] == [column["opclass_oid"] for column in columns]
    assert built[3]
    again = judge(shop_table, statement.replace('"Ü"', "other"))
    assert "is the same index" in again["reasons"][0]["detail"]
    assert "already has a relation" in judge(shop_table, statement)["reasons"][0]["detail"]

    assert "not created by pg_architect" in executable_form(shop_table, row["revert_sql"])["reasons"][0]["detail"]
    shop_table.execute("""
        insert into architect.built_index (deployment_id, index_oid, relation_oid, index_name, proposal_id)
        select architect._this_deployment(), indexrelid, indrelid, 'Ü', 0 from pg_index
        where indexrelid = '"Läden"."Ü"'::regclass""")
    drop = executable_form(shop_table, row["revert_sql"])
    assert drop["verdict"] == "needs_approval", drop["reasons"]
    assert drop["kind"] == "drop_index_concurrently"
    definition = 'select pg_get_indexdef(\'"Läden"."Ü"\'::regclass)'
    before = shop_table.execute(definition).fetchone()
    shop_table.execute(drop["apply_sql"])
    shop_table.execute(drop["revert_sql"])
    assert shop_table.execute(definition).fetchone() == before


def test_what_was_approved_is_deployed_however_names_are_quoted(cluster: Cluster, database: str) -> None:
    """The objects of a proposal are compared by their names, too, in a session with other settings."""
    with cluster.connect(database) as connection:
        make_people(connection)
        make_table(connection)
        connection.execute(f"select architect.enroll('{APP}')")
        connection.execute("select architect.set_policy('create_index', allow_self_approval => true)")
        connection.execute("set quote_all_identifiers = on")
        number = connection.execute(
            "select architect.propose_change('create index concurrently by_a on app.thing (a)', 'it helps')"
        ).fetchone()
        assert number is not None
        connection.execute("select architect.approve(%s, 'looks right')", number)
        connection.execute("set quote_all_identifiers = off")
        step = connection.execute("select architect._step(%s, null)", number).fetchone()
        assert step is not None
        assert step[0]["action"] == "baseline", step


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ('"Läden"."Order" (mood)', "user-defined type"),
        ('"Läden"."Order" ("Größe")', "is the same index"),
        ("public.by_view (id)", "is a view"),
        ("public.partitioned (id)", "partitioned"),
        ("public.parent (id)", "check constraint child_check"),
        ("public.superusers (id)", "owned by the superuser"),
        ("pg_catalog.pg_class (relname)", "belongs to the system"),
        ("architect.proposal (state)", "belongs to pg_architect"),
        ("public.pg_stat_statements (calls)", "belongs to the extension"),
    ],
)
def test_tables_that_may_not_be_changed(shop_table: Connection, target: str, reason: str) -> None:
    shop_table.execute("create table if not exists public.superusers (id int)")
    judged = executable_form(shop_table, f"create index concurrently i on {target}")
    assert judged["verdict"] == "refuse"
    assert reason in judged["reasons"][0]["detail"]


def test_a_locked_table_does_not_hold_up_the_verdict(cluster: Cluster, trapped: str, shop_table: Connection) -> None:
    with cluster.connect(trapped, autocommit=False) as other:
        other.execute('lock table "Läden"."Order" in access exclusive mode')
        shop_table.execute("set statement_timeout = '5s'")
        statement = 'create index concurrently i on "Läden"."Order" (at)'
        judged = judge(shop_table, statement)
        assert judged["verdict"] != "refuse"
        assert "table-too-busy" in [reason["rule"] for reason in judged["reasons"]]
        assert executable_form(shop_table, statement)["verdict"] == "needs_approval"
        assert prove(shop_table, 'select at from "Läden"."Order"').harmless
        other.rollback()
