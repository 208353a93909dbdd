"""What others do at the same time: runs, deployments, locks, old transactions, changed tables, expired approvals."""

from __future__ import annotations

import psycopg
import pytest

from support.shop import CUSTOMER_INDEX, DANA, INES, SLOW, Shop, until

DRY_RUN = "call architect.sp_autonomous_improvement()"


def diagnosis(error: psycopg.Error) -> tuple[str | None, str, str, str]:
    diag = error.diag
    return diag.sqlstate, diag.message_primary or "", diag.message_detail or "", diag.message_hint or ""


def refusal(shop: Shop, proposal: int) -> tuple[str | None, str, str, str]:
    """How a deployment is refused."""
    return diagnosis(shop.begin_deployment(proposal, "20 s").failure())


def test_two_runs_at_once(shop: Shop) -> None:
    with shop.connect(autocommit=False) as locker:
        locker.execute("lock table app.orders in access exclusive mode")
        first = shop.begin(DRY_RUN)
        until(lambda: shop.value("select count(*) from architect.run") == 1, "the first is registered")
        sqlstate, message, detail, hint = diagnosis(shop.begin(DRY_RUN).failure())
        assert (sqlstate, message) == ("55006", "pg_architect: another run is in progress")
        assert detail.startswith("Run 1 by dana began at")
        assert f"session {first.pid}" in detail
        assert "pg_cancel_backend" in hint
        locker.rollback()
    assert first.result()[0] == 1
    assert shop.begin(DRY_RUN).result()[0] > 1


def test_a_run_in_a_transaction_that_is_left_open(shop: Shop) -> None:
    """Nobody waits for ever for a run that is not committed."""
    with shop.connect(DANA, autocommit=False) as idle, shop.connect(DANA) as dana:
        idle.execute("select architect._begin_run(true, 1, true, null)")
        dana.execute("set lock_timeout = '1h'; set statement_timeout = '20s'")
        with pytest.raises(psycopg.Error) as caught:
            dana.execute(DRY_RUN)
        sqlstate, message, detail, hint = diagnosis(caught.value)
        assert (sqlstate, message) == ("55006", "pg_architect: another run is in progress")
        assert detail == f"Session {idle.info.backend_pid} has begun one in a transaction that is still open."
        assert "pg_terminate_backend" in hint
        assert dana.execute("show lock_timeout").fetchone() == ("1h",)
        idle.rollback()
    assert shop.begin(DRY_RUN).result()[0] > 0


def test_one_proposal_deployed_by_two(shop: Shop) -> None:
    proposal = shop.approved()
    with shop.old_snapshot():
        first = shop.begin_deployment(proposal)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        sqlstate, message, _, hint = refusal(shop, proposal)
        assert sqlstate == "55006"
        assert message.endswith(f"another session is working on proposal {proposal}")
        assert hint
        assert first.is_running
    assert first.result()[0] == "improved"
    assert shop.events(proposal).count("deployed") == 1
    assert shop.indexes() == {"orders_customer": True}


def test_two_that_begin_together(shop: Shop) -> None:
    """Whichever is second is refused, or finds everything done; the index is built once."""
    proposal = shop.approved()
    calls = [shop.begin_deployment(proposal) for _ in range(4)]
    for call in calls:
        call.join()
    errors = [call.error.diag.sqlstate for call in calls if call.error]
    assert set(errors) <= {"55006"}
    assert len(errors) < 4
    assert shop.events(proposal)[3:] == ["deploying", "deployed", "verifying", "kept"]
    assert shop.value("select count(*) from architect.measurement") == 1


def test_two_that_propose_the_same_at_once(shop: Shop) -> None:
    """Neither sees the other's proposal before it is committed."""
    with shop.connect(DANA, autocommit=False) as first:
        first.execute("select architect.propose_change(%s, 'mine')", [CUSTOMER_INDEX])
        second = shop.begin(f"select architect.propose_change($${CUSTOMER_INDEX}$$, 'mine, too')")
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted"), "it waits")
        first.commit()
    sqlstate, message, _, hint = diagnosis(second.failure())
    assert (sqlstate, message) == ("55000", "pg_architect: somebody else has just proposed the same index")
    assert "pending_approvals" in hint
    assert shop.rows("select state, why from architect.proposals") == [("awaiting_approval", "mine")]


