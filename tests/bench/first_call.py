"""How long the first look at a database takes: snapshot, examination and recommendation, in a backend.

Prints figures and asserts nothing. Databases with 500 and 5,000 distinct statements over 50 tables; every statement
is new to the query store, so each is parsed and the costliest are proved, planned and advised on.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plpython"), str(ROOT / "tests")]

from support.cluster import Cluster, new_cluster  # noqa: E402  (the path comes first)

SIZES = (500, 5_000)
TABLES = 50
ROWS = 5_000
COLUMNS = [f"c{n}" for n in range(12)]
SEED = """
create table public.t{n} (id int primary key, c0 int, c1 int, c2 int, c3 int, c4 int, c5 int, c6 text, c7 text,
                          c8 timestamptz, c9 numeric, c10 bigint, c11 boolean);
insert into public.t{n}
select i, i % 10, i % 100, i % 1000, i, (i * 7919) % 5000, case when i % 500 = 0 then 1 else 0 end, 'v' || i % 50,
       'w' || i, timestamptz '2025-01-01' + i * interval '1 min', i / 7.0, i, i % 100 = 0
  from generate_series(1, {rows}) as i;
"""
# The phases as the improvement cycle runs them: in one backend, with the rights of architect_owner.
PHASES = """
create procedure public.first_look(inout seconds jsonb) language plpython3u as $$
import json, time
api = GD.get("pg_architect VERSION") or plpy.execute("select architect._load()") and GD["pg_architect VERSION"]
marks = [time.perf_counter()]
from pg_architect.core.db import PlpyDatabase
from pg_architect.core.settings import load
from pg_architect.advisor import recommend as advisor
from pg_architect.findings import rules
from pg_architect.telemetry import examination, statements
db = PlpyDatabase(plpy)
done = {}
def lap(name):
    marks.append(time.perf_counter())
    done[name] = round(marks[-1] - marks[-2], 3)
settings = load(db)
lap("import")
snapshot = statements.take_snapshot(db)
lap("take_snapshot")
seen = examination.examine(db, snapshot, settings)
lap("examine")
rules.store(db, seen, rules.find(db, seen, settings))
lap("findings")
found = advisor.recommend(db, snapshot, 3, settings, examination=seen)
lap("recommend")
done["recommendations"] = len(found)
done["examined"] = len(seen.examined)
return [json.dumps(done)]
$$
"""


def statements(count: int) -> Iterator[str]:
    """Distinct SELECTs with joins, ranges, orders and groups; the same every time."""
    rng = random.Random(count)
    seen: set[str] = set()
    while len(seen) < count:
        table, other = rng.randrange(TABLES), rng.randrange(TABLES)
        columns = ", ".join(f"a.{c}" for c in rng.sample(COLUMNS, rng.randint(1, 4)))
        equal, above = rng.choice(COLUMNS[:6]), rng.choice(("c3", "c4", "c10"))
        text = f"select {columns} from public.t{table} as a"
        if rng.random() < 0.3:
            text += f" join public.t{other} as b on b.{rng.choice(COLUMNS[2:6])} = a.id"
        text += f" where a.{equal} = 1 and a.{above} > 4900"
        if rng.random() < 0.4:
            text += f" order by a.{rng.choice(COLUMNS)} limit 10"
        if text not in seen:
            seen.add(text)
            yield text


def fill(cluster: Cluster, name: str, count: int) -> None:
    with cluster.connect(name) as connection:
        for number in range(TABLES):
            connection.execute(SEED.format(n=number, rows=ROWS).encode())
        connection.execute("vacuum analyze")
        connection.execute("select pg_stat_statements_reset()")
        for text in statements(count):
            connection.execute(text.encode(), prepare=False)
        # What a real workload has and this one lacks: a few statements that take most of the time.
        for text in list(statements(count))[:10]:
            for _ in range(200):
                connection.execute(text.encode(), prepare=False)


def measure(cluster: Cluster, name: str) -> dict[str, Any]:
    with cluster.connect(name) as connection:
        version = connection.execute("select extversion from pg_extension where extname = 'pg_architect'").fetchone()
        connection.execute(PHASES.replace("VERSION", version[0] if version else "").encode())
    with cluster.connect(name) as connection:
        began = time.perf_counter()
        row = connection.execute("call public.first_look(null)").fetchone()
        assert row is not None
        total = time.perf_counter() - began
        again = connection.execute("call public.first_look(null)").fetchone()
        assert again is not None
        memory = backend_memory(connection)
    return {"first": row[0], "total": total, "again": again[0], "memory": memory}


def backend_memory(connection: psycopg.Connection[Any]) -> float:
    """Resident memory of the session's backend in MiB."""
    pid = connection.info.backend_pid
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    cluster = new_cluster(conf={"pg_stat_statements.max": "10000", "pg_stat_statements.track": "top"})
    try:
        cluster.make_template()
        for count in SIZES:
            with cluster.database() as name:
                fill(cluster, name, count)
                result = measure(cluster, name)
            print(f"{count:>5} statements: {result['total']:6.2f} s in all, backend {result['memory']:.0f} MiB")
            print(f"      first  {result['first']}")
            print(f"      again  {result['again']}")
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
