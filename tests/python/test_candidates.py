"""Index candidates, what existing indexes cover, names, sizes, and the comparison of plans."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pg_architect.advisor import candidates, describe, naming, recommend, size
from pg_architect.advisor.candidates import Candidate, Key, Predicate
from pg_architect.advisor.what_if import WhatIf
from pg_architect.telemetry.examination import Examination, Examined
from pg_architect.telemetry.plans import Plan, PlanNode
from pg_architect.telemetry.tables import IndexKey, Table
from support.tables import OID, captured, column, examined, index, skewed, table

COLUMNS = (
    column("id"),
    column("customer_id", n_distinct=50_000.0),
    column("amount", n_distinct=10_000.0),
    column("created_at", "timestamp with time zone", category="D"),
    skewed("status", {"done": 0.95, "open": 0.0497, "failed": 0.0003}),
    column("note", "text", width=2000, length=-1, alignment="i"),
    column("place", "point", is_indexable=False),
)
ORDERS = table(*COLUMNS, indexes=[index("orders_pkey", "id", is_unique=True)])


def lists(
    condition: str, of: Table = ORDERS, sets: Sequence[Sequence[str]] = (("1", "2", "3"),)
) -> list[tuple[str, ...]]:
    text = f"select amount from public.orders where {condition}"
    return [c.columns for c in candidates.generate([examined(text, of, sets)], {OID: of}, 0.05) if not c.predicate]


def test_equality_first_most_selective_then_range_or_order() -> None:
    found = lists("status = $1 and customer_id = $2 and amount > $3 order by created_at")
    assert ("customer_id",) in found
    assert ("customer_id", "status") in found
    assert ("customer_id", "status", "amount") in found
    assert ("customer_id", "status", "created_at") in found
    assert ("status", "customer_id") not in found
    assert all(len(columns) <= 3 for columns in found)


def test_unique_lookup_and_odd_columns_give_nothing() -> None:
    assert lists("id = $1 and customer_id = $2") == []
    assert lists("note = $1") == []
    assert lists("place = $1") == []
    assert lists("customer_id = $1 or amount = $2") == []
    assert lists("status is not null") == []


@pytest.mark.parametrize("kind", [{"kind": "p"}, {"kind": "v"}, {"kind": "f"}, {"persistence": "t"}, {"rows": None}])
def test_unsupported_and_unknown_tables_give_nothing(kind: dict[str, str]) -> None:
    assert lists("customer_id = $1", table(*COLUMNS, **kind)) == []  # type: ignore[arg-type]


def test_unplanned_statements_give_nothing() -> None:
    item = examined("select id from public.orders where amount = $1", ORDERS, sets=())
    assert candidates.generate([item], {OID: ORDERS}, 0.05) == []


@pytest.mark.parametrize(
    ("keys", "details", "covered"),
    [
        (("customer_id",), {}, True),
        (("customer_id", "amount"), {}, True),
        (("amount", "customer_id"), {}, False),
        (("customer_id",), {"is_valid": False}, False),
        (("customer_id",), {"is_partial": True}, False),
        (("customer_id",), {"method": "hash"}, False),
        (("customer_id",), {"keys": (IndexKey("customer_id", False, True, False, False),)}, False),
        (("customer_id",), {"keys": (IndexKey("customer_id", True, False, False, False),)}, False),
        (("customer_id",), {"keys": (IndexKey(None, True, True, False, False),)}, False),
    ],
)
def test_a_valid_index_with_the_same_start_covers(
    keys: tuple[str, ...], details: dict[str, object], covered: bool
) -> None:
    have = index("have", *keys, **details)
    assert candidates.is_covered(Candidate(OID, (Key("customer_id"),)), [have]) is covered


def test_directions_count_for_an_order() -> None:
    both = Candidate(OID, (Key("customer_id"), Key("created_at", True, True)))
    ascending = index("have", "customer_id", "created_at")
    mirrored = index(
        "have", keys=(IndexKey("customer_id", True, True, True, True), IndexKey("created_at", True, True, False, False))
    )
    assert not candidates.is_covered(both, [ascending])
    assert candidates.is_covered(both, [mirrored])
    assert candidates.is_covered(both, [ascending], {"customer_id", "created_at"})


def test_among_equality_columns_the_order_does_not_matter() -> None:
    have = index("have", "amount", "customer_id")
    assert candidates.is_covered(Candidate(OID, (Key("customer_id"), Key("amount"))), [have], {"customer_id", "amount"})


def test_descending_order_becomes_ascending() -> None:
    text = "select id from public.orders order by created_at desc, amount"
    found = candidates.generate([examined(text, ORDERS)], {OID: ORDERS}, 0.05)
    assert (Key("created_at"), Key("amount", True, True)) in [c.keys for c in found]


def partial(sets: Sequence[Sequence[str]], condition: str = "status = $1") -> list[Candidate]:
    text = f"select id from public.orders where {condition}"
    return [c for c in candidates.generate([examined(text, ORDERS, sets)], {OID: ORDERS}, 0.05) if c.predicate]


def test_partial_on_the_rare_value_only() -> None:
    assert {c.predicate for c in partial([("failed",)])} == {Predicate("status", "failed", 0.0003)}
    assert partial([("done",)]) == []
    assert partial([("failed",), ("open",)]) == []
    assert {c.columns for c in partial([("failed",)], "status = $1 order by created_at")} == {
        ("created_at",),
        ("status",),
    }


def test_partial_on_null_needs_no_literal() -> None:
    sparse = table(column("deleted_at", null_frac=0.01, n_distinct=-0.9, common=("1",), frequencies=(0.9,)))
    item = examined("select 1 from public.orders where deleted_at is null", sparse)
    found = [c.predicate for c in candidates.generate([item], {OID: sparse}, 0.05) if c.predicate]
    assert found == [Predicate("deleted_at", None, 0.01)]
    assert not found[0].contains_literal


# names


def test_names_are_short_stable_and_distinct() -> None:
    plain = Candidate(OID, (Key("customer_id"),))
    assert naming.index_name(plain, ORDERS) == "orders_customer_id_architect_idx"
    long = table(*COLUMNS, name="ü" * 40)
    names = {naming.index_name(Candidate(OID, (Key(c),)), long) for c in ("id", "amount", "status")}
    assert len(names) == 3
    assert all(len(name.encode()) <= 63 for name in names)
    one, other = (Candidate(OID, (Key("id"),), Predicate("status", v, 0.1)) for v in ("a", "b"))
    assert naming.index_name(one, ORDERS) != naming.index_name(other, ORDERS)
    assert naming.index_name(plain, ORDERS, 1) != naming.index_name(plain, ORDERS, 2)


@pytest.mark.parametrize("value", ["it's", "a\\b", "'; drop table x; --", 'q"q', "ü"])
def test_literals_and_names_are_quoted(value: str) -> None:
    from pg_architect.safety import parse

    odd = table(skewed('we"ird; --', {value: 0.01, "x": 0.9}), name='Tab"le')
    made = Candidate(OID, (Key('we"ird; --', True, True),), Predicate('we"ird; --', value, 0.01))
    tree = parse.parse_one(naming.create_statement(made, odd))
    assert (tree.relation.relname, tree.indexParams[0].name) == ('Tab"le', 'we"ird; --')
    assert tree.whereClause.rexpr.val.sval == value


# sizes


def test_size_follows_deduplication() -> None:
    unique = size.estimate_size(Candidate(OID, (Key("id"),)), ORDERS)
    assert unique.bytes == pytest.approx(22_487_040, rel=0.01)  # pg_relation_size of 1,000,000 distinct int8
    repeated = size.estimate_size(Candidate(OID, (Key("status"),)), ORDERS)
    assert repeated.bytes == pytest.approx(6_922_240, rel=0.05)
    exact = column("n", "numeric", n_distinct=10.0)
    assert size.estimate_size(Candidate(OID, (Key("n"),)), table(exact)).bytes > repeated.bytes * 2


def test_build_time_names_its_basis() -> None:
    assumed = size.estimate_build(ORDERS, 1e6, None, 500_000)
    assert assumed.seconds == pytest.approx(6.0)
    assert "assumption" in assumed.basis
    measured = size.estimate_build(ORDERS, 1e6, 0.01, 500_000)
    assert measured.seconds == pytest.approx(2.2)
    assert "captured statements" in measured.basis


# effect


def plan(cost: float) -> Plan:
    return Plan(cost, 1.0, (PlanNode("Seq Scan", "public", "orders", None, 1.0, 1.0, True),))


def seen_of(*items: Examined) -> Examination:
    return Examination(1, items, tuple(i.captured for i in items), {OID: ORDERS})


def test_effect_weighs_statements_by_time_and_counts_against_the_observed_cost() -> None:
    text = "select id from public.orders where customer_id = $1"
    seen = seen_of(
        examined(text, ORDERS, [("1",), ("2",)], statement_id=1, share=0.6),
        examined(text, ORDERS, [("1",)], statement_id=2, share=0.2),
    )
    made = Candidate(OID, (Key("customer_id"),))
    answers = WhatIf(
        {
            (1, ()): ((plan(100), frozenset()), (plan(100), frozenset())),
            (1, (0,)): ((plan(10), frozenset({0})), (plan(50), frozenset({0}))),
            (2, ()): ((plan(100), frozenset()),),
            (2, (0,)): ((plan(100), frozenset()),),
        },
        {},
        {},
    )
    effect = recommend.effect(seen, made, answers, (), (0,))
    assert effect.saved_share == pytest.approx(0.6 * 0.7)
    assert effect.reduction == pytest.approx((0.6 * 0.5 / 0.8, 0.6 * 0.7 / 0.8, 0.6 * 0.9 / 0.8))
    assert effect.touched == (1, 2)
    assert [h.statement_id for h in effect.helped] == [1]
    assert effect.helped[0].rows_read == 1_000_000


def test_write_cost_and_risk() -> None:
    hot = table(*COLUMNS, updated=1000, hot_updated=900)
    update = captured(
        2,
        kind="update",
        written_oid=OID,
        text="update public.orders set amount = $1 where id = $2",
        calls=500,
        rows=500,
    )
    seen = Examination(1, (), (captured(1, calls=100), update), {OID: hot})
    cost = describe.write_cost(seen, Candidate(OID, (Key("amount"),)), hot)
    assert cost.loses_hot
    assert cost.writes_per_read == 5
    assert "heap-only" in cost.text
    build = size.BuildEstimate(1.0, "")
    assert describe.risk(Candidate(OID, (Key("amount"),)), cost, build)[0] == "high"
    other = describe.write_cost(seen, Candidate(OID, (Key("customer_id"),)), hot)
    assert not other.loses_hot
    assert describe.risk(Candidate(OID, (Key("customer_id"),)), other, build)[0] == "medium"
    quiet = describe.write_cost(Examination(1, (), (captured(1),), {OID: hot}), Candidate(OID, (Key("id"),)), hot)
    assert describe.risk(Candidate(OID, (Key("id"),)), quiet, build)[0] == "low"


def test_one_call_is_one_call() -> None:
    insert = captured(2, kind="insert", written_oid=OID, text="insert", calls=1, rows=1)
    seen = Examination(1, (), (captured(1, calls=1), insert), {OID: ORDERS})
    cost = describe.write_cost(seen, Candidate(OID, (Key("amount"),)), ORDERS)
    assert cost.text == (
        "1 captured call writes 1 row of public.orders (50 % of the statement time), against 1 call that reads it: "
        "each new row version adds an entry to the index."
    )
    quiet = describe.write_cost(
        Examination(1, (), (), {}), Candidate(OID, (Key("id"),)), table(*COLUMNS, inserted=1, updated=2)
    )
    assert "hold 1 insert, 2 updates and 0 deletes" in quiet.text
    item = examined(
        "select amount from public.orders where customer_id = $1", ORDERS, [("1",)], calls=1, rows_per_call=1.0
    )
    helped = describe.HelpedStatement(1, 90.0, 8.0, 0.5, 1.0, 1.0)
    said = describe.why(seen_of(item), Candidate(OID, (Key("customer_id"),)), ORDERS, [helped])
    assert "1 call of 10.0 ms. Each call reads 1 row of public.orders to return 1;" in said


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1_234_567, "1.2 million"),
        (31, "31"),
        (0.42, "0.4"),
        (2.5e9, "2.5 billion"),
        (16393, "16,393"),
        (0.0057, "0.0057"),
    ],
)
def test_numbers_for_people(number: float, text: str) -> None:
    assert describe.count(number) == text


def test_nothing_is_explained() -> None:
    settings = {"min_share": 0.01}
    assert "no statements yet" in recommend.explain_nothing(Examination(1, (), (), {}), [], settings)[0]
    assert "spread evenly" in recommend.explain_nothing(Examination(1, (), (captured(),), {}), [], settings)[0]
    fine = recommend.explain_nothing(seen_of(examined("select id from public.orders", ORDERS)), [], settings)
    assert "no index of up to three columns" in fine[0]
    parts = table(*COLUMNS, kind="p")
    item = examined("select id from public.orders", parts, sets=(), reason="partitioned")
    said = recommend.explain_nothing(Examination(1, (item,), (item.captured,), {OID: parts}), [], settings)
    assert any("partitioned table is not supported yet" in sentence for sentence in said)
