"""A change that a person proposes has the figures of those that the cycle finds, or says which could not be had."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from support.people import refused
from support.shop import CUSTOMER_INDEX, DANA, INES, OPEN, UNUSED_INDEX, Shop

FIGURES = (
    "state, predicted_reduction_percent, predicted_how, risk_level, impact, estimated_size, estimated_build_time,"
    " estimated_how, write_cost, title, why, gate_reasons, prediction, apply_sql"
)


def proposed(shop: Shop, statement: str) -> dict[str, Any]:
    """Dana proposes it; its row in architect.proposals."""
    number = shop.propose(statement)
    with shop.connect(row_factory=psycopg.rows.dict_row) as connection:
        row = connection.execute(
            f"select {FIGURES} from architect.proposals where proposal_id = %s", (number,)
        ).fetchone()
    assert row is not None
    assert row["state"] == "awaiting_approval"
    return row


def rejected(shop: Shop) -> None:
    """What waits is rejected, so that it can be proposed again."""
    with shop.connect(INES) as ines:
        ines.execute("select architect.reject(proposal_id, 'later') from architect.pending_approvals")


def may_read_orders(shop: Shop) -> None:
    shop.rows("grant usage on schema app to dana")
    shop.rows("grant select on app.orders to dana")


def built_size(shop: Shop, one: dict[str, Any]) -> int:
    with shop.connect() as connection:
        connection.execute(one["apply_sql"])
    return int(shop.value("select pg_relation_size(%s::regclass)", "app." + one["apply_sql"].split()[3]))


def test_the_figures_are_those_of_the_cycle(shop: Shop) -> None:
    may_read_orders(shop)
    shop.begin("call architect.sp_autonomous_improvement(max_changes_per_run => 5)").result()
    (cycle,) = shop.rows(
        "select prediction, risk_level, impact from architect.proposals where title like '%(customer)'"
    )
    one = proposed(shop, CUSTOMER_INDEX)
    own = one["prediction"]
    assert own.keys() == cycle[0].keys()
    assert own["reduction_percent"] == pytest.approx(cycle[0]["reduction_percent"], abs=15)  # the shares go on
    assert [h["statement_id"] for h in own["helped"]] == [h["statement_id"] for h in cycle[0]["helped"]]
    for name in (
        "size_bytes",
        "size_basis",
        "write_cost",
        "risk_reason",
        "loses_hot_updates",
        "contains_literal",
    ):
        assert own[name] == cycle[0][name], name
    # of two on one table the cycle judges the second beside the first
    assert own["basis"] == cycle[0]["basis"].partition("; beside ")[0]
    beside = "select count(*) from architect.proposals where predicted_how like '%%; beside orders_%%'"
    assert shop.value(beside) == 1
    assert (one["risk_level"], one["impact"]) == cycle[1:]
    assert None not in (one["estimated_size"], one["estimated_build_time"], one["estimated_how"])
    assert one["title"] == "index app.orders (customer)"
    assert one["why"] == "orders of a customer are read often"
    waiting = shop.rows(
        "select predicted_reduction_percent, predicted_how, estimated_how from architect.pending_approvals"
    )
    assert waiting == [(one["predicted_reduction_percent"], one["predicted_how"], one["estimated_how"])]
    assert own["size_bytes"] == pytest.approx(built_size(shop, one), rel=0.1)


def test_the_same_is_not_proposed_twice(shop: Shop) -> None:
    """Only what is open stands in the way; a person may insist on what was rejected."""
    first = shop.propose()
    again = "create index concurrently another_name on app.orders (customer)"
    with shop.connect(DANA) as dana:
        call = f"select architect.propose_change('{again}', 'once more')".encode()
        words = f"proposal {first} for the same index is"
        refused(dana, call, "55000", f"{words} awaiting approval", hint=f"architect.approve({first}, 'reason')")
        shop.approve(first)
        refused(dana, call, "55000", f"{words} approved", hint=f"architect.sp_deploy_approved({first},")
    shop.rows("update architect.proposal set state = 'rejected', completed_at = clock_timestamp()")
    assert shop.propose(again) > first


def test_an_index_that_nothing_would_use(shop: Shop) -> None:
    one = proposed(shop, UNUSED_INDEX)
    assert one["predicted_reduction_percent"] == 0
    assert one["predicted_how"].endswith("(HypoPG): 2 statements touch app.orders")
    assert one["impact"] == "low"


def test_an_index_that_is_only_walked_in_order_is_risky(shop: Shop) -> None:
    one = proposed(shop, "create index concurrently trap_at on app.trap using btree (at)")
    assert one["predicted_reduction_percent"] > 10
    assert one["risk_level"] == "high"
    assert "walked in order" in one["prediction"]["risk_reason"]


def test_without_hypopg(shop: Shop) -> None:
    shop.rows("drop extension hypopg")
    one = proposed(shop, CUSTOMER_INDEX)
    assert one["predicted_reduction_percent"] is None
    assert one["predicted_how"] == "no what-if: hypopg is not installed, so nothing is predicted"
    assert None not in (one["estimated_size"], one["estimated_build_time"])
    assert "captured" in one["write_cost"]


def test_without_a_workload(shop: Shop) -> None:
    shop.rows("drop extension pg_stat_statements")
    one = proposed(shop, CUSTOMER_INDEX)
    why = "pg_stat_statements is not installed in this database"
    assert (one["predicted_reduction_percent"], one["predicted_how"]) == (None, f"{why}, so nothing is predicted")
    assert one["write_cost"] == f"Not estimated: {why}."
    assert (one["risk_level"], one["impact"]) == ("medium", "unknown")
    assert one["prediction"]["risk_reason"] == "how often the table is written is not known"
    assert None not in (one["estimated_size"], one["estimated_build_time"])


def test_a_table_that_no_statement_of_weight_touches(shop: Shop) -> None:
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work(OPEN)
    one = proposed(shop, "create index concurrently quiet_a on app.quiet (a)")
    assert one["predicted_reduction_percent"] is None
    assert one["predicted_how"] == (
        "no statement with at least 1 % of the statement time touches app.quiet, so nothing is predicted"
    )


def test_statements_that_cannot_be_planned(shop: Shop) -> None:
    shop.rows("create function app.evil(int) returns int language sql as 'select $1'")
    shop.rows("grant usage on schema app to public; grant execute on function app.evil(int) to app")
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work("select app.evil(id) from app.orders where customer = {}")
    one = proposed(shop, CUSTOMER_INDEX)
    assert one["predicted_reduction_percent"] is None
    assert one["predicted_how"].startswith("1 statement touches app.orders, and none could be planned (statement ")
    assert one["predicted_how"].endswith("), so nothing is predicted")


def test_without_statistics(shop: Shop) -> None:
    shop.rows("create table app.more (id int primary key, a int)")
    shop.rows("alter table app.more owner to app_owner")
    one = proposed(shop, "create index concurrently more_a on app.more (a)")
    assert (one["estimated_size"], one["estimated_build_time"]) == (None, None)
    assert one["estimated_how"] == "size and build time are not estimated: app.more was never analysed, run ANALYZE"
    shop.rows("alter table app.more alter a set statistics 0")
    shop.rows("insert into app.more select i, i from generate_series(1, 10) as i")
    shop.rows("analyze app.more")
    one = proposed(shop, "create index concurrently more_id on app.more (a, id)")
    assert one["estimated_size"] is None
    assert one["estimated_how"] == (
        "size and build time are not estimated: there are no statistics of app.more.a, run ANALYZE"
    )


COMPOUND = "create index concurrently orders_big on app.orders (total desc, id) where total >= 900 and status = 'done'"


@pytest.mark.parametrize(
    ("statement", "slack"),
    [
        ("create index concurrently orders_open on app.orders (id) where status = 'open'", 8192),
        (COMPOUND, 0),
        ("create index concurrently orders_customer on app.orders (customer) include (total, status)", 0),
    ],
)
def test_partial_and_covering_indexes(shop: Shop, statement: str, slack: int) -> None:
    # How many rows a predicate keeps is told only to who may read the table.
    if " where " in statement:
        one = proposed(shop, statement)
        assert one["estimated_size"] is None
        assert one["estimated_how"].startswith(
            "size and build time are not estimated: how many rows the predicate keeps is asked with the rights of dana"
        )
        rejected(shop)
    may_read_orders(shop)
    one = proposed(shop, statement)
    assert one["prediction"]["contains_literal"] is (" where " in statement)
    assert one["title"].partition(" where ")[1] == (" where " if " where " in statement else "")
    assert one["prediction"]["size_bytes"] == pytest.approx(built_size(shop, one), rel=0.15, abs=slack)


@pytest.mark.parametrize("value", ["open", "none"])
def test_what_is_in_a_table_is_told_only_to_who_may_read_it(shop: Shop, value: str) -> None:
    """The planner uses an index on a value that is there, and not one on a value that is not."""
    statement = f"create index concurrently orders_value on app.orders (id) where status = '{value}'"
    one = proposed(shop, statement)
    assert (one["predicted_reduction_percent"], one["prediction"]["helped"]) == (None, [])
    assert one["predicted_how"].startswith("how many rows the predicate keeps is asked with the rights of dana: ")
    assert one["predicted_how"].endswith("so nothing is predicted")
    rejected(shop)
    may_read_orders(shop)
    assert proposed(shop, statement)["predicted_reduction_percent"] is not None


def test_facts_of_a_column_are_told_only_to_who_may_read_it(shop: Shop) -> None:
    assert proposed(shop, CUSTOMER_INDEX)["prediction"]["size_basis"].endswith("distinct values, 40,000 rows")
    rejected(shop)
    shop.rows("grant select (customer) on app.orders to dana")
    one = proposed(shop, CUSTOMER_INDEX)
    assert one["prediction"]["size_basis"].endswith("40,000 rows, deduplicated, about 13 rows per key")


def test_an_updated_column_that_only_the_predicate_names(shop: Shop) -> None:
    with shop.connect("app") as app:
        for number in range(20):
            app.execute(f"update app.orders set total = total + 1 where id = {number}")
    assert shop.value("select pg_stat_force_next_flush()") is not None
    one = proposed(shop, "create index concurrently orders_big on app.orders (customer) where total > 900")
    assert "update a column of the index" in one["write_cost"]


def test_figures_that_fail_do_not_fail_the_proposal(shop: Shop) -> None:
    with shop.connect(autocommit=False) as locker:
        locker.execute("lock table app.orders in access exclusive mode")
        one = proposed(shop, CUSTOMER_INDEX)
        locker.rollback()
    assert one["predicted_reduction_percent"] is None
    assert "SQLSTATE 55P03" in one["predicted_how"]
    shop.rows("alter function architect._reader_column_statistics(oid) rename to gone")
    one = proposed(shop, UNUSED_INDEX)
    assert one["predicted_how"] == one["estimated_how"] == one["write_cost"]
    assert one["predicted_how"].startswith("not estimated: function architect._reader_column_statistics(")
    assert one["title"] == "index app.orders (note)"


def test_a_name_without_schema(shop: Shop) -> None:
    """What it is taken for is in the answer of the gate and in the proposal that an approver reads."""
    statement = CUSTOMER_INDEX.replace("app.orders", "orders")
    with shop.connect(DANA) as dana:
        dana.execute("set search_path = public")
        (row,) = dana.execute("select reasons, apply_sql from architect.judge_statement(%s)", (statement,)).fetchall()
    (said,) = (reason for reason in row[0] if reason["rule"] == "schema")
    assert said["detail"].startswith(
        "orders has no schema: it is taken to be app.orders, the only relation of that name"
    )
    assert " ON app.orders " in row[1]
    assert said in proposed(shop, statement)["gate_reasons"]
