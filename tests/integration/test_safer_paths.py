"""The safer path leads to the same end: its steps are executed as written, and the schema is compared."""

from __future__ import annotations

import re

import pytest
from psycopg.rows import dict_row

from support.cluster import Cluster
from support.corpus import JUDGE, corpus_database
from support.traps import Connection

# On app.events, which the statistics call huge; it has 1,000 rows without a null.
STATEMENTS = [
    "create index events_kind on app.events (kind)",
    "alter table app.events alter column kind set not null",
    "alter table app.events add constraint positive check (amount >= 0)",
    "alter table app.events add constraint by_customer foreign key (id) references app.customers (id)",
    "alter table app.events add constraint one_amount unique (amount)",
    "alter table app.events add column token uuid default gen_random_uuid()",
    "alter table app.events add column token uuid not null default gen_random_uuid()",
    "alter table app.events add column token uuid not null default gen_random_uuid() unique",
    "alter table app.events add column a int default 1, alter column kind set not null, add column b int",
]


def dump(cluster: Cluster, name: str) -> str:
    """The definition of app.events without the order of its columns and constraints."""
    text = cluster.run("pg_dump", "--schema-only", "--table=app.events", name)
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    return "\n".join(sorted(line for line in lines if line and not line.startswith(("--", "\\", "SET", "SELECT"))))


def step_by_step(connection: Connection, statement: str) -> None:
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute("select * from architect.judge_statement(%s)", (statement,)).fetchall()
    assert row["verdict"] == "refuse", (row["verdict"], row["reasons"])
    assert row["safer_sql"]
    for step in row["safer_sql"]:
        connection.execute(re.sub(r"^-- in batches: ", "", step))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_steps_lead_to_the_same_end(cluster: Cluster, statement: str) -> None:
    ends = []
    for safer in (False, True):
        with corpus_database(cluster) as name:
            with cluster.connect(name, JUDGE) as owner:
                if safer:
                    step_by_step(owner, statement)
                else:
                    owner.execute(statement)  # type: ignore[call-overload]
            ends.append(dump(cluster, name))
    assert ends[0] == ends[1]
