"""A dump restores what users have: every row of ours, and identities go on where they were."""

from __future__ import annotations

from typing import Any

import psycopg

from support.cluster import Cluster

# One statement slow enough to be found, called often enough to be believed.
WORKLOAD = """
create table public.orders as select i as id, i % 1000 as customer, 'Grüße ' || i as note from generate_series(1, 50000) as i;
analyze public.orders;
do $$ begin for i in 1 .. 30 loop perform count(*) from public.orders where customer = i; end loop; end $$;
"""  # noqa: E501


def test_dump_and_restore(cluster: Cluster, database: str, plain_database: str) -> None:
    found = cluster.psql(database, WORKLOAD + "call architect.sp_autonomous_improvement(dry_run => false);")
    assert found.rc == 0, found.stderr
    dump = cluster.run("pg_dump", database)
    restored = cluster.psql(plain_database, dump)
    assert restored.rc == 0, restored.stderr
    assert "ERROR" not in restored.stderr

    with cluster.connect(database) as source, cluster.connect(plain_database) as target:
        # The restored database is another one: CREATE EXTENSION has registered it beside those of the dump.
        own = source.execute("select deployment_id from architect.deployment").fetchall()
        target.execute("delete from architect.deployment where deployment_id <> all (%s)", [[i for (i,) in own]])
        before = contents(source)
        assert sum(count for count, _ in before.values()) > 0
        assert contents(target) == before
        assert sequences(target) == sequences(source)

    again = cluster.psql(plain_database, "call architect.sp_autonomous_improvement();")
    assert again.rc == 0, again.stderr


def contents(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Rows of each of our tables: how many, and a digest."""
    tables = connection.execute(
        "select oid::regclass::text from pg_class"
        " where relnamespace = 'architect'::regnamespace and relkind = 'r' order by 1"
    ).fetchall()
    connection.execute("set timezone = utc")
    found = {}
    for (table,) in tables:
        row = connection.execute(
            f"select count(*), coalesce(md5(string_agg(t::text, chr(10) order by t::text)), '') from {table} as t"
        ).fetchone()
        assert row is not None
        found[table] = (row[0], row[1])
    return found


def sequences(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select sequencename, last_value from pg_sequences where schemaname = 'architect' order by 1"
    ).fetchall()
