"""The application's own calls, seen during a measurement, have the last word on what a replay promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.improvement import replay_plan
from support.shop import APP, Shop

# The application asks for the 10 pending jobs of a queue that has few of them. As many rows would be expected of the 70
# failed jobs, spread over 7 queues, so that these are replayed.
TABLE = """
create table app.jobs (id int primary key, status text not null, queue int not null, note text);
alter table app.jobs owner to app_owner;
insert into app.jobs
select i, case when i % 100 = 1 then 'pending' when i % 571 = 2 then 'failed' else 'done' end,
       case when i % 100 <> 1 then i % 7 when i % 4000 = 1 then 3 else 1 end, repeat('x', 60)
  from generate_series(1, 40000) as i;
vacuum analyze app.jobs;
grant select on app.jobs to app, dana;
grant usage on schema app to dana;
"""
FAILED = "create index concurrently jobs_failed on app.jobs using btree (queue) where status = 'failed'"
ANY = "create index concurrently jobs_status on app.jobs using btree (status, queue)"


@pytest.fixture
def calling(shop: Shop) -> Iterator[Shop]:
    """The application asks for pending jobs all the time."""
    for statement in TABLE.strip().split(";\n"):
        shop.rows(statement)
    shop.set(measurement_window_seconds="0.5")
    end = threading.Event()

    def ask() -> None:
        with shop.connect(APP) as app:
            while not end.is_set():
                app.execute("select id from app.jobs where status = 'pending' and queue = 3")
                app.execute("update app.quiet set b = b + 1 where id = 1")

    thread = threading.Thread(target=ask)
    thread.start()
    yield shop
    end.set()
    thread.join()


def test_an_index_for_a_value_that_nobody_asks_for_is_not_kept(calling: Shop) -> None:
    proposal = calling.approved(FAILED)
    assert calling.deploy(proposal)[0] == "inconclusive", calling.explanation(proposal)
    assert "it asks for other values" in calling.explanation(proposal)
    assert calling.indexes("app.jobs") == {}
    assert calling.value("select performance_delta > 50 from architect.improvement_history")  # of the replay


def test_what_there_is_no_time_to_look_at_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.begin("call architect.sp_autonomous_improvement()").result()
    monkeypatch.setattr(replay_plan, "LOOKING_SECONDS", -1.0)
    with shop.connect(autocommit=False) as connection:
        table = shop.value("select 'app.orders'::regclass::oid::bigint")
        sides = replay_plan.both_sides(PsycopgDatabase(connection), 1, table)
        assert {one["reason"] for one in sides["statements"]} == {
            "there was no time to look at it: others take more of the time"
        }
        assert connection.execute("select count(*) from architect.replay_statement").fetchone() == (0,)


def test_an_index_that_the_application_gains_from_is_kept(calling: Shop) -> None:
    proposal = calling.approved(ANY)
    assert calling.deploy(proposal)[0] == "improved", calling.explanation(proposal)
    calls, buffers, before = calling.rows(
        "select live_calls, live_buffers, buffers_before from architect.measurement_statements where live_calls > 0"
    )[0]
    assert calls > 5
    assert buffers < before / 2
