"""What the gate predicts of locks, scans and rewrites, against what the server was measured to do (tests/locks)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.safety import gate, locks, parse
from support.cluster import Cluster
from support.people import make_role
from support.traps import Connection

FOLDER = Path(__file__).parents[1] / "locks"
# Too few pages to tell a sample from a scan; a new file without a row is no rewrite.
UNSEEN = {"analyze_partitioned", "refresh_matview_no_data"}


@pytest.fixture(scope="module")
def forms(cluster: Cluster) -> Iterator[Connection]:
    """A session in a database with the objects that the forms name."""
    with cluster.connect() as connection:
        make_role(connection, "other_role", options="nologin")
    with cluster.database() as name:
        loaded = cluster.psql(name, (FOLDER / "fixture.sql").read_text() + "\nanalyze;")
        assert loaded.rc == 0, loaded.stderr
        with cluster.connect(name) as connection:
            yield connection


def measured(version: int) -> dict[str, dict[str, Any]]:
    path = FOLDER / f"pg{version // 10000}.jsonl"
    if not path.exists():
        pytest.skip(f"PostgreSQL {version // 10000} was not measured: see tests/locks/measure.py")
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def predicted(connection: Connection, statements: list[str]) -> gate.Judgement:
    """The judgement on the last statement, after the others have run; they are undone."""
    connection.execute("begin")
    try:
        for statement in statements[:-1]:
            connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("set local search_path = pg_catalog, pg_temp")
        return gate.judge(PsycopgDatabase(connection), statements[-1])
    finally:
        connection.execute("rollback")


def shortfalls(judgement: gate.Judgement, seen: dict[str, Any], target: str) -> list[str]:
    """In what the server did more than was predicted."""
    said = {name.removeprefix("public."): lock for name, lock in judgement.objects["locks"].items()}
    found = []
    for name, lock in {target: seen["table_lock"], **seen["other_locks"]}.items():
        # Indexes and sequences are locked with their tables; what is new, or gone at the end, has no other users.
        if name in said and locks.strength(lock) > locks.strength(said[name]) and not judgement.needs_own_transaction:
            found.append(f"{name}: {lock} instead of {said[name]}")
    pairs = (
        ("blocks_read", judgement.blocks_reads),
        ("blocks_write", judgement.blocks_writes),
        ("rewrites", judgement.rewrites),
        ("heap_scanned", judgement.scans),
    )
    found += [name for name, was_said in pairs if seen.get(name) and not was_said]
    if seen["in_txn"] is False and not judgement.needs_own_transaction:
        found.append("needs a transaction of its own")
    return found


def test_the_server_never_does_more_than_predicted(forms: Connection) -> None:
    text = (FOLDER / "forms.tsv").read_text().splitlines()
    lines = list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
    results = measured(forms.info.server_version)
    understood, exact, wrong = 0, 0, {}
    for line in lines:
        seen = results[line["id"]]
        if seen.get("error") or line["id"] in UNSEEN:
            continue
        judgement = predicted(forms, parse.split(line["sql"]))
        if judgement.apply_sql is None:
            continue
        understood += 1
        target = judgement.objects["locks"].get(f"public.{line['target']}")
        exact += target == seen["table_lock"] and judgement.rewrites == bool(seen["rewrites"])
        if problems := shortfalls(judgement, seen, line["target"]):
            wrong[line["id"]] = problems
    assert not wrong
    assert understood > 300
    # A prediction that always fears the worst would pass the rest.
    assert exact > 0.85 * understood, (exact, understood)
