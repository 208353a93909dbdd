"""Text to trees and back: what is refused, and that nothing is changed on the way."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse


@pytest.mark.parametrize(
    ("text", "sqlstate", "reason"),
    [
        ("", "42601", "no statement"),
        ("  -- nothing\n /* here */", "42601", "no statement"),
        (";;", "42601", "expected one statement, found 0"),
        ("select 1; select 2", "42601", "expected one statement, found 2"),
        ("select 1\0; drop table t", "42601", "NUL"),
        ("select '\ud800'", "42601", "Unicode"),
        ("selec 1", "42601", "syntax error"),
        ("select 'open", "42601", "unterminated"),
        ("select '" + "x" * 70_000 + "'", "54001", "bytes"),
        ("select " + "1+" * 30_000 + "1", "54001", "tokens"),
        ("select 1" + " union select 1" * 3000, "54001", "tokens"),
        ("select " + "1+" * 2000 + "1", "54001", "levels deep"),
        ("select " + "f(" * 900 + "1" + ")" * 900, "54001", "nested"),
        ("select " + "not " * 12_000 + "true", "54001", "tokens"),
    ],
)
def test_refused_with_a_reason(text: str, sqlstate: str, reason: str) -> None:
    with pytest.raises(ArchitectError) as caught:
        parse.parse_one(text)
    assert caught.value.sqlstate == sqlstate
    assert reason in caught.value.message


@pytest.mark.parametrize("unit", ["1+", "- ", "not ", "array[", "f(", "(", "(select ", "case when a then 1 else "])
@pytest.mark.parametrize("depth", [50, 1000, 4900])
def test_nesting_is_parsed_or_refused_and_never_crashes(unit: str, depth: int) -> None:
    closing = {"array[": "]", "f(": ")", "(": ")", "(select ": ")", "case when a then 1 else ": " end"}.get(unit, "")
    text = "select " + unit * depth + "1" + closing * depth
    refused = _sqlstate(lambda: parse.deparse(parse.parse_one(text)))
    assert refused in (None, parse.TOO_COMPLEX)
    assert refused is None or depth > 50


@pytest.mark.parametrize(
    ("stack_megabytes", "server_megabytes", "limit"),
    [(8, 2, 5000), (8, None, 5000), (None, 7000, 5000), (8, 7, 1536), (8, 7.5, 512), (8, 8, 0)],
)
def test_the_limit_fits_the_stack_that_is_free(
    stack_megabytes: int | None, server_megabytes: float | None, limit: int
) -> None:
    stack = resource.RLIM_INFINITY if stack_megabytes is None else stack_megabytes << 20
    server = None if server_megabytes is None else int(server_megabytes * 1024)
    assert parse.structure_limit(stack, server) == limit


@pytest.mark.parametrize("unit", ["1+", "not ", "1 union select ", "(select ", "case when a then 1 else ", "(1,"])
def test_the_limit_leaves_room(unit: str) -> None:
    """Where the server leaves the least, 512 kB, a text at the limit is parsed on half of that and the reserve."""
    limit = parse.structure_limit(8 << 20, 7680)
    closing = {"(select ": ")", "case when a then 1 else ": " end", "(1,": ")"}.get(unit, "")
    program = f"""
import threading
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
parse.structure_limit = lambda stack, server: {limit}
unit, closing = {unit!r}, {closing!r}
def attempt():
    for depth in range(20, {limit}, 20):
        try:
            parse.deparse(parse.parse_one("select " + unit * depth + "1" + closing * depth))
        except ArchitectError as exc:
            assert exc.sqlstate == parse.TOO_COMPLEX, exc.message
parse.deparse(parse.parse_one("select 1"))
threading.stack_size(384 * 1024)
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_many_values_are_not_deep() -> None:
    tree = parse.parse_one(f"select 1 from t where a in ({', '.join(map(str, range(8000)))})")
    assert "7999" in parse.deparse(tree)


