"""Typical parameter values: the observed rows per call decide, frequencies otherwise, and guesses are called so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_architect.safety import parse
from pg_architect.telemetry import distribution, name_resolution, predicates
from pg_architect.telemetry.parameters import Observed, Typical, asked_in, typical_sets, with_asked
from pg_architect.telemetry.tables import Table
from support.tables import OID, column, skewed, table

NOW = datetime(2025, 7, 1, tzinfo=UTC)
MOMENTS = tuple(f"2025-01-{day:02d} 00:00:00+00" for day in range(1, 32))
ORDERS = table(
    column("id"),
    column("customer_id", n_distinct=50_000.0),
    column("created_at", "timestamp with time zone", category="D", bounds=MOMENTS),
    skewed("status", {"done": 0.9, "open": 0.0997, "failed": 0.0003}),
)


def sets_of(condition: str, types: Sequence[str], rows: float = 1.0, of: Table = ORDERS, count: int = 5) -> Typical:
    text = condition if condition.startswith("select") else f"select id from public.orders where {condition}"
    relation = name_resolution.Relation(of.oid, frozenset(of.columns))
    uses = predicates.column_uses(parse.parse_one(text), {("public", "orders"): relation})
    return typical_sets(uses, types, {OID: of}, Observed(rows, NOW), count, seed=7)


@pytest.mark.parametrize(("rows", "value"), [(310.0, "failed"), (95_000.0, "open"), (905_000.0, "done")])
def test_rows_per_call_tell_which_value_is_asked_for(rows: float, value: str) -> None:
    typical = sets_of("status = $1", ["text"], rows)
    assert typical.sets == ((value,),)
    assert "rows per call tell" in typical.basis[0]


def test_without_evidence_values_come_as_often_as_they_occur() -> None:
    typical = sets_of("select count(*) from public.orders where status = $1", ["text"], count=3)
    assert typical.sets[0] == ("done",)
    assert "as often" in typical.basis[0]


COUNT = "select count(*) from public.orders where status = $1"


@pytest.mark.parametrize("count", [3, 20])
def test_a_rare_common_value_is_among_the_sets_that_no_evidence_chooses(count: int) -> None:
    """The open orders of a queue are few, and asked for all the time."""
    sets = sets_of(COUNT, ["text"], count=count).sets
    assert {"done", "failed"} <= {value for (value,) in sets}
    assert count == 3 or ("open",) in sets


def test_common_values_take_at_most_half_of_the_sets() -> None:
    names = {f"s{n:03}": (100 - n) / 10_000 for n in range(100)}
    many = table(column("id"), skewed("status", names, n_distinct=5000.0, bounds=tuple(f"t{n}" for n in range(101))))
    sets = sets_of(COUNT, ["text"], of=many, count=20).sets
    assert len(sets) == 20
    assert ("s099",) in sets
    assert sum((value or "").startswith("t") for (value,) in sets) >= 3
    assert len({value for (value,) in sets[1::2]} & names.keys()) == 10


def test_common_values_of_an_even_column_are_left_to_chance() -> None:
    noise = {str(n): 0.0003 for n in range(50)}
    even = table(column("id"), skewed("status", noise, "bigint", n_distinct=10_000.0, bounds=tuple("56789")))
    assert {int(value or 0) for (value,) in sets_of(COUNT, ["bigint"], of=even, count=3).sets} <= set(range(5, 10))


def test_each_of_two_columns_has_its_rare_values() -> None:
    two = table(column("id"), ORDERS.columns["status"], skewed("kind", {"web": 0.98, "shop": 0.02}))
    text = "select count(*) from public.orders where status = $1 and kind = $2"
    sets = sets_of(text, ["text", "text"], of=two, count=20).sets
    assert {s for s, _ in sets} == {"done", "open", "failed"}
    assert {k for _, k in sets} == {"web", "shop"}


@pytest.mark.parametrize(
    "predicate", ["status = 'open'", "((status)::text = 'open'::text)", "(id > 5) AND (status = 'open'::bpchar)"]
)
def test_what_a_partial_index_asks_for_is_one_of_the_sets(predicate: str) -> None:
    asked = asked_in(predicate, ORDERS)
    assert asked == {(OID, "status"): ("open",)}
    relation = name_resolution.Relation(OID, frozenset(ORDERS.columns))
    text = "select id from public.orders where customer_id = $1 and status = $2"
    uses = predicates.column_uses(parse.parse_one(text), {("public", "orders"): relation})
    sets = (("1", "done"), ("2", "done"))
    assert with_asked(sets, uses, ["bigint", "text"], asked) == (("1", "done"), ("1", "open"), ("2", "done"))
    assert with_asked((("1", "open"),), uses, ["bigint", "text"], asked) == (("1", "open"),)
    assert with_asked((), uses, [], asked) == ()


def test_what_partial_indexes_ask_for() -> None:
    flags = table(column("id"), column("flag", "boolean", category="B"))
    assert asked_in("flag", flags) == {(OID, "flag"): ("t",)}
    assert asked_in("not flag and id <> 3", flags) == {(OID, "flag"): ("f",)}
    assert asked_in("id = any (array[1, 2])", flags) == {(OID, "id"): ("1", "2")}
    assert asked_in("id is null and lower(flag) = 'x'", flags) == {}


def test_an_unexplained_row_count_takes_the_nearest_value_and_says_so() -> None:
    typical = sets_of("status = $1", ["text"], rows=1.0)
    assert typical.sets == (("failed",),)
    assert "nearest" in typical.basis[0]


def test_the_other_columns_average_counts_in() -> None:
    # 1,000,000 rows / 50,000 customers = 20 rows; 2 of them: open
    assert {s[1] for s in sets_of("customer_id = $1 and status = $2", ["bigint", "text"], rows=2.0).sets} == {"open"}


def test_sets_are_distinct_deterministic_and_no_more_than_asked() -> None:
    first = sets_of("customer_id = $1", ["bigint"], rows=20.0)
    assert first == sets_of("customer_id = $1", ["bigint"], rows=20.0)
    assert len(set(first.sets)) == 5


@pytest.mark.parametrize("rows", [1000.0, 50_000.0])
def test_ranges_give_the_observed_rows(rows: float) -> None:
    for low, high in sets_of("id >= $1 and id < $2", ["bigint", "bigint"], rows).sets:
        assert low is not None
        assert high is not None
        assert int(high) - int(low) == pytest.approx(rows / 1_000_000 * 100, abs=1)
    open_end = sets_of("id > $1", ["bigint"], 500_000.0).sets
    assert open_end == (("50",),)


def test_relative_times_count_back_from_now() -> None:
    typical = sets_of("created_at > now() - $1::interval", ["interval"], rows=500_000.0)
    seconds = float((typical.sets[0][0] or "").split()[0])
    assert NOW.timestamp() - seconds == pytest.approx(datetime(2025, 1, 16, tzinfo=UTC).timestamp(), abs=86400)


def test_guesses_are_called_guesses() -> None:
    typical = sets_of("select id, $1 from public.orders limit $2 offset $3", ["integer", "bigint", "bigint"], rows=25.0)
    assert typical.sets == (("1", "25", "0"),)
    assert all(basis.startswith("guess") for basis in typical.basis)


def test_a_parameter_that_no_column_explains_is_refused() -> None:
    typical = sets_of("length(status) = $1", ["integer"])
    assert typical.sets == ()
    assert typical.reason == "no column tells which values parameter $1 takes"


def test_missing_statistics_are_said() -> None:
    bare = table(column("id", has_statistics=False))
    assert sets_of("id = $1", ["bigint"], of=bare).reason == "no statistics for public.orders.id: ANALYZE it"


def test_arrays_and_patterns() -> None:
    assert sets_of("status = any($1)", ["text[]"], rows=905_000.0).sets == (('{"done"}',),)
    assert sets_of("status like $1", ["text"]).sets[0][0] in {"don%", "ope%", "fai%"}


def test_no_parameters_is_one_empty_set() -> None:
    assert sets_of("status is null", []).sets == ((),)


@pytest.mark.parametrize(
    ("value", "type_name", "expected"),
    [("1.7", "integer", "2"), ("12", "bigint", "12"), ("1e300000", "bigint", "1e300000"), ("x", "text", "x")],
)
def test_values_fit_the_parameters_type(value: str, type_name: str, expected: str) -> None:
    assert distribution.as_type(value, type_name) == expected


@pytest.mark.parametrize(
    ("low", "high", "type_name", "expected"),
    [
        ("0", "10", "integer", "5"),
        ("0", "1", "numeric(10,2)", "0.5"),
        ("2025-01-01", "2025-01-03", "date", "2025-01-02"),
        ("-infinity", "infinity", "timestamp with time zone", None),
        ("-Infinity", "1", "double precision", None),
        ("0044-03-15 BC", "2025-01-01", "date", None),
        ("a", "b", "text", None),
    ],
)
def test_interpolation(low: str, high: str, type_name: str, expected: str | None) -> None:
    assert distribution.interpolate(low, high, 0.5, type_name) == expected


def test_common_values_have_their_place_in_the_quantiles() -> None:
    # 90 % are 0, a twentieth lies below and a twentieth above
    balance = column("b", bounds=tuple(str(i) for i in range(-50, 51)), common=("0",), frequencies=(0.9,))
    assert [distribution.quantile(balance, q) for q in (0.0, 0.025, 0.5, 0.94, 0.975, 1.0)] == [
        "-50", "-25", "0", "0", "25", "50",
    ]  # fmt: skip
    days = ("2025-01-01", "2025-01-02", "infinity")
    assert distribution.quantile(column("d", "date", category="D", bounds=days), 0.25) == "2025-01-01"


@given(st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_monotonic(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert float(distribution.quantile(column("id"), low)) <= float(distribution.quantile(column("id"), high))


@given(st.lists(st.text(alphabet='a"\\,{} ', max_size=5), min_size=1, max_size=3))
def test_array_literals_keep_their_items_apart(items: list[str]) -> None:
    literal = distribution.array_literal(items)
    assert literal.replace("\\\\", "").replace('\\"', "").count('"') == 2 * len(items)


PAGE = "select id from public.orders where status = $1 order by id limit $2"


def test_a_page_says_nothing_about_how_rare_its_rows_are() -> None:
    """Neither how many they are nor how much was read for them: a sort reads all rows."""
    typical = sets_of(PAGE, ["text", "bigint"], rows=50)
    assert {values[0] for values in typical.sets} == {"done", "open", "failed"}


def test_a_list_of_thousands_is_not_typical_of_anything() -> None:
    placeholders = ", ".join(f"${i}" for i in range(1, 9001))
    typical = sets_of(f"id in ({placeholders})", ["bigint"] * 9000)
    assert typical.sets == ()
    assert "9000 parameters" in (typical.reason or "")
