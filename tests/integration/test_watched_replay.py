"""A replay never holds others up: a run that takes too long, or that somebody waits for, is ended from outside."""

from __future__ import annotations

import time

import psycopg
import pytest

from support.shop import CUSTOMER_INDEX, DANA, Shop, until

# Quick while `bulk` is nearly empty, endless when it has grown.
GROWING = (
    "select count(*) from app.orders as o, app.bulk as a, app.bulk as b, app.bulk as c"
    " where o.customer = {} and a.n <> b.n and b.n <> c.n"
)
IN_A_RUN = """
select count(*) > 0 from pg_stat_activity as a join pg_locks as l using (pid)
 where l.relation = 'architect.must_roll_back'::regclass and a.usename = 'architect_executor'
   and a.datname = current_database() and a.xact_start < clock_timestamp() - interval '0.5 seconds'"""

# What the application's role may do to a table of its own after a statement on it was proved harmless.
STUBBORN = """
create function app.stubborn(n int) returns boolean language plpgsql as $$
begin
  for i in 1 .. 300 loop
    begin perform pg_sleep(0.1); exception when query_canceled then null; end;
  end loop;
  return true;
end $$;
alter table app.bulk rename to hidden;
create view app.bulk as select n from app.hidden where app.stubborn(n);
"""


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


def test_a_build_elsewhere_waits_for_the_end_of_a_run(shop: Shop) -> None:
    """It waits for every transaction, as long as it takes, and holds nobody up meanwhile."""
    proposal = grown(shop, "4")
    call = shop.begin_deployment(proposal)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    build = shop.begin("create index concurrently on app.quiet (b)", "postgres")
    assert call.join(60).error is None
    assert build.join(60).error is None
    assert why_not(shop) == ["a run of it was ended, because the time for it was over"]


def test_a_cancel_of_the_call_is_not_taken_for_that_of_the_watch(shop: Shop) -> None:
    proposal = grown(shop, "30")
    call = shop.begin_deployment(proposal)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    executor = shop.executor_pid()
    assert shop.value("select pg_cancel_backend(%s)", executor)
    assert isinstance(call.failure(10), psycopg.errors.QueryCanceled)
    assert shop.state(proposal) == "verifying"
    assert shop.indexes() == {"orders_customer": True}


@pytest.fixture
def stubborn(shop: Shop) -> int:
    """A proposal, one of whose statements, once it is proved harmless, can be made to ignore cancels (`swap`)."""
    shop.set(measurement_window_seconds="0.5")
    shop.rows("create table app.bulk as select 1 as n; alter table app.bulk owner to app; analyze app.bulk")
    shop.rows("grant create on schema app to app")
    shop.work(GROWING)
    return shop.approved(CUSTOMER_INDEX)


def swap(shop: Shop, proposal: int) -> None:
    until(lambda: shop.state(proposal) == "verifying", "all is proved")
    with shop.connect("app") as app:
        app.execute(STUBBORN)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    began = time.monotonic()
    shop.rows("set lock_timeout = '10s'; alter table app.orders alter column note drop default")
    assert time.monotonic() - began < 5


def test_a_run_that_ignores_cancels_is_ended_with_its_session(shop: Shop, stubborn: int) -> None:
    call = shop.begin_deployment(stubborn)
    swap(shop, stubborn)
    error = call.failure(10)
    assert error.diag.message_primary == (
        "pg_architect: the executor's session ended: a query of the measurement was canceled, "
        "because another session had to wait for it, and went on"
    )
    assert error.diag.message_hint == "Nothing is lost: call the procedure again, it goes on from here."
    until(lambda: shop.executor_pid() is None, "it is gone", 5)
    # As it was when it was proved harmless, so that nothing but the record keeps it from being replayed.
    shop.rows("drop view app.bulk; alter table app.hidden rename to bulk")
    shop.deploy(stubborn)
    assert shop.state(stubborn) in ("kept", "reverted")
    assert why_not(shop) == ["its replay had to be terminated: it was canceled and went on"]
    assert shop.value("select count(*) from architect.replay") == 0


def test_a_worker_terminates_a_worker(shop: Shop, stubborn: int) -> None:
    with shop.connect("architect_executor") as worker:
        step = f"call architect._advance({stubborn}, null, 'hand')"
        row = worker.execute(step).fetchone()
        assert row is not None
        worker.execute(row[0])
    measurement = shop.begin(step, "architect_executor")
    watch = shop.begin(f"call architect._watch({stubborn})", "architect_executor")
    swap(shop, stubborn)
    assert isinstance(measurement.failure(10), psycopg.errors.AdminShutdown)
    assert watch.join(20).error is None


@pytest.mark.parametrize("user", [DANA, "architect_executor"])
def test_only_the_holder_of_the_executors_session_watches_it(shop: Shop, user: str) -> None:
    """Another one that looks too, and leaves its transaction open, does not hold the watch up."""
    proposal = grown(shop, "30")
    call = shop.begin_deployment(proposal)
    until(lambda: shop.value(IN_A_RUN), "a run goes on")
    with shop.connect(user, autocommit=False) as other:
        other.execute("select architect._executor_interrupt(%s)", (proposal,))
        began = time.monotonic()
        shop.rows("set lock_timeout = '5s'; alter table app.orders alter column note drop default")
        assert time.monotonic() - began < 3
        other.rollback()
    call.close()


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
