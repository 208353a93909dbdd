"""Sessions and servers that die in the middle: the next call recovers, nothing is lost and nothing done twice."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster
from support.shop import OPEN, SLOW, Call, Shop, open_shop, until


@pytest.fixture(scope="module")
def crashing(cluster_factory: Callable[..., Cluster]) -> Cluster:
    """A cluster of its own: a killed backend ends everybody's session."""
    return cluster_factory()


@pytest.fixture
def shop(crashing: Cluster) -> Iterator[Shop]:
    with open_shop(crashing) as made:
        yield made


def during_build(shop: Shop, proposal: int) -> Call:
    """A deployment whose build waits for an old transaction; that one ends in the crash, or by ``release``."""
    reader = shop.begin("begin isolation level repeatable read; select count(*) from app.quiet", "app")
    reader.join()
    call = shop.begin_deployment(proposal)
    until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
    return call


def during_measurement(shop: Shop, proposal: int) -> Call:
    shop.work(SLOW, times=2)
    call = shop.begin_deployment(proposal)
    until(lambda: shop.state(proposal) == "verifying", "it measures")
    until(lambda: replays(shop), "it replays")
    return call


def replays(shop: Shop) -> bool:
    """Whether the executor is in a run without the index: the switch is thrown, in a transaction to be rolled back."""
    return bool(
        shop.value(
            "select count(*) > 0 from pg_locks as l join pg_stat_activity as a using (pid)"
            " where a.usename = 'architect_executor' and datname = current_database()"
            " and l.relation = 'pg_index'::regclass and mode = 'RowExclusiveLock'"
        )
    )


@contextlib.contextmanager
def crash_of(shop: Shop) -> Iterator[None]:
    """What happens inside ends every session of the server, which then comes back by itself, or is started."""
    with contextlib.closing(shop.connect()) as witness:
        yield
        until(lambda: not is_alive(witness), "every session ends")
    until(lambda: up_again(shop), "the server is up again", 60)


def is_alive(session: psycopg.Connection[Any]) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return session.execute("select true").fetchone() == (True,)
    return False


def up_again(shop: Shop) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return shop.value("select true") is True
    return False


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def kill_caller(shop: Shop, call: Call) -> None:
    kill(call.pid)


def kill_executor(shop: Shop, call: Call) -> None:
    kill(shop.executor_pid())


def kill_server(shop: Shop, call: Call) -> None:
    shop.cluster.tool("kill")
    shop.cluster.tool("start")


def release(shop: Shop) -> None:
    """End the old transactions, where they did not die with the server."""
    shop.rows(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app' and state like 'idle in%%'"
    )


PHASES = {"build": during_build, "measurement": during_measurement}
CRASHES = {"caller": kill_caller, "executor": kill_executor, "server": kill_server}


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("phase", PHASES)
def test_a_crash(shop: Shop, phase: str, crash: str) -> None:
    proposal = shop.approved()
    call = PHASES[phase](shop, proposal)
    with crash_of(shop):
        CRASHES[crash](shop, call)
    assert isinstance(call.failure(), psycopg.OperationalError)
    assert shop.state(proposal) == {"build": "deploying", "measurement": "verifying"}[phase]
    recovers(shop, proposal, phase)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["terminate", "cancel"])
