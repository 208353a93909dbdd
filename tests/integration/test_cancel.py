"""A cancel and a statement_timeout end every phase within a second, and the next call goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from support.shop import CUSTOMER_INDEX, DANA, SLOW, Call, Shop, until

# A second is promised; machines that run other tests as well are granted half a second more.
PROMPT = 1.5
UPDATE = "update app.orders set total = total + 1 where id = {}"


def stop(shop: Shop, call: Call) -> None:
    """Cancel it from another session; it must end at once, with the session usable and nothing hypothetical left."""
    began = time.monotonic()
    assert shop.value("select pg_cancel_backend(%s)", call.pid)
    check_stopped(call, began)


def check_stopped(call: Call, began: float) -> None:
    error = call.failure(10)
    assert isinstance(error, psycopg.errors.QueryCanceled), error
    assert call.ended_at is not None
    assert call.ended_at - began < PROMPT
    check_usable(call)


def check_usable(call: Call) -> None:
    assert call.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    found = call.connection.execute("select current_setting('search_path'), count(*) from hypopg()").fetchone()
    assert found == ('"$user", public', 0)


def executor_sleeps(shop: Shop) -> bool:
    return bool(
        shop.value(
            "select count(*) > 0 from pg_stat_activity where usename = 'architect_executor' and wait_event = 'PgSleep'"
            " and datname = current_database()"
        )
    )


def measuring(shop: Shop, proposal: int) -> bool:
    return shop.state(proposal) == "verifying"


def no_executor(shop: Shop) -> None:
    """The executor's session goes with its holder's statement."""
    until(lambda: shop.executor_pid() is None, "the executor's session ends", 5)


def many_statements(shop: Shop) -> None:
    """A workload of 512 statements, as different in shape as bits are."""
    conditions = [f"{column} {operator} 1" for column in ("a", "b", "id") for operator in ("<", ">", "=")]
    with shop.connect("app") as app:
        for bits in range(512):
            chosen = [condition for n, condition in enumerate(conditions) if bits >> n & 1]
            app.execute(f"select from app.quiet where {' and '.join(['true', *chosen])} limit 0")  # type: ignore[arg-type]


def test_a_run_can_be_canceled_at_any_moment(shop: Shop) -> None:
    many_statements(shop)
    began = time.monotonic()
    shop.begin("call architect.sp_autonomous_improvement()").result()
    duration = time.monotonic() - began
    canceled = 0
    for tenths in (1, 3, 5, 7, 9):
        shop.rows("truncate architect.statement cascade")  # parse and prove them all again
        call = shop.begin("call architect.sp_autonomous_improvement()")
        time.sleep(duration * tenths / 10)
        began = time.monotonic()
        shop.value("select pg_cancel_backend(%s)", call.pid)
        if call.join(10).error is not None:
            check_stopped(call, began)
            canceled += 1
        check_usable(call)
    assert canceled >= 3
    last = shop.rows("select status, error from architect.run where status <> 'completed'")
    assert canceled - 1 <= len(last) <= canceled  # the first may be canceled before the run is registered
    assert {status for status, _ in last} == {"canceled"}
    assert all(error for _, error in last)
    shop.begin("call architect.sp_autonomous_improvement()").result()


def test_a_deployment_can_be_ended_at_any_moment(shop: Shop) -> None:
    """Canceled or with one of its two sessions terminated: what follows always comes to the same end."""
    shop.rows("select architect.set_policy('create_index', max_changes_per_day => 100)")
    began = time.monotonic()
    proposal = shop.approved()
    shop.deploy(proposal)
    duration = time.monotonic() - began
    shop.begin(f"call architect.sp_rollback({proposal}, 'another round')").result()
    ended = 0
    for round_, tenths in enumerate((1, 2, 3, 4, 5, 6, 7, 8, 9)):
        proposal = shop.approved()
        call = shop.begin_deployment(proposal)
        time.sleep(duration * tenths / 10)
        if round_ % 3 == 0:
            shop.value("select pg_cancel_backend(%s)", call.pid)
        else:
            shop.value("select pg_terminate_backend(%s)", call.pid if round_ % 3 == 1 else shop.executor_pid())
        ended += call.join(10).error is not None
        no_executor(shop)
        if shop.state(proposal) != "kept":
            again = shop.begin_deployment(proposal).join()
            if again.error is not None:  # what an interrupted build left is removed first, which may be all
                assert shop.state(proposal) == "retry", again.error
                shop.deploy(proposal)
        assert (shop.state(proposal), shop.indexes()) == ("kept", {"orders_customer": True}), shop.explanation(proposal)
        assert shop.value("select count(*) from architect.measurement where proposal_id = %s", proposal) == 1
        assert shop.begin(f"call architect.sp_rollback({proposal}, 'another round')").result()[0] == "reverted"
        assert shop.indexes() == {}
    assert ended >= 3


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_planning_that_waits_for_a_lock(shop: Shop, how: str) -> None:
    with shop.connect(autocommit=False) as locker:
        locker.execute("lock table app.orders in access exclusive mode")
        call, began = begin(shop, "call architect.sp_autonomous_improvement()", how)
        query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        until(lambda: shop.value(query, call.pid), "it waits")
        end(shop, call, began, how)
        locker.rollback()
    assert shop.rows("select status from architect.run") == [("canceled",)]
    shop.begin("call architect.sp_autonomous_improvement()").result()


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_waiting_for_a_decision(shop: Shop, how: str) -> None:
    call, began = begin(shop, "call architect.sp_autonomous_improvement(dry_run => false, wait => '1 minute')", how)
    until(lambda: any("waiting for a decision" in notice for notice in call.notices), "it waits")
    end(shop, call, began, how)
    assert shop.rows("select state from architect.proposals") == [("awaiting_approval",)]
    assert shop.rows("select status from architect.run") == [("completed",)]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_observing_the_writes(shop: Shop, how: str) -> None:
    shop.work(UPDATE)
    shop.set(measurement_window_seconds="20")
    proposal = shop.approved()
    deployment_is_stopped(shop, proposal, how, lambda: executor_sleeps(shop))
    assert (shop.state(proposal), shop.indexes()) == ("approved", {})
    shop.set(measurement_window_seconds="0.1")
    goes_on(shop, proposal)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_build_that_waits_for_an_old_snapshot(shop: Shop, how: str) -> None:
    proposal = shop.approved()
    with shop.old_snapshot():
        deployment_is_stopped(shop, proposal, how, lambda: shop.building() == "waiting for old snapshots")
    assert shop.indexes().get("orders_customer") is not True
    goes_on(shop, proposal)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_measurement(shop: Shop, how: str) -> None:
    shop.work(SLOW, times=2)
    proposal = shop.approved()
    deployment_is_stopped(shop, proposal, how, lambda: measuring(shop, proposal))
    assert shop.indexes() == {"orders_customer": True}
    assert shop.value("select count(*) from architect.must_roll_back") == 0
    shop.forget_slow()
    goes_on(shop, proposal)
    assert shop.value("select count(*) from architect.measurement") == 1


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_rollback_that_waits_for_a_reader(shop: Shop, how: str) -> None:
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    with shop.connect("app", autocommit=False) as reader:
        reader.execute("select id from app.orders limit 1")
        call, began = begin(shop, f"call architect.sp_rollback({proposal}, 'maintenance')", how)
        until(lambda: dropping(shop), "the drop waits")
        end(shop, call, began, how)
        no_executor(shop)
        reader.rollback()
    assert shop.state(proposal) == "reverting"
    assert shop.health(f"proposal {proposal}")[0][0] == "critical"
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'go on')").result()[0] == "reverted"
    assert shop.indexes() == {}
    assert shop.events(proposal).count("reverted") == 1


def dropping(shop: Shop) -> bool:
    return bool(
        shop.value(
            "select count(*) > 0 from pg_stat_activity where usename = 'architect_executor'"
            " and wait_event_type = 'Lock' and query ilike 'drop index%%' and datname = current_database()"
        )
    )


def deployment_is_stopped(shop: Shop, proposal: int, how: str, is_there: Callable[[], bool]) -> None:
    """Begin a deployment, and stop it when it is where it should be."""
    call, began = begin(shop, f"call architect.sp_deploy_approved({proposal}, wait => '2 minutes')", how)
    until(is_there, "the phase is reached")
    end(shop, call, began, how)
    no_executor(shop)


def goes_on(shop: Shop, proposal: int) -> None:
    """The next call brings the deployment to its end, and nothing happened twice."""
    verdict, _ = shop.deploy(proposal)
    assert verdict == "improved", shop.explanation(proposal)
    assert shop.indexes() == {"orders_customer": True}
    assert shop.events(proposal).count("kept") == 1
    assert shop.value("select count(*) from architect.approval") == 1


# How long a session may take when its timeout has to end it: every phase is reached well before.
TIMEOUT = 3.0


def begin(shop: Shop, statement: str, how: str) -> tuple[Call, float]:
    options = f"-c statement_timeout={TIMEOUT:.0f}s" if how == "timeout" else ""
    return shop.begin(statement, DANA, options=options), time.monotonic()


def end(shop: Shop, call: Call, began: float, how: str) -> None:
    if how == "cancel":
        stop(shop, call)
    else:
        check_stopped(call, began + TIMEOUT)


def test_a_statement_timeout_of_the_role_does_not_reach_the_executor(shop: Shop) -> None:
    """Only the caller's own patience is limited by its timeout, not how long a build may take."""
    proposal = shop.propose(CUSTOMER_INDEX)
    assert shop.approve(proposal) == proposal
    call = shop.begin_deployment(proposal, options="-c statement_timeout=60s")
    assert call.result()[0] == "improved"
