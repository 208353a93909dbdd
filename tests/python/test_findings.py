"""What the rules say about a statement."""

from __future__ import annotations

import pytest

from pg_architect.findings import rules, slow_statement, unplannable_statement
from pg_architect.findings.finding import severity
from pg_architect.telemetry.examination import Examination, Examined
from pg_architect.telemetry.plans import Plan, PlanNode
from pg_architect.telemetry.tables import Table
from support.tables import OID, column, examined, index, table

ORDERS = table(column("id"), column("customer_id"), indexes=[index("orders_pkey", "id")])


def seen_of(item: Examined, of: Table = ORDERS) -> Examination:
    return Examination(1, (item,), (item.captured,), {OID: of})


def test_a_scan_is_told_with_its_numbers() -> None:
    item = examined("select id from public.orders where customer_id = $1", ORDERS, [("1",)], rows_per_call=31.0)
    (found,) = slow_statement.find(seen_of(item), {})
    assert found.severity == "high"
    assert found.title == "select on public.orders takes 50 % of the statement time"
    assert "about 1,000,000 rows read for 31.0 returned" in found.detail
    assert "No index begins with public.orders.customer_id" in found.detail
    assert found.evidence["columns_without_index"] == ["public.orders.customer_id"]


def test_a_cheap_plan_that_is_called_often_is_low() -> None:
    node = PlanNode("Index Scan", "public", "orders", "orders_pkey", 1.0, 1.0, False)
    plan = Plan(8.0, 1.0, (node,))
    item = examined("select id from public.orders where id = $1", ORDERS, [("1",)], plan, blocks_per_call=4.0)
    (found,) = slow_statement.find(seen_of(item), {})
    assert found.severity == "low"
    assert found.remedy == (
        "No index would make it faster: a call takes 10.00 ms, and 100 calls add up. Fewer calls would help: fetch or "
        "write many rows with one statement instead of one row at a time, or keep what was read in the application."
    )


def test_a_long_call_that_no_index_helps_is_not_said_to_be_called_too_often() -> None:
    item = examined("select 1 from public.orders", ORDERS, (), kind="insert", reason="it reads nothing", calls=1,
                    mean_ms=3000.0, rows_per_call=50_000.0, blocks_per_call=1.0)  # fmt: skip
    (found,) = slow_statement.find(seen_of(item), {})
    assert found.detail.startswith("1 call of 3,000.00 ms by app, 50,000.0 rows and 1 block per call.")
    assert "calls" not in found.remedy
    assert found.remedy == (
        "No index would make it faster: a call takes 3,000.00 ms and handles 50,000 rows. Let a call handle fewer "
        "rows, or look at what else it does: sorting, functions, triggers, constraints."
    )
    item = examined("select 1 from public.orders", ORDERS, (), kind="insert", reason="it reads nothing", calls=9,
                    blocks_per_call=1.0)  # fmt: skip
    (found,) = slow_statement.find(seen_of(item), {})
    assert "a call takes 10.00 ms and handles 1 row." in found.remedy


def test_an_index_that_throws_away_most_of_what_it_finds_is_not_low() -> None:
    node = PlanNode("Index Scan", "public", "orders", "orders_pkey", 1.0, 1.0, True)
    text = "select id from public.orders where customer_id = $1 order by id limit 1"
    item = examined(text, ORDERS, [("1",)], Plan(8.0, 1.0, (node,)), blocks_per_call=8_000.0)
    (found,) = slow_statement.find(seen_of(item), {})
    assert found.severity == "high"
    assert "throws away" in found.detail
    assert "An index may help" in found.remedy


def test_unsupported_tables_are_said() -> None:
    parts = table(column("customer_id"), kind="p")
    item = examined("select 1 from public.orders where customer_id = $1", parts, [("1",)])
    (found,) = slow_statement.find(seen_of(item, parts), {})
    assert "not supported yet" in found.remedy


@pytest.mark.parametrize(
    ("kind", "reason", "level"),
    [("select", "function evil is not built in", "high"), ("utility", "a utility statement has no plan", "low")],
)
def test_what_is_not_plannable_is_said_plainly(kind: str, reason: str, level: str) -> None:
    item = examined("select 1 from public.orders", ORDERS, (), kind=kind, reason=reason)
    (found,) = rules.find(None, seen_of(item), {})  # type: ignore[arg-type]
    assert (found.rule, found.severity) == (unplannable_statement.RULE, level)
    assert reason in found.detail
    assert found.detail.startswith("100 calls of")


def test_one_call_is_one_call() -> None:
    item = examined("select 1 from public.orders", ORDERS, (), kind="select", reason="it is odd", calls=1)
    (found,) = rules.find(None, seen_of(item), {})  # type: ignore[arg-type]
    assert found.detail.startswith("1 call of 10.00 ms by app.")


def test_inserts_of_values_are_slow_but_not_unplannable() -> None:
    item = examined("select 1 from public.orders", ORDERS, (), kind="insert", reason="it reads no table")
    (found,) = rules.find(None, seen_of(item), {})  # type: ignore[arg-type]
    assert found.rule == slow_statement.RULE


def test_severity_by_share() -> None:
    assert [severity(share) for share in (0.3, 0.1, 0.02)] == ["high", "medium", "low"]
