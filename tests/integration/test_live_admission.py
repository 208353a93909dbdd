"""What goes on in the server at this moment, as the gate sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from support.shop import DANA, Shop, until

ADD_COLUMN = "alter table app.orders add column channel text"
BUILD = "create index concurrently orders_total on app.orders (total)"
REWRITE = "alter table app.orders add column token uuid default gen_random_uuid()"


def reasons(shop: Shop, statement: str) -> dict[str, list[str]]:
    """The levels of each rule that has something to say."""
    said: dict[str, list[str]] = {}
    with shop.connect(DANA) as dana:
        (row,) = dana.execute("select reasons from architect.judge_statement(%s)", (statement,)).fetchall()
    for reason in row[0]:
        said.setdefault(reason["rule"], []).append(reason["level"])
    return said


@contextmanager
def open_transaction(shop: Shop, statement: str, seconds: float) -> Iterator[psycopg.Connection[Any]]:
    """A session that has run the statement and sits in its transaction for at least so long."""
    with shop.connect("postgres", autocommit=False) as other:
        other.execute(statement)  # type: ignore[call-overload]
        time.sleep(seconds)
        yield other
        other.rollback()


def test_a_quiet_table_says_nothing(shop: Shop) -> None:
    assert {"table-too-busy", "old-snapshot"}.isdisjoint(reasons(shop, ADD_COLUMN))
    assert {"table-too-busy", "old-snapshot"}.isdisjoint(reasons(shop, BUILD))


def test_a_long_transaction_is_in_the_way_of_a_strong_lock_only(shop: Shop) -> None:
    with open_transaction(shop, "select count(*) from app.orders", 1.2):
        assert reasons(shop, ADD_COLUMN)["table-too-busy"] == ["needs_approval"]
        assert "table-too-busy" not in reasons(shop, "analyze app.orders")


def test_a_short_transaction_is_only_told_of(shop: Shop) -> None:
    with open_transaction(shop, "select count(*) from app.orders", 0):
        assert reasons(shop, ADD_COLUMN).get("table-too-busy", ["note"]) == ["note"]


def test_a_queue_for_the_table_is_seen(shop: Shop) -> None:
    with open_transaction(shop, "select count(*) from app.orders", 0):
        waiting = shop.begin("alter table app.orders add column waits int", "postgres")
        until(lambda: shop.value("select count(*) > 0 from pg_locks where not granted"), "it waits")
        assert "needs_approval" in reasons(shop, ADD_COLUMN)["table-too-busy"]
    waiting.join()


def test_an_old_snapshot_holds_up_a_concurrent_build(shop: Shop) -> None:
    shop.rows("select architect.set_setting('build_lock_timeout', '1')")
    with shop.connect("postgres", autocommit=False) as other:
        other.execute("set transaction isolation level repeatable read")
        other.execute("select count(*) from app.trap")
        time.sleep(1.2)
        assert reasons(shop, BUILD)["old-snapshot"] == ["needs_approval"]
        assert "old-snapshot" not in reasons(shop, ADD_COLUMN)
        other.rollback()


def pretend(shop: Shop, pages: float) -> None:
    """The statistics say that the table is larger."""
    shop.rows(
        f"update pg_class set relpages = {pages:.0f}, reltuples = {100 * pages} where oid = 'app.orders'::regclass"
    )


def test_what_does_not_fit_on_the_disk_is_refused(shop: Shop) -> None:
    pretend(shop, 2e9)
    assert reasons(shop, REWRITE)["little-space"] == ["refuse"]


def test_a_slot_that_nobody_reads_keeps_the_wal_of_a_rewrite(shop: Shop) -> None:
    pretend(shop, 2e5)
    assert "replication-lag" not in reasons(shop, REWRITE)
    shop.rows("select pg_create_physical_replication_slot('forgotten', true)")
    try:
        assert reasons(shop, REWRITE)["replication-lag"] == ["needs_approval"]
        assert "replication-lag" not in reasons(shop, ADD_COLUMN)
    finally:
        shop.rows("select pg_drop_replication_slot('forgotten')")


def test_a_table_that_cannot_be_looked_at_is_refused_and_not_waited_for(shop: Shop) -> None:
    """The old default is needed for the way back; who has locked the table would hold up the verdict."""
    shop.rows("alter table app.orders alter column note set default 'x'")
    with open_transaction(shop, "lock table app.orders in access exclusive mode", 0):
        begun = time.monotonic()
        assert reasons(shop, "alter table app.orders alter column note set default 'y'") == {
            "table-too-busy": ["refuse"]
        }
        assert time.monotonic() - begun < 20