@pytest.mark.parametrize(
    "text",
    [
        "select a, count(*) filter (where b > 1) from t group by rollup (a) having count(*) > 2 order by 1 desc",
        "with recursive x(a) as (select 1 union all select a + 1 from x) select * from x natural join y",
        "select extract(year from a), a at time zone 'utc', trim(both 'x' from b), a::numeric(10,2) from t",
        'select u&"\\0061", "Q""q", E\'a\\nb\', $$dollar$$ from "Straße"',
        "select a[1], (select 1), exists (select 2), a = any ($1), row (1, 2) = (3, 4) from t tablesample system (1)",
        "create index concurrently i on t using btree (a desc nulls last, b) include (c) where a = 'x' and b in (1, 2)",
        "drop index concurrently s.i",
    ],
)
def test_deparsed_text_has_the_same_tree(text: str) -> None:
    tree = parse.parse_one(text)
    assert parse.parse_one(parse.deparse(tree)) == tree
    assert "\n" not in parse.deparse(parse.parse_one("select 1 from t where a = 2"))


def test_deparsed_strings_mean_the_same_without_standard_conforming_strings() -> None:
    tree = parse.parse_one(r"""select 'a\', "b\", E'c\\''d' from é where x like '50\%'""")
    text = parse.deparse(tree)
    assert text == r"""SELECT E'a\\', "b\", E'c\\''d' FROM "é" WHERE x LIKE E'50\\%'"""
    assert parse.parse_one(text) == tree


def test_deparse_refuses_what_its_printer_would_change() -> None:
    tree = parse.parse_one("select 1")
    tree.targetList[0].name = ""  # an empty identifier has no text
    with pytest.raises(ArchitectError, match="cannot be written back"):
        parse.deparse(tree)


def test_walk_visits_every_depth() -> None:
    tree = parse.parse_one("select 1 from t where a in (select f(g((select h(1))))) order by case when k() then 1 end")
    calls = [node.funcname[-1].sval for node in parse.walk(tree) if parse.kind_of(node) == "FuncCall"]
    assert sorted(calls) == ["f", "g", "h", "k"]


def test_fingerprint_ignores_constants_only() -> None:
    assert parse.fingerprint("select 1 from t where a = 5") == parse.fingerprint("select 1 from t where a = 6")
    assert parse.fingerprint("select 1 from t where a = 5") != parse.fingerprint("select 1 from t where b = 5")


@pytest.mark.parametrize(
    ("normalised", "repaired"),
    [
        ("select now() - interval $1", "select now() - $1::interval "),
        ("select interval $1 day", "select $1::interval  day"),
        ("select interval(3) $1", "select $1::interval(3) "),
        ("select timestamp with time zone $1, date $2", "select $1::timestamp with time zone , $2::date "),
        ("select time(3) without time zone $1", "select $1::time(3) without time zone "),
        ("select numeric(10, 2) $1, double precision $2", "select $1::numeric(10, 2) , $2::double precision "),
        ("select pg_catalog.date $1", "select $1::pg_catalog.date "),
        ("select extract($1 from é) from t", "select pg_catalog.extract($1 , é) from t"),
        ("select a from t where b = $1 and c like $2 limit $3", "select a from t where b = $1 and c like $2 limit $3"),
    ],
)
def test_normalised_text_is_repaired(normalised: str, repaired: str) -> None:
    assert parse.repair_normalised(normalised) == repaired
    parse.parse_one(repaired)


_WORDS = ["select", "from", "where", "and", "not", "in", "null", "case", "when", "end", "int", "a", "b", "t", "'x'"]
_WORDS += ['"q"', "1", "$1", "(", ")", "[", "]", ",", ";", ".", "=", "+", "-", "*", "::", "--", "/*", "*/"]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for attempt in (parse.parse_one, parse.fingerprint, parse.repair_normalised):
        assert _sqlstate(functools.partial(attempt, text)) in (None, parse.SYNTAX_ERROR, parse.TOO_COMPLEX)


def _sqlstate(attempt: Callable[[], object]) -> str | None:
    """The SQLSTATE that ``attempt`` was refused with; None when it was not."""
    try:
        attempt()
    except ArchitectError as exc:
        return exc.sqlstate
    return None
