"""An index that does not help, or harms, is dropped again by its own measurement."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.shop import APP, TRAP_INDEX, UNUSED_INDEX, Shop, until


def test_a_plan_trap_is_reverted_by_its_own_measurement(shop: Shop) -> None:
    proposal = shop.approved(TRAP_INDEX)
    verdict, next_step = shop.deploy(proposal)
    assert verdict == "harmful", shop.explanation(proposal)
    assert next_step.startswith("reverted")
    assert shop.indexes("app.trap") == {}
    (delta, score, state) = shop.rows(
        "select performance_delta, success_score, state from architect.improvement_history"
    )[0]
    assert delta < -5
    assert score < 0.05
    assert state == "reverted"
    assert "worse" in shop.explanation(proposal)


def test_an_unused_index_is_reverted(shop: Shop) -> None:
    proposal = shop.approved(UNUSED_INDEX)
    assert shop.deploy(proposal)[0] == "equivalent", shop.explanation(proposal)
    assert shop.indexes() == {}
    assert "not used" in shop.explanation(proposal)


@pytest.fixture
def writers(shop: Shop) -> Iterator[None]:
    """The application updates orders all the time."""
    end = threading.Event()

    def write() -> None:
        with shop.connect(APP) as app:
            while not end.is_set():
                for n in range(1, 200):
                    app.execute(f"update app.orders set total = total + 1 where id = {n * 199}")

    thread = threading.Thread(target=write)
    thread.start()
    yield
    end.set()
    thread.join()


@pytest.mark.usefixtures("writers")
def test_an_index_that_makes_writes_dearer_is_reverted(shop: Shop) -> None:
    """Updates of an indexed column can no longer be heap-only."""
    shop.rows("alter table app.orders set (fillfactor = 70)")
    shop.rows("vacuum full app.orders")
    shop.set(measurement_window_seconds="0.3", measurement_windows="14")
    until(lambda: shop.value("select n_tup_upd > 2000 from pg_stat_user_tables where relname = 'orders'"), "updates")
    proposal = shop.approved("create index concurrently orders_total on app.orders using btree (total, note)")
    verdict, _ = shop.deploy(proposal)
    assert verdict == "harmful", shop.explanation(proposal)
    assert "WAL per call +" in shop.explanation(proposal)
    assert shop.indexes() == {}
    (before, after) = shop.rows(
        "select wal_bytes_before, wal_bytes_after from architect.measurement_statements where kind = 'write'"
    )[0]
    assert after > 1.5 * before
