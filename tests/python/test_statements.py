"""Kinds, secrets, reading parts of writes, and column uses: over texts as pg_stat_statements has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_architect.safety import parse
from pg_architect.telemetry import classify
from pg_architect.telemetry import predicates as p
from pg_architect.telemetry.name_resolution import Relation

RELATIONS = {
    ("public", "orders"): Relation(1, frozenset({"id", "customer_id", "status", "amount", "created_at", "is_open"})),
    ("public", "customer"): Relation(2, frozenset({"id", "name", "region"})),
}


def uses_of(text: str) -> p.Uses:
    return p.column_uses(parse.parse_one(text), RELATIONS)


def short(text: str) -> list[tuple[str, str, int | None, bool]]:
    return [(u.column, u.use, u.parameter, u.usable) for u in uses_of(text).columns]


@pytest.mark.parametrize(
    ("text", "kind", "keeps_text"),
    [
        ("select $1", "select", True),
        ("with a as (select $1) select * from a", "select", True),
        ("insert into t values ($1)", "insert", True),
        ("update t set a = $1", "update", True),
        ("delete from t", "delete", True),
        ("merge into t using s on t.a = s.a when matched then delete", "merge", True),
        ("create role x password 'secret'", "utility", False),
        ("alter role x password 'secret'", "utility", False),
        ("select * into x from t", "utility", False),
        ("explain select 1", "utility", False),
        ("prepare p (int) as select $1 + 1", "select", True),
        ("prepare p as insert into t values ($1)", "insert", True),
        ("alter rôle geheim passwort 'secret'", "unparsed", False),
        ("", "unparsed", False),
        ("select 1; create role x password 'secret'", "unparsed", False),
    ],
)
def test_kind_and_what_is_kept(text: str, kind: str, keeps_text: bool) -> None:
    sort = classify.classify(text)
    assert (sort.kind, sort.text is not None) == (kind, keeps_text)
    assert "secret" not in repr(sort)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("select * from architect.findings", True),
        ("call architect.sp_autonomous_improvement()", True),
        ("select count(*) from t where a in (select b from architect.run)", True),
        ("create extension pg_architect", True),
        ("select * from architect", False),
        ("select architect from t", False),
    ],
)
def test_statements_of_ours_are_known(text: str, ours: bool) -> None:
    assert classify.classify(text).is_ours is ours


def test_fingerprint_ignores_constants() -> None:
    first, second, other = (classify.classify(f"select a from t where {c}") for c in ("b = 1", "b = 2", "c = 1"))
    assert first.fingerprint == second.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("update t set a = $1 where b = $2", "SELECT 1 FROM t WHERE b = $2"),
        ("update t x set a = y.c from y where y.d = x.b", "SELECT 1 FROM t AS x, y WHERE y.d = x.b"),
        ("delete from t using y where t.a = y.a", "SELECT 1 FROM t, y WHERE t.a = y.a"),
        ("select a from t for update", "SELECT a FROM t"),
        ("insert into t select a from y where b = $1", "SELECT a FROM y WHERE b = $1"),
        ("with q as (select 1 as a) delete from t where b in (select a from q)", None),
    ],
)
def test_reading_part(text: str, query: str | None) -> None:
    tree, reason = classify.reading_part(parse.parse_one(text))
    assert reason is None
    text_back = parse.deparse(tree)
    assert text_back == query if query else text_back.startswith("WITH q")


NOTHING_READ = "it inserts rows without reading a table, so that there is nothing for an index to make faster"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("insert into t values ($1)", NOTHING_READ),
        ("insert into t default values", NOTHING_READ),
        ("insert into t select i, 'x' from generate_series(1, $1) as i", NOTHING_READ),
        (
            "merge into t using s on t.a = s.a when matched then delete",
            "it is a MERGE, of which the reading part is not planned yet",
        ),
    ],
)
def test_statements_without_a_reading_part_say_why(text: str, why: str) -> None:
    tree, reason = classify.reading_part(parse.parse_one(text))
    assert tree is None
    assert reason == why


def test_written_columns() -> None:
    assert classify.written_columns('update t set "Ä" = 1, (b, c) = (2, 3)') == {"Ä", "b", "c"}
    assert classify.written_columns("delete from t") == frozenset()


def test_equality_range_and_order() -> None:
    text = "select id from public.orders where customer_id = $1 and $2 < amount order by created_at desc limit $3"
    assert short(text) == [
        ("customer_id", "equality", 1, True),
        ("amount", "range", 2, True),
        ("created_at", "order", None, True),
    ]
    uses = uses_of(text)
    assert uses.columns[1].operator == ">"
    assert uses.columns[2].descending
    assert uses.places == {1: "condition", 2: "condition", 3: "limit"}
    assert uses.blocks[0].limited
    assert not uses.blocks[0].aggregated


def test_joins_both_ways() -> None:
    uses = uses_of("select 1 from public.orders o join public.customer c on o.customer_id = c.id where c.name = $1")
    joined = {(u.relation_oid, u.column, u.other) for u in uses.columns if u.use == "join"}
    assert joined == {(1, "customer_id", (2, "id")), (2, "id", (1, "customer_id"))}


def test_using_natural_names_and_self_join() -> None:
    assert [u[:2] for u in short("select 1 from public.orders join public.customer using (id)")] == [("id", "join")] * 2
    same = short(
        "select 1 from public.orders a join public.orders b on a.id = b.customer_id where a.id = a.customer_id"
    )
    assert ("id", "join", None, True) in same
    assert len(same) == 2  # a column compared with another of the same row finds nothing by index


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("status in ($1, $2)", [("status", "in_list", 1, True), ("status", "in_list", 2, True)]),
        ("status not in ($1)", [("status", "in_list", 1, False)]),
        ("id = any($1)", [("id", "in_list", 1, True)]),
        ("amount between $1 and $2", [("amount", "range", 1, True), ("amount", "range", 2, True)]),
        ("status like $1", [("status", "prefix_like", 1, True)]),
        ("status ilike $1", [("status", "range", 1, False)]),
        ("status <> $1", [("status", "range", 1, False)]),
        ("amount is null", [("amount", "null_test", None, True)]),
        ("is_open", [("is_open", "equality", None, True)]),
        ("not is_open", [("is_open", "equality", None, True)]),
        ("id = $1 or amount = $2", [("id", "equality", 1, False), ("amount", "equality", 2, False)]),
        ("not (id = $1)", [("id", "equality", 1, False)]),
        ("status::int = $1", [("status", "equality", 1, False)]),
        ("lower(status) = $1", []),
        ("(id, status) = ($1, $2)", [("id", "equality", 1, True), ("status", "equality", 2, True)]),
        ("id = $1::bigint", [("id", "equality", 1, True)]),
        ("amount = amount + $1", [("amount", "equality", None, False)]),
        ("id OPERATOR(pg_catalog.=) $1", [("id", "equality", 1, True)]),
    ],
)
def test_conditions(condition: str, expected: list[tuple[str, str, int | None, bool]]) -> None:
    assert short(f"select 1 from public.orders where {condition}") == expected


def test_parameters_in_arithmetic_belong_to_the_column() -> None:
    use = uses_of("select 1 from public.orders where created_at > now() - $1::interval").columns[0]
    assert (use.column, use.use, use.parameter, use.arithmetic) == ("created_at", "range", None, (1,))


def test_subqueries_correlate() -> None:
    uses = uses_of(
        "select name from public.customer c where region = $1 and exists "
        "(select from public.orders where customer_id = c.id and status = $2)"
    )
    assert {(u.relation_oid, u.column, u.use) for u in uses.columns} == {
        (2, "region", "equality"),
        (1, "customer_id", "join"),
        (2, "id", "join"),
        (1, "status", "equality"),
    }
    assert len(uses.blocks) == 2
    inside = uses_of(
        "select 1 from public.orders where customer_id in (select id from public.customer where name = $1)"
    )
    assert {(u.column, u.use) for u in inside.columns} == {("customer_id", "join"), ("name", "equality")}


def test_opaque_sources_own_nothing_of_ours() -> None:
    assert short("with orders as (select 1 as id) select 1 from orders where id = $1") == []
    assert short("select 1 from (select id from public.orders) as x where x.id = $1") == []
    assert short("select 1 from public.orders as o (a, b) where o.a = $1") == []


def test_grouping_hides_the_order() -> None:
    assert short("select status, count(*) from public.orders group by 1 order by status") == [
        ("status", "group", None, True)
    ]
    assert uses_of("select max(amount) from public.orders").blocks[0].aggregated


def test_order_by_output_name_and_number() -> None:
    assert short("select created_at as t from public.orders order by t") == [("created_at", "order", None, True)]
    assert short("select created_at, id from public.orders order by 2, amount + 1, status") == [
        ("id", "order", None, True)
    ]


def test_set_operations_and_places() -> None:
    uses = uses_of(
        "select $1 from public.orders where id = $2 union select $3 from public.customer where id = $4 limit $5"
    )
    assert uses.places == {1: "output", 2: "condition", 3: "output", 4: "condition", 5: "limit"}
    assert [u.parameter for u in uses.columns] == [2, 4]


@given(st.text(max_size=60))
def test_any_text_has_a_kind(text: str) -> None:
    assert classify.classify(text).kind in {"select", "insert", "update", "delete", "merge", "utility", "unparsed"}