def test_the_executors_session_is_ended(shop: Shop, phase: str, how: str) -> None:
    """By an administrator: the caller is told so, in words."""
    proposal = shop.approved()
    call = PHASES[phase](shop, proposal)
    pid = shop.executor_pid()
    assert shop.value(f"select pg_{how}_backend(%s)", pid)
    # A canceled build leaves an invalid index, and the caller goes on to remove it.
    release(shop)
    error = call.failure()
    assert error.sqlstate in ("55000", "57014"), error
    assert error.diag.message_hint or error.sqlstate == "57014"
    message = (error.diag.message_primary or "").lower()
    assert "terminating connection" in message or "canceling statement" in message or "session ended" in message
    assert "libpq" not in message
    assert call.connection.execute("select 1").fetchone() == (1,)
    recovers(shop, proposal, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_the_executor_ends_with_its_holder(shop: Shop, phase: str) -> None:
    proposal = shop.approved()
    call = PHASES[phase](shop, proposal)
    assert shop.value("select pg_terminate_backend(%s)", call.pid)
    until(lambda: shop.executor_pid() is None, "the executor's session ends", 5)
    call.failure()
    recovers(shop, proposal, phase)


def recovers(shop: Shop, proposal: int, phase: str) -> None:
    """check_health() names it, and the next calls bring it to the same end as if nothing had happened."""
    release(shop)
    if shop.state(proposal) in ("deploying", "verifying"):
        status, detail, remedy = shop.health(f"proposal {proposal}")[0]
        assert status == "critical"
        assert "no session works on it" in detail
        assert f"call architect.sp_deploy_approved({proposal}" in (remedy or "")
    # After a crash pg_stat_statements is empty: the measurement knows the workload from earlier snapshots.
    if phase == "measurement":
        shop.forget_slow()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    assert shop.indexes() == {"orders_customer": True}
    assert shop.rows("select state, verdict, error from architect.proposals") == [("kept", "improved", None)]
    events = shop.events(proposal)
    assert events[:4] == ["proposed", "awaiting_approval", "approved", "deploying"]
    assert events[-2:] == ["verifying", "kept"]
    assert events.count("kept") == 1
    assert events.count("deployed") == (1 if phase == "build" else 2)
    assert shop.value("select count(*) from architect.approval") == 1
    assert shop.value("select count(*) from architect.measurement") == 1
    assert shop.value("select count(*) from architect.improvement_history") == 1
    assert shop.value("select count(*) from architect.must_roll_back") == 0
    assert shop.health(f"proposal {proposal}") == []
    assert shop.value("select obj_description('app.orders_customer'::regclass)") == f"pg_architect proposal {proposal}"


def test_a_crash_during_a_rollback(shop: Shop) -> None:
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    shop.begin("begin; select id from app.orders limit 1", "app").join()
    call = shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')")
    until(lambda: shop.state(proposal) == "reverting", "it reverts")
    until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted"), "the drop waits")
    with crash_of(shop):
        kill_executor(shop, call)
    call.failure()
    status, _, remedy = shop.health(f"proposal {proposal}")[0]
    assert (status, remedy) == ("critical", f"call architect.sp_rollback({proposal}, 'go on');")
    assert shop.begin(remedy or "").result()[0] == "reverted"
    assert shop.indexes() == {}
    assert shop.events(proposal)[-2:] == ["reverting", "reverted"]


def test_debris_of_others_is_not_touched(shop: Shop) -> None:
    """An invalid index that somebody else's build left stays, whatever is cleaned up around it."""
    with shop.connect("app_owner") as owner, pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("create unique index concurrently theirs on app.orders (status)")
    proposal = shop.approved()
    call = during_build(shop, proposal)
    with crash_of(shop):
        kill_executor(shop, call)
    call.failure()
    ours = shop.value("select work_name::text from architect.proposal")
    assert shop.indexes() == {ours: False, "theirs": False}
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    assert shop.indexes() == {"orders_customer": True, "theirs": False}


def test_debris_of_others_under_the_same_name(shop: Shop) -> None:
    """Ours was never built: what has its name now is not ours to drop."""
    proposal = shop.approved()
    with shop.connect("app_owner") as owner, pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("create unique index concurrently orders_customer on app.orders (status)")
    assert "no longer what was approved" in (shop.begin_deployment(proposal).failure().diag.message_primary or "")
    assert shop.indexes() == {"orders_customer": False}
    assert shop.state(proposal) == "refused"


def test_a_killed_run_is_interrupted_and_the_next_goes_on(shop: Shop) -> None:
    for end in ("terminate", "kill"):
        locker = shop.begin("begin; lock table app.orders in access exclusive mode", "postgres").join()
        run = shop.begin("call architect.sp_autonomous_improvement()")
        until(lambda: shop.value("select count(*) from pg_locks where not granted and pid = %s", run.pid), "it waits")  # noqa: B023
        if end == "kill":
            with crash_of(shop):
                kill(run.pid)
        else:
            shop.value("select pg_terminate_backend(%s, 5000)", run.pid)
        run.failure()
        locker.close()
        shop.work(OPEN, times=3)
        shop.begin("call architect.sp_autonomous_improvement()").result()
    assert [
        (status, bool(error)) for status, error in shop.rows("select status, error from architect.run order by run_id")
    ] == [("interrupted", True), ("completed", False), ("interrupted", True), ("completed", False)]


def test_the_workload_is_the_one_from_before_the_statistics_were_lost(shop: Shop) -> None:
    """A crash empties pg_stat_statements; the first query after it must not pass for all there is."""
    proposal = shop.approved()
    shop.begin("call architect.sp_autonomous_improvement()").result()
    shop.rows("select pg_stat_statements_reset()")
    shop.work("select count(*) from app.orders where id = {}", times=1)
    shop.rows("select architect.take_snapshot()")
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    measured = shop.rows(
        "select s.text from architect.measurement_statements as m join architect.statement as s using (statement_id)"
        " where m.kind = 'read'"
    )
    texts = " ".join(text for (text,) in measured)
    assert "where customer = $1" in texts
    assert "where id = $1" in texts
