"""Tables to measure on, with an index that counts as ours, and sessions of architect_executor."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pg_architect.core.db import PsycopgDatabase
from pg_architect.experiment import watch
from pg_architect.experiment.replay import ReplayStatement

EXECUTOR = "architect_executor"
TABLES = """
create table public.orders (id int primary key, customer int not null, state text not null, filler text);
grant select on public.orders to architect_planner;
insert into public.orders
select i, i % 2000, case when i % 1000 = 0 then 'open' else 'done' end, repeat('x', 60)
  from generate_series(1, 60000) as i;
create table public.tags (id int primary key, tag int not null, weight int not null);
insert into public.tags select i, (random() * 20)::int, i from generate_series(1, 60000) as i;
analyze public.orders, public.tags;
grant select on public.tags to architect_planner;
create index ours_customer on public.orders (customer);
create index theirs on public.orders (id, state);
-- stands in for the rows of proposals
create or replace function architect._created_by_us(index_oid oid) returns boolean
language sql stable strict parallel unsafe security definer set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = index_oid and relname like 'ours%') $$;
-- stands in for the procedure of the improvement cycle
create procedure public.measure(request jsonb, inout decision jsonb) language plpython3u as $$
import json
api = GD.get("pg_architect VERSION") or plpy.execute("select architect._load()") and GD["pg_architect VERSION"]
from dataclasses import asdict
from pg_architect.core.db import call
from pg_architect.core.settings import load
from pg_architect.experiment import measure, writes
from pg_architect.experiment.replay import ReplayStatement
def go(db):
    r = json.loads(request)
    settings = {"replay_time_limit": 60, "replay_blocks": 10, "bootstrap_resamples": 2000, "equivalence_bound": 0.05,
                "guard_share": 0.01, **load(db), **r.get("settings", {})}
    made = measure.measure(db, 1, r["index"], r["table"],
        [ReplayStatement(s["id"], tuple(map(tuple, s["sets"])), s["calls"], s["ms"],
                         s.get("reason"), calls_seconds=100.0) for s in r["statements"]],
        *(writes.from_json(r[side]) if r.get(side) else None for side in ("before", "after")), {}, settings)
    return {name: getattr(made, name) for name in ("verdict", "keep", "performance_delta", "interval", "success_score",
            "minimum_detectable_effect", "explanation", "measurement_id", "worse")}
return [json.dumps(call(plpy, go, (), commits=True))]
$$;
grant execute on procedure public.measure to architect_executor;
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement to replay, with its text and the types of its parameters; as if architect_executor had run it."""

    statement_id: int
    text: str
    types: tuple[str, ...]
    sets: tuple[tuple[str | None, ...], ...]
    calls: int
    mean_ms: float
    reason: str | None = None
    calls_seconds: float = 1.0

    @property
    def statement(self) -> ReplayStatement:
        return ReplayStatement(
            self.statement_id, self.sets, self.calls, self.mean_ms, self.reason, calls_seconds=self.calls_seconds
        )


BY_CUSTOMER = Query(
    1,
    "select count(*) from public.orders where customer = $1",
    ("integer",),
    tuple((str(n),) for n in range(20)),
    1000,
    5.0,
)


class Session(PsycopgDatabase):
    """A session whose ``subtransaction`` is a savepoint, as in a backend, and never a whole transaction."""

    @contextlib.contextmanager
    def subtransaction(self) -> Iterator[None]:
        self.query("select 1")
        with super().subtransaction():
            yield


def note(owner: psycopg.Connection[Any], proposal: int, queries: Sequence[Query]) -> None:
    """Note them as the cycle would. The planner may read the tables here, so that no author's rights are needed."""
    for one in queries:
        owner.execute(
            "insert into architect.replay_statement values (%s, %s, %s, %s, %s, 'pg_monitor'::regrole, '{}')"
            " on conflict do nothing",
            [proposal, one.statement_id, one.text, list(one.types), json.dumps(one.sets)],
        )


def announced(db: Session, proposal: int) -> watch.Watch:
    """Announce a replay of this session, which nobody watches."""
    watch.announce(db, proposal, 3600, 0)
    return watch.Watch(db, proposal)


def oid(connection: psycopg.Connection[Any], name: str) -> int:
    row = connection.execute("select %s::regclass::oid::bigint", [name]).fetchone()
    assert row
    return int(row[0])


def valid(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("select indisvalid from pg_index where indexrelid = %s::regclass", [name]).fetchone()
    assert row
    return bool(row[0])
