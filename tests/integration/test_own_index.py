"""Which index is ours: only what was built for the proposal is adopted, measured and dropped."""

from __future__ import annotations

import psycopg
import pytest

from support.shop import CUSTOMER_INDEX, Shop, until

WAITING = (
    "select count(*) > 0 from pg_stat_activity where usename = 'architect_executor' and wait_event_type = 'Lock'"
    " and datname = current_database()"
)


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
    assert "could not be named orders_customer" in (error.diag.message_primary or "")
    assert shop.state(proposal) == "reverted"
    assert shop.indexes() == {"orders_customer": True}
    assert shop.value("select count(*) from architect.built_index where dropped_at is null") == 0


def test_the_same_index_by_hand_after_an_interruption_is_not_ours(shop: Shop) -> None:
    """The executor dies before its build has begun; the owner builds just the approved index."""
    proposal = shop.approved()
    with shop.connect("postgres", autocommit=False) as locker:
        locker.execute("lock table app.orders in access exclusive mode")
        call = shop.begin_deployment(proposal)
        until(lambda: shop.value(WAITING) and shop.state(proposal) == "deploying", "the build waits")
        shop.rows("select pg_terminate_backend(%s)", shop.executor_pid())
        call.failure()
    with shop.connect("app_owner") as owner:
        owner.execute("create index orders_customer on app.orders (customer)")
    error = shop.begin_deployment(proposal).failure()
    assert "no longer what was approved" in (error.diag.message_primary or "")
    assert shop.indexes() == {"orders_customer": True}
    assert shop.value("select count(*) from architect.built_index") == 0


@pytest.mark.parametrize(
    "migration",
    [
        "drop index app.orders_customer; create index orders_customer on app.orders (customer, total)",
        "alter index app.orders_customer rename to zz; create index orders_customer on app.quiet (a)",
    ],
)
def test_the_drop_does_not_hit_what_a_migration_put_there(shop: Shop, migration: str) -> None:
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    with shop.connect("postgres", autocommit=False) as owner:
        owner.execute(migration)
        call = shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')")
        until(lambda: shop.value(WAITING), "the drop waits")
        owner.commit()
    call.join(60)
    theirs = "app.quiet" if "zz" in migration else "app.orders"
    assert shop.indexes(theirs)["orders_customer"] is True
    assert shop.value("select count(*) from pg_class where relname like 'architect\\_%%'") == 0


def test_a_copied_comment_makes_no_index_ours(shop: Shop) -> None:
    proposal = shop.approved()
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    shop.rows("drop index app.orders_customer")
    shop.rows("create unique index orders_customer on app.orders (customer, id)")
    shop.rows(f"comment on index app.orders_customer is 'pg_architect proposal {proposal}'")
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.indexes() == {"orders_customer": True}


def test_an_index_on_a_table_that_nobody_approved_is_dropped(shop: Shop) -> None:
    """The table is swapped for another while the build waits."""
    proposal = shop.approved()
    with shop.connect("postgres", autocommit=False) as owner:
        owner.execute("lock table app.orders in access exclusive mode")
        call = shop.begin_deployment(proposal)
        until(lambda: shop.value(WAITING) and shop.state(proposal) == "deploying", "the build waits")
        owner.execute(
            "alter table app.orders rename to old_orders; create table app.orders (like app.old_orders);"
            " alter table app.orders owner to app_owner"
        )
        owner.commit()
    error = call.failure()
    assert "what was built is not what was approved" in (error.diag.message_primary or "")
    assert shop.indexes() == {}
    assert "no longer what was approved" in str(shop.begin_deployment(proposal).failure())


def test_the_text_of_a_predicate_runs_nobodys_code(shop: Shop) -> None:
    """The column becomes an array of a domain while the build waits: its constant is not read as such a value."""
    shop.rows("create table app.traced (who text)")
    shop.rows("grant all on app.traced to public")
    shop.rows("update app.orders set note = '{open}' where id % 100 = 0; analyze app.orders")
    proposal = shop.approved("create index concurrently orders_id on app.orders (id) where note = '{open}'")
    with shop.connect("app_owner") as owner:
        owner.execute(
            "create function app.look(text) returns boolean language plpgsql as"
            " $$ begin insert into app.traced values (current_user); return true; end $$"
        )
        owner.execute("create domain app.looked as text check (app.look(value))")
        owner.execute("begin")
        owner.execute("alter table app.orders alter note type app.looked[] using null")
        call = shop.begin_deployment(proposal)
        until(lambda: shop.value(WAITING) and shop.state(proposal) == "deploying", "the build waits")
        owner.execute("commit")
    assert "could not be built" in (call.failure().diag.message_primary or "")
    assert "architect_executor" not in {who for (who,) in shop.rows("select who from app.traced")}
    assert shop.indexes() == {}


def test_a_kept_index_is_followed_through_reindex_concurrently(shop: Shop) -> None:
    proposal = shop.approved(CUSTOMER_INDEX)
    assert shop.deploy(proposal)[0] == "improved"
    shop.rows("reindex index concurrently app.orders_customer")
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    assert shop.indexes() == {}


def test_a_kept_index_that_somebody_dropped_is_told(shop: Shop) -> None:
    """And one that became invalid; not one that REINDEX CONCURRENTLY made anew. Undoing it says that it is gone."""
    proposal = shop.approved(CUSTOMER_INDEX)
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    component = f"proposal {proposal}"
    shop.rows("reindex index concurrently app.orders_customer")
    assert shop.health(component) == []
    shop.rows("update pg_index set indisvalid = false where indexrelid = 'app.orders_customer'::regclass")
    ((status, detail, remedy),) = shop.health(component)
    assert (status, detail) == ("warning", "kept, but its index orders_customer of app.orders is invalid")
    mend, undo = (remedy or "").split(" or undo it: ")
    assert undo == f"call architect.sp_rollback({proposal}, 'the index is invalid');"
    shop.rows(mend)
    assert shop.health(component) == []
    shop.rows("drop index app.orders_customer")
    ((status, detail, remedy),) = shop.health(component)
    assert (status, detail) == ("warning", "kept, but its index orders_customer of app.orders is gone")
    call = shop.begin(remedy or "")
    assert call.result()[0] == "reverted"
    assert f"the index of proposal {proposal} was gone already: there was nothing to drop" in call.notices
    assert shop.health(component) == []


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
