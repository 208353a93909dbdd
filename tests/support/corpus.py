"""The corpus of statements, and the database that they are judged in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.cluster import Cluster
from support.people import make_role

FOLDER = Path(__file__).parents[1] / "corpus"
JUDGE = "app_owner"


@dataclass(frozen=True, slots=True)
class Line:
    """A statement with its name and the kind of trick or change that it is."""

    id: str
    group: str
    sql: str


def lines(name: str) -> list[Line]:
    """The statements of ``hostile``, ``risky`` or ``harmless``."""
    with (FOLDER / f"{name}.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    return [Line(row["id"], row["class"], row["sql"]) for row in rows]


@contextmanager
def corpus_database(cluster: Cluster) -> Iterator[str]:
    """A database with tests/corpus/fixture.sql, whose owner JUDGE is an operator with the search_path app, public."""
    with cluster.connect() as connection:
        make_role(connection, "reporting")
        make_role(connection, JUDGE, "architect_operator")
    try:
        yield from _loaded(cluster)
    finally:
        with cluster.connect() as connection:  # the role is other tests', too
            connection.execute(f"revoke architect_operator from {JUDGE}")


def _loaded(cluster: Cluster) -> Iterator[str]:
    with cluster.database() as name:
        with cluster.connect(name) as connection:
            connection.execute(f'alter role {JUDGE} in database "{name}" set search_path = app, public')
            connection.execute(
                f'grant create on database "{name}" to {JUDGE}; grant create on schema public to {JUDGE}'
            )
        loaded = cluster.psql(name, (FOLDER / "fixture.sql").read_text())
        assert loaded.rc == 0, loaded.stderr
        yield name
