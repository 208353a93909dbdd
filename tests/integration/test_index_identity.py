"""Which index is the one that was built, when others rebuild, rename or imitate it."""

from __future__ import annotations

import pytest

from support.shop import APP, OWNER, SLOW, Call, Shop, until

REINDEX = "reindex index concurrently app.orders_customer"


def went_through(migration: Call) -> bool:
    """PostgreSQL gives the lock of a concurrent build back just before it commits, and who waited may run into that."""
    error = migration.join().error
    assert error is None or "tuple concurrently updated" in str(error), error
    return error is None


def test_a_column_that_gets_another_type_as_soon_as_the_build_ends(shop: Shop) -> None:
    """The migration has queued behind the build, and makes a new index of ours before it is renamed.

    It also takes the column's statistics away, so that nothing can be said of the index.
    """
    proposal = shop.approved()
    with shop.old_snapshot():
        call = shop.begin_deployment(proposal)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        migration = shop.begin("alter table app.orders alter customer type bigint", OWNER)
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted and pid = %s", migration.pid), "")
    if went_through(migration):
        assert call.result()[0] == "inconclusive", shop.explanation(proposal)
        assert (shop.state(proposal), shop.indexes()) == ("reverted", {})
    else:
        assert call.result()[0] == "improved", shop.explanation(proposal)


def test_a_strangers_index_that_has_the_work_name(shop: Shop) -> None:
    """Anybody may read the name meanwhile, and make a temporary table: it is neither ours nor in the way."""
    proposal = shop.approved()
    with shop.connect(APP) as stranger, shop.old_snapshot():
        call = shop.begin_deployment(proposal)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        name = shop.value("select work_name::text from architect.proposal")
        stranger.execute(f"create temporary table t (a int); create index {name} on t (a)")  # type: ignore[arg-type]
        assert shop.value("select pg_terminate_backend(%s)", shop.executor_pid())
        call.failure()
    with stranger:
        again = shop.begin_deployment(proposal).join()
        if again.error is not None:  # what the interrupted build left was removed first
            shop.deploy(proposal)
        assert (shop.state(proposal), shop.indexes()) == ("kept", {"orders_customer": True})


def test_an_equal_index_beside_ours(shop: Shop) -> None:
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    for statement in ("create index twin on app.orders (customer)", REINDEX, "vacuum full pg_index"):
        shop.rows(statement)
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.indexes() == {"twin": True}


@pytest.mark.parametrize(
    "maintenance",
    [
        ("alter table app.orders rename customer to buyer", REINDEX),
        ("alter table app.orders rename to all_orders", "reindex table concurrently app.all_orders"),
        ("alter table app.orders alter customer type bigint",),
    ],
)
def test_ours_is_found_after_maintenance(shop: Shop, maintenance: tuple[str, ...]) -> None:
    """Names change and a new index is made of ours; it stays what was built of this table and this column."""
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    for statement in maintenance:
        shop.rows(statement)
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.value("select to_regclass('app.orders_customer')") is None


def test_an_index_just_like_ours_is_neither_dropped_nor_called_gone(shop: Shop) -> None:
    """With another comment and another OID nobody can tell whether it was built anew by hand."""
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    shop.rows("comment on index app.orders_customer is 'our own words'")
    shop.rows(REINDEX)
    rollback = f"call architect.sp_rollback({proposal}, 'maintenance')"
    diag = shop.begin(rollback).failure().diag
    assert "app.orders_customer is just like it" in (diag.message_primary or "")
    assert (shop.state(proposal), shop.indexes()) == ("revert_failed", {"orders_customer": True})
    shop.rows("drop index app.orders_customer")
    assert shop.begin(rollback).result()[0] == "reverted"


def test_the_enrollment_is_withdrawn_during_the_build(shop: Shop) -> None:
    proposal = shop.approved()
    with shop.old_snapshot():
        call = shop.begin_deployment(proposal)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        shop.rows("select architect.withdraw('app_owner')")
    message = call.failure().diag.message_primary or ""
    assert "could not be" in message
    assert shop.state(proposal) in ("deploying", "deployed")
    assert any(status == "critical" for status, *_ in shop.health(f"proposal {proposal}"))
    shop.rows("select architect.enroll('app_owner')")
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    assert shop.indexes() == {"orders_customer": True}


def test_a_table_that_is_dropped_as_soon_as_the_build_ends(shop: Shop) -> None:
    """Whoever has queued behind the build gets what they asked for."""
    proposal = shop.approved()
    with shop.old_snapshot():
        call = shop.begin_deployment(proposal)
        until(lambda: shop.building() == "waiting for old snapshots", "the build waits")
        migration = shop.begin("drop table app.orders", OWNER)
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted and pid = %s", migration.pid), "")
    if went_through(migration):
        call.failure()
        assert shop.state(proposal) in ("failed", "retry", "refused")
    else:
        assert call.result()[0] == "improved", shop.explanation(proposal)


def test_an_index_that_was_left_is_told(shop: Shop) -> None:
    shop.begin("call architect.sp_autonomous_improvement()").result()
    shop.rows("create index architect_7_0123456789ab on app.orders (note)")
    (status, detail, remedy), *others = shop.health("left index")
    assert (status, others) == ("warning", [])
    assert "app.architect_7_0123456789ab was left" in detail
    shop.rows(remedy or "")
    assert shop.health("left index") == []


def test_an_index_that_was_renamed_before_it_was_measured(shop: Shop) -> None:
    shop.work(SLOW, times=2)
    proposal = shop.approved()
    call = shop.begin_deployment(proposal)
    until(lambda: shop.state(proposal) == "verifying", "it measures")
    assert shop.value("select pg_cancel_backend(%s)", call.pid)
    call.failure()
    until(lambda: shop.executor_pid() is None, "the executor's session ends")
    shop.rows("alter index app.orders_customer rename to mine")
    message = shop.begin_deployment(proposal).failure().diag.message_primary or ""
    assert "the index is named mine now" in message
    assert shop.state(proposal) == "deployed"
    shop.rows("alter index app.mine rename to orders_customer")
    switch = "update pg_index set indisvalid = {} where indexrelid = 'app.orders_customer'::regclass"
    shop.rows(switch.format("false"))
    diag = shop.begin_deployment(proposal).failure().diag
    assert "the index app.orders_customer is invalid now" in (diag.message_primary or "")
    assert "Run: reindex index concurrently app.orders_customer;" in (diag.message_hint or "")
    shop.rows(switch.format("true"))
    shop.forget_slow()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
