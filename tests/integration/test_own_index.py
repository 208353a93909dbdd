"""Which index is ours: only what was built for the proposal is adopted, measured and dropped."""

from __future__ import annotations

import psycopg

from support.shop import CUSTOMER_INDEX, Shop, until


def test_a_foreign_index_that_took_the_name_is_left_alone(shop: Shop) -> None:
    """An owner commits a unique index of the approved name while the build waits for that very transaction."""
    proposal = shop.approved()
    with shop.connect("postgres", autocommit=False) as owner:
        owner.execute("create unique index orders_customer on app.orders (id, customer)")
        call = shop.begin_deployment(proposal)
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted"), "the build waits")
        owner.commit()
        error = call.join(60).error
    assert isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState)
    assert shop.state(proposal) == "failed"
    assert shop.indexes() == {"orders_customer": True}
    assert shop.value("select count(*) from architect.built_index") == 0


def test_a_kept_index_is_followed_through_reindex_concurrently(shop: Shop) -> None:
    proposal = shop.approved(CUSTOMER_INDEX)
    assert shop.deploy(proposal)[0] == "improved"
    shop.rows("reindex index concurrently app.orders_customer")
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.indexes() == {}


def test_a_renamed_index_is_not_called_reverted(shop: Shop) -> None:
    proposal = shop.approved(CUSTOMER_INDEX)
    assert shop.deploy(proposal)[0] == "improved"
    shop.rows("alter index app.orders_customer rename to orders_by_customer")
    error = shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").join(60).error
    assert "is named orders_by_customer now" in str(error)
    assert shop.state(proposal) == "revert_failed"
    assert shop.indexes() == {"orders_by_customer": True}
    shop.rows("alter index app.orders_by_customer rename to orders_customer")
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'again')").result()[0] == "reverted"
    assert shop.indexes() == {}