def test_a_snapshot_in_a_transaction_that_is_left_open(shop: Shop) -> None:
    """The others wait for it, but not for long."""
    shop.begin(DRY_RUN).result()
    with shop.connect(DANA, autocommit=False) as first:
        first.execute("select architect.take_snapshot()")
        sqlstate, message, _, hint = diagnosis(shop.begin(DRY_RUN).failure(10))
        assert (sqlstate, "still open" in message, "pg_stat_activity" in hint) == ("55P03", True, True)
        # a person's proposal needs none
        shop.begin(f"select architect.propose_change($${CUSTOMER_INDEX}$$, 'it helps')").result()
        assert "still open" in shop.value("select predicted_how from architect.proposals where run_id is null")
    shop.begin(DRY_RUN).result()


def test_one_unverified_change_per_table(shop: Shop) -> None:
    first = shop.approved()
    second = shop.approved("create index concurrently orders_total on app.orders using btree (total)")
    with shop.old_snapshot():
        building = shop.begin_deployment(first)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        sqlstate, message, _, hint = refusal(shop, second)
        assert sqlstate == "55000"
        assert f"proposal {first} on the same table is not finished" in message
        assert f"sp_deploy_approved({first}" in hint
    building.result()
    assert shop.state(second) == "approved"
    assert shop.deploy(second)[0] is not None


def test_a_lock_on_the_target(shop: Shop) -> None:
    proposal = shop.approved()
    shop.set(build_lock_timeout="1")
    with shop.connect(autocommit=False) as locker:
        locker.execute("lock table app.orders in access exclusive mode")
        sqlstate, message, _, hint = refusal(shop, proposal)
        locker.rollback()
    assert sqlstate == "55000"
    assert "could not be built: canceling statement due to lock timeout (55P03)" in message
    assert f"sp_deploy_approved({proposal}" in hint
    assert (shop.state(proposal), shop.indexes()) == ("retry", {})
    assert shop.value("select error from architect.proposals") == "canceling statement due to lock timeout (55P03)"
    assert shop.deploy(proposal)[0] == "improved"
    assert shop.value("select error from architect.proposals") is None


def test_a_long_transaction_holds_the_build_back(shop: Shop) -> None:
    """The build gives up at its lock timeout, what it left is removed, and the next call succeeds."""
    proposal = shop.approved()
    shop.set(build_lock_timeout="1")
    with shop.old_snapshot():
        message = refusal(shop, proposal)[1]
        assert "lock timeout" in message
        # Removing it has to wait for the same transaction's snapshot, if that one used the table.
        assert (shop.state(proposal), shop.indexes()) == ("retry", {})
    assert shop.deploy(proposal)[0] == "improved"
    assert shop.events(proposal).count("deployed") == 1


def test_a_long_transaction_holds_the_removal_back_too(shop: Shop) -> None:
    """A reader of the table itself: neither the build nor the drop gets through; both do after it has ended."""
    proposal = shop.approved()
    shop.set(build_lock_timeout="1")
    with shop.connect("app", autocommit=False) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select id from app.orders limit 1")
        sqlstate, message, _, hint = refusal(shop, proposal)
        assert sqlstate == "55000"
        assert "could not be removed" in message
        assert "drop index concurrently" in hint.lower()
        assert shop.state(proposal) == "deploying"
        assert shop.health(f"proposal {proposal}")[0][0] == "critical"
        reader.rollback()
    # The invalid rest is removed; then it is built again, in this call or the next.
    call = shop.begin_deployment(proposal).join()
    if call.error is not None:
        assert shop.state(proposal) == "retry"
        shop.deploy(proposal)
    assert (shop.state(proposal), shop.indexes()) == ("kept", {"orders_customer": True}), shop.explanation(proposal)


