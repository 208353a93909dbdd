"""How often a change that does nothing is called improved or harmful, and how small an effect is still found.

Prints figures and asserts nothing. Three kinds of measurement, through the functions that the product uses:

unused     an index that no plan uses, under reads and a running stream of writes
twin       a second index equal to an existing one: plans change and costs do not, so that only the statistics decide
injected   an index that takes away a known part of a statement's work
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plpython"), str(ROOT / "tests")]

from pg_architect.experiment import measure, writes  # noqa: E402  (the path comes first)
from pg_architect.experiment.verdict import Decision  # noqa: E402
from support.cluster import Cluster, new_cluster  # noqa: E402
from support.experiment import Query, Session, note  # noqa: E402

RUNS = 50
INJECTED_RUNS = 12
WINDOWS, WINDOW_SECONDS = 6, 0.05
SETTINGS: Mapping[str, Any] = {
    "replay_time_limit": 60,
    "replay_blocks": 10,
    "bootstrap_resamples": 2000,
    "equivalence_bound": 0.05,
    "guard_share": 0.01,
}
# Rows of the indexed table per 1000 of the table that is always read in full.
PARTS = (20, 50, 100, 200)
TABLES = """
create table public.orders (id int primary key, customer int not null, filler text);
grant select on public.orders to architect_planner;
insert into public.orders select i, i % 2000, repeat('x', 60) from generate_series(1, 30000) as i;
create index theirs_customer on public.orders (customer);
create index ours_twin on public.orders (customer);
create index ours_unused on public.orders (filler);
create or replace function architect._created_by_us(index_oid oid) returns boolean
language sql stable strict parallel unsafe security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = index_oid and relname like 'ours%') $$;
"""
CALLS_SECONDS = 60.0
READS = (
    Query(1, "select count(*) from public.orders where length(filler) > $1", ("integer",),
                    tuple((str(n),) for n in range(10)), 200, 4.0, calls_seconds=CALLS_SECONDS),
    Query(2, "select sum(length(filler)) from public.orders where customer between $1 and $1 + 20",
                    ("integer",), tuple((str(n * 150),) for n in range(10)), 5000, 0.3, calls_seconds=CALLS_SECONDS),
)  # fmt: skip


def main() -> None:
    cluster = new_cluster()
    try:
        cluster.make_template()
        with cluster.database() as database, cluster.connect(database) as owner:
            owner.execute(TABLES)
            prepare_injected(owner)
            owner.execute("analyze")
            with cluster.connect(database, "architect_executor", autocommit=False) as connection:
                db = Session(connection)
                measure_unused(cluster, database, db, owner)
                measure_twin(db, owner)
                for part in PARTS:
                    measure_injected(db, owner, part)
    finally:
        cluster.remove()


def measure_unused(cluster: Cluster, database: str, db: Session, owner: psycopg.Connection[Any]) -> None:
    begun = time.monotonic()
    with writing(cluster, database):
        ids = query_ids(owner)
        seen = writes.collect(db, oid(owner, "orders"), ids, RUNS * 2 * WINDOWS, WINDOW_SECONDS).windows
        made = []
        for i in range(RUNS):
            first, second = (seen[(2 * i + side) * WINDOWS :][:WINDOWS] for side in (0, 1))
            sides = [writes.WriteSamples(tuple(ids), one) for one in (first, second)]
            made.append(run(db, owner, i, "ours_unused", READS, sides))
    report("A/A, index that nothing uses, with writes", made, begun)
    times = [one.change.time for decision in made for one in decision.writes if one.change.time]
    rejected = sum(r.p_value() <= 0.05 for r in times)
    touched = sum(len(one.touched_writes) for one in made)
    print(f"    writes: {rejected} of {len(times)} times per call differ, {touched} with a mark of an index on them")
    cpu = [one.cpu_ratio for decision in made for one in decision.statements if one.cpu_ratio]
    print(f"    reads: {sum(r.p_value() <= 0.05 for r in cpu)} of {len(cpu)} CPU times differ")


def measure_twin(db: Session, owner: psycopg.Connection[Any]) -> None:
    begun = time.monotonic()
    report(
        "A/A, twin of an existing index",
        [run(db, owner, 1000 + i, "ours_twin", [replace(READS[1], statement_id=9)]) for i in range(RUNS)],
        begun,
    )


def prepare_injected(owner: psycopg.Connection[Any]) -> None:
    owner.execute("create table public.whole as select i as key from generate_series(1, 60000) as i")
    for part in PARTS:
        owner.execute(f"create table public.part_{part} as select i as key from generate_series(1, {60 * part}) as i")
        owner.execute(f"create index ours_part_{part} on public.part_{part} (key)")
        owner.execute(f"grant select on public.whole, public.part_{part} to architect_planner")


def measure_injected(db: Session, owner: psycopg.Connection[Any], part: int) -> None:
    begun = time.monotonic()
    text = (
        "select (select count(*) from public.whole where key = $1 and key > 0),"
        f" (select count(*) from public.part_{part} where key = $1 and key > 0)"
    )
    keys = tuple((str(n),) for n in range(1, 11))
    statement = Query(3, text, ("integer",), keys, 100, 4.0, calls_seconds=CALLS_SECONDS)
    made = [run(db, owner, 2000 + i, f"ours_part_{part}", [statement]) for i in range(INJECTED_RUNS)]
    report(f"injected, about {100 * part / (1000 + part):.1f} % of the work taken away", made, begun)
    deltas = sorted(d.performance_delta for d in made if d.performance_delta is not None)
    found = sum(d.interval is not None and d.interval[0] > 0 for d in made)
    printed = median(d.minimum_detectable_effect or 100.0 for d in made)
    print(
        f"    measured {median(deltas):.1f} % (median; {deltas[0]:.1f} to {deltas[-1]:.1f}), significant {found} of"
        f" {len(made)}, minimum detectable effect {printed:.1f} % (median)"
    )


def run(
    db: Session,
    owner: psycopg.Connection[Any],
    number: int,
    index: str,
    statements: Sequence[Query],
    sides: Sequence[writes.WriteSamples | None] = (None, None),
) -> Decision:
    before, after = sides
    note(owner, number, statements)
    reads = [one.statement for one in statements]
    return measure.measure(db, number, oid(owner, index), oid(owner, "orders"), reads, before, after, {}, SETTINGS)


def report(title: str, made: Sequence[Decision], begun: float) -> None:
    verdicts = Counter(one.verdict for one in made)
    decided = verdicts["improved"] + verdicts["harmful"]
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"{title}: {len(made)} measurements in {time.monotonic() - begun:.0f} s: {told}")
    print(f"    improved or harmful: {decided} of {len(made)} ({100 * decided / len(made):.0f} %)")


@contextlib.contextmanager
def writing(cluster: Cluster, database: str) -> Iterator[None]:
    stop = threading.Event()

    def write() -> None:
        with cluster.connect(database) as writer:
            number = 10**6
            while not stop.wait(0.001):
                number += 1
                writer.execute("insert into public.orders values (%s, %s, 'new')", [number, number % 2000])
                writer.execute("delete from public.orders where id = %s", [number - 5])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        stop.set()
        thread.join()


def query_ids(owner: psycopg.Connection[Any]) -> list[int]:
    rows = owner.execute(
        "select queryid from pg_stat_statements where query ~ '^(insert into|delete from) public.orders' "
        " and query ~ '[$]' and query !~ 'generate_series'"
    )
    return [row[0] for row in rows]


def oid(owner: psycopg.Connection[Any], name: str) -> int:
    row = owner.execute("select %s::regclass::oid::bigint", [f"public.{name}"]).fetchone()
    assert row
    return int(row[0])


if __name__ == "__main__":
    main()
