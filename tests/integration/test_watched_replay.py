"""A replay never holds others up: a run that takes too long, or that somebody waits for, is ended from outside."""

from __future__ import annotations

import time

import psycopg
import pytest

from support.shop import CUSTOMER_INDEX, Shop, until

# Quick while `bulk` is nearly empty, endless when it has grown.
GROWING = (
    "select count(*) from app.orders as o, app.bulk as a, app.bulk as b, app.bulk as c"
    " where o.customer = {} and a.n <> b.n and b.n <> c.n"
)
IN_A_RUN = """
select count(*) > 0 from pg_stat_activity as a join pg_locks as l using (pid)
 where l.relation = 'architect.must_roll_back'::regclass and a.usename = 'architect_executor'
   and a.datname = current_database() and a.xact_start < clock_timestamp() - interval '0.5 seconds'"""


def grown(shop: Shop, time_limit: str) -> int:
    """An approved index on a table that one captured statement of two cannot be replayed on; the proposal."""
    shop.set(replay_time_limit=time_limit)
    shop.rows("create table app.bulk as select 1 as n; grant select on app.bulk to app; analyze app.bulk")
    shop.work(GROWING)
    proposal = shop.approved(CUSTOMER_INDEX)
    shop.rows("insert into app.bulk select generate_series(2, 4000); analyze app.bulk")
    return proposal


def why_not(shop: Shop) -> list[str]:
    return [
        reason
        for (reason,) in shop.rows(
            "select m.not_measured_reason from architect.measurement_statements as m join architect.statement as s"
            " using (statement_id) where s.text like '%%app.bulk%%'"
        )
    ]


def test_a_run_ends_when_the_time_of_the_replay_is_over(shop: Shop) -> None:
    proposal = grown(shop, "2")
    began = time.monotonic()
    call = shop.begin_deployment(proposal)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    call.join(60)
    assert call.error is None, call.error
    assert time.monotonic() - began < 20
    assert why_not(shop) == ["a run of it was ended, because the time for it was over"]
    # the others were measured or are named, and the proposal came to its end
    assert shop.state(proposal) in ("kept", "reverted")
    assert shop.value("select count(*) from architect.replay") == 0


def test_a_run_gives_way_to_whoever_waits_for_it(shop: Shop) -> None:
    proposal = grown(shop, "30")
    call = shop.begin_deployment(proposal)
    for attempt in range(3):
        until(lambda: shop.value(IN_A_RUN), f"run {attempt} goes on")
        began = time.monotonic()
        shop.rows("alter table app.orders alter column note drop default")
        assert time.monotonic() - began < 3
    call.join(60)
    assert call.error is None, call.error
    assert why_not(shop) == ["a run of it was ended, because another session had to wait for it"]
    assert shop.state(proposal) == "kept", shop.explanation(proposal)


def test_a_cancel_of_the_call_is_not_taken_for_that_of_the_watch(shop: Shop) -> None:
    proposal = grown(shop, "30")
    call = shop.begin_deployment(proposal)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    executor = shop.executor_pid()
    assert shop.value("select pg_cancel_backend(%s)", executor)
    assert isinstance(call.failure(10), psycopg.errors.QueryCanceled)
    assert shop.state(proposal) == "verifying"
    assert shop.indexes() == {"orders_customer": True}


def test_a_worker_watches_a_worker(shop: Shop) -> None:
    """As with pg_cron: two sessions of the executor, neither of which holds the other."""
    proposal = grown(shop, "2")
    with shop.connect("architect_executor") as worker:
        step = f"call architect._advance({proposal}, null, 'hand')"
        row = worker.execute(step).fetchone()
        assert row is not None
        worker.execute(row[0])
    measurement = shop.begin(step, "architect_executor")
    watch = shop.begin(f"call architect._watch({proposal})", "architect_executor")
    measurement.join(60)
    assert measurement.error is None, measurement.error
    assert why_not(shop) == ["a run of it was ended, because the time for it was over"]
    watch.close()


def test_a_worker_does_not_measure_unwatched(shop: Shop) -> None:
    proposal = shop.approved(CUSTOMER_INDEX)
    step = f"call architect._advance({proposal}, null, 'holder')"
    with shop.connect("architect_executor") as worker:
        row = worker.execute(step).fetchone()
        assert row is not None
        worker.execute(row[0])
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no other session watches the replay"):
            worker.execute(step)
    assert shop.state(proposal) == "verifying"
    assert shop.value("select count(*) from architect.measurement") == 0
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