SWAP = """alter table app.orders rename to old; create table app.orders (like app.old);
alter table app.orders owner to app_owner"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("drop table app.orders", "does not exist"),
        ("alter table app.orders rename to sales", "does not exist"),
        (SWAP, "other objects"),
        ("alter table app.orders rename customer to client", "customer"),
        ("create index orders_customer on app.orders (total)", "orders_customer"),
        ("create table app.orders_customer ()", "orders_customer"),
        ("alter table app.orders owner to app", "other objects"),
    ],
)
def test_the_world_changed_since_the_approval(shop: Shop, change: str, words: str) -> None:
    """What was approved is no longer what would happen: refused, and nothing is done."""
    proposal = shop.approved()
    with shop.connect() as somebody:
        for statement in change.split(";"):
            somebody.execute(statement)
    before = shop.value("select count(*) from pg_index where indrelid >= 16384")
    sqlstate, message, _, hint = refusal(shop, proposal)
    assert sqlstate == "55000"
    assert f"proposal {proposal} is no longer what was approved" in message
    assert words in message
    assert hint
    assert shop.state(proposal) == "refused"
    assert shop.value("select count(*) from pg_index where indrelid >= 16384") == before
    assert words in shop.value("select error from architect.improvement_history")
    # The end of it: it cannot be deployed again, and a run is not disturbed.
    assert "is refused" in refusal(shop, proposal)[1]
    shop.begin(DRY_RUN).result()


def test_the_table_is_dropped_while_the_build_waits(shop: Shop) -> None:
    proposal = shop.approved()
    with shop.connect(autocommit=False) as owner:
        owner.execute("drop table app.orders")
        call = shop.begin_deployment(proposal)
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted"), "the build waits")
        owner.commit()
    error = call.failure()
    assert error.sqlstate is not None
    assert not error.sqlstate.startswith("XX")
    assert shop.state(proposal) in ("retry", "refused", "failed")
    until(lambda: shop.executor_pid() is None, "the executor's session ends")
    assert shop.begin_deployment(proposal).failure().sqlstate != "XX000"


def test_an_approval_expires(shop: Shop) -> None:
    shop.set(approval_expiry="0.00001")  # 0.9 s
    proposal = shop.approved()
    until(lambda: shop.value("select expires_at < clock_timestamp() from architect.approval"), "it expires")
    sqlstate, message, _, _ = refusal(shop, proposal)
    assert (sqlstate, message) == ("55000", f"pg_architect: the approval of proposal {proposal} has expired")
    assert (shop.state(proposal), shop.indexes()) == ("expired", {})


def test_an_approval_is_taken_back(shop: Shop) -> None:
    proposal = shop.approved()
    with shop.connect(INES) as ines:
        ines.execute("select architect.reject(%s, 'not before the release')", (proposal,))
    sqlstate, message, _, _ = refusal(shop, proposal)
    assert sqlstate == "55000"
    assert f"proposal {proposal} is rejected" in message
    assert shop.indexes() == {}


def test_an_enrollment_is_taken_back(shop: Shop) -> None:
    proposal = shop.approved()
    shop.rows("select architect.withdraw('app_owner')")
    try:
        sqlstate, message, _, hint = refusal(shop, proposal)
        assert sqlstate == "42501"
        assert "does not hold the rights" in message
        assert "architect.enroll('app_owner')" in hint
        assert (shop.state(proposal), shop.indexes()) == ("approved", {})
    finally:
        shop.rows("select architect.enroll('app_owner')")
    assert shop.deploy(proposal)[0] == "improved"


PROCEDURES = {
    "sp_autonomous_improvement": "run_id => a, next_step => b",
    "sp_deploy_approved": "{}, wait => '30 s', verdict => a, next_step => b",
    "sp_rollback": "{}, 'reason', state => a, next_step => b",
}


def block(procedure: str, proposal: int, wrap: str = "{}") -> str:
    """PL/pgSQL that calls it, with variables for what it returns."""
    kind = "bigint" if "improvement" in procedure else "text"
    call = f"call architect.{procedure}({PROCEDURES[procedure].format(proposal)});"
    return f"declare a {kind}; b text; r record; begin {wrap.format(call)} end"


@pytest.mark.parametrize("procedure", PROCEDURES)
@pytest.mark.parametrize(
    ("before", "wrap"),
    [
        ("begin", "{}"),
        ("", "begin {} exception when division_by_zero then null; end;"),
        ("", "for r in update app.quiet as q set b = q.b where q.id = 1 returning q.id loop {} end loop;"),
        ("function", "{}"),
    ],
    ids=["transaction", "exception", "cursor", "function"],
)
def test_inside_somebody_elses_transaction(shop: Shop, procedure: str, before: str, wrap: str) -> None:
    """Procedures that commit say so before they do anything."""
    shop.rows("grant usage on schema app to dana; grant select, update on app.quiet to dana")
    with shop.connect(DANA) as dana:
        code = f"$code$ {block(procedure, shop.approved(), wrap)} $code$"
        statement = f"do {code}"
        if before == "function":
            dana.execute(f"create function pg_temp.f() returns void language plpgsql as {code}")
            statement = "select pg_temp.f()"
        elif before:
            dana.execute("begin")
        with pytest.raises(psycopg.Error) as caught:
            dana.execute(statement)
        sqlstate, message, _, hint = diagnosis(caught.value)
        if before == "begin":
            dana.execute("rollback")
    assert (sqlstate, message) == (
        "2D000",
        f"pg_architect: architect.{procedure} cannot run inside a transaction block or a function",
    )
    assert "by itself" in hint
    assert shop.indexes() == {}
    assert shop.value("select count(*) from architect.run") == 0


@pytest.mark.parametrize("wrap", ["{}", "for r in select 1 loop {} end loop;"])
def test_from_a_block_that_may_commit(shop: Shop, wrap: str) -> None:
    """A DO block outside a transaction holds no snapshot, so that the build does not wait for its caller."""
    proposal = shop.approved()
    shop.begin(f"do $code$ {block('sp_deploy_approved', proposal, wrap)} $code$").join()
    assert (shop.state(proposal), shop.indexes()) == ("kept", {"orders_customer": True}), shop.explanation(proposal)


def test_a_rejection_while_the_writes_are_observed(shop: Shop) -> None:
    """Until the build begins an approval can be taken back."""
    shop.work("update app.orders set total = total + 1 where id = {}")
    shop.set(measurement_window_seconds="1")
    proposal = shop.approved()
    call = shop.begin_deployment(proposal)
    until(shop.executor_pid, "the executor works")
    with shop.connect(INES) as ines:
        ines.execute("select architect.reject(%s, 'not before the release')", (proposal,))
    assert f"proposal {proposal} is rejected" in (call.failure().diag.message_primary or "")
    assert (shop.state(proposal), shop.indexes()) == ("rejected", {})


def test_the_index_is_dropped_while_it_is_measured(shop: Shop) -> None:
    shop.work(SLOW, times=2)
    proposal = shop.approved()
    call = shop.begin_deployment(proposal)
    until(lambda: shop.state(proposal) == "verifying", "it measures")
    with shop.connect("app_owner") as owner:
        owner.execute("drop index app.orders_customer")
    call.join()
    assert call.error is None or (call.error.sqlstate or "")[:2] == "55", call.error
    if call.error is not None:
        shop.begin_deployment(proposal).join()
    assert shop.state(proposal) in ("reverted", "failed")
    assert shop.value("select verdict from architect.proposals") in (None, "inconclusive"), shop.explanation(proposal)
    assert shop.indexes() == {}


def test_a_rollback_after_somebody_took_the_name_of_the_index(shop: Shop) -> None:
    """Only what pg_architect built is dropped: the index by its OID, not whatever has its name."""
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    with shop.connect("app_owner") as owner:
        owner.execute("drop index app.orders_customer")
        owner.execute("create index orders_customer on app.orders (total)")
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.indexes() == {"orders_customer": True}


def test_an_end_between_the_measurement_and_its_conclusion(shop: Shop) -> None:
    """The measurement is recorded, its verdict not yet taken: the next call takes it, and measures nothing twice."""
    shop.set(replay_blocks="100")
    proposal = shop.approved()
    call = shop.begin_deployment(proposal)
    until(lambda: shop.state(proposal) == "verifying", "it measures")
    with shop.connect(autocommit=False) as locker:
        locker.execute("select from architect.proposal for no key update")
        until(lambda: shop.value("select count(*) from architect.measurement") == 1, "it is recorded", 60)
        shop.value("select pg_terminate_backend(%s)", call.pid)
        call.failure()
        until(lambda: shop.executor_pid() is None, "the executor's session ends", 5)
        locker.rollback()
    assert shop.state(proposal) == "verifying"
    shop.deploy(proposal)
    assert shop.value("select count(*) from architect.measurement") == 1
    assert shop.state(proposal) == "kept", shop.explanation(proposal)


def test_nothing_is_built_that_could_not_be_measured(shop: Shop) -> None:
    proposal = shop.approved()
    shop.rows("drop extension pg_stat_statements")
    assert "nothing could be measured" in str(shop.begin_deployment(proposal).join(60).error)
    assert (shop.state(proposal), shop.indexes()) == ("approved", {})
