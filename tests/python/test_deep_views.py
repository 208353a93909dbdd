"""The proof that looks deeper, over a faked catalogue: stored queries, and functions in FROM."""

from __future__ import annotations

import pytest

from pg_architect.safety import catalogue
from pg_architect.safety.harmless import Proof, prove_harmless
from support.fake_catalogue import DeepDatabase, FakeDatabase


def prove_deep(statement: str, **views: str) -> Proof:
    database = DeepDatabase(views)
    return prove_harmless(database, statement, "app", catalogue.Catalogue(database, deep=True))


def test_views_are_proved_by_what_they_store() -> None:
    proof = prove_deep("select id from alone", alone="SELECT u.id FROM public.u;", u="SELECT id FROM public.t")
    assert proof.qualified_text == "SELECT id FROM one.alone"
    assert [relation.name for relation in proof.relations] == ["alone"]
    assert [relation.name for relation in proof.behind] == ["u", "t"]
    assert proof.behind[0].schema == "public"


@pytest.mark.parametrize(
    ("views", "reason"),
    [
        ({"alone": "SELECT evil(id) FROM public.t"}, "view one.alone: function evil is not built in"),
        ({"alone": "SELECT low.evil(id) FROM public.t"}, "view one.alone: function low.evil does not exist"),
        (
            {"alone": "SELECT id FROM public.u", "u": "SELECT random()"},
            "view one.alone: view public.u: function random",
        ),
        ({"alone": "SELECT id FROM t"}, "view one.alone: it names t without a schema"),
        ({"alone": "SELECT id FROM one.alone"}, "view one.alone: view one.alone: views are nested too deeply"),
        ({"alone": "SELECT id FROM public.u", "u": "SELECT id FROM one.alone"}, "views are nested too deeply"),
        ({"alone": "DELETE FROM public.t"}, "view one.alone: it is no query"),
        ({"alone": "SELECT 1; SELECT 2"}, "view one.alone: expected one statement"),
        ({"alone": "SELECT relname FROM pg_catalog.pg_class"}, "view one.alone: pg_catalog.pg_class belongs to the"),
        ({"alone": "SELECT t.evil FROM public.t"}, "view one.alone: t.evil may not be a column"),
    ],
)
def test_a_view_that_is_not_proved(views: dict[str, str], reason: str) -> None:
    assert reason in str(prove_deep("select id from alone", **views).reason)
    assert "views are not supported yet" not in str(prove_deep("select id from alone", **views).reason)


def test_a_stored_query_may_use_nothing_that_its_text_does_not_show() -> None:
    row = {
        "class": "pg_cast",
        "oid": 20000,
        "object": "cast from a to b",
        "function_schema": None,
        "function_name": None,
    }
    database = DeepDatabase({"alone": "SELECT id FROM public.t"}, uses=[row])
    proof = prove_harmless(database, "select id from alone", "app", catalogue.Catalogue(database, deep=True))
    assert proof.reason == "view one.alone: it uses cast from a to b"


def test_texts_of_the_server_are_read_only_under_the_pinned_path() -> None:
    database = DeepDatabase({}, pinned=False)
    proof = prove_harmless(database, "select id from t", "app", catalogue.Catalogue(database, deep=True))
    assert "search_path = pg_catalog, pg_temp" in str(proof.reason)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select x from lower('a') as x", None),
        ("select x.x from lower('a') as x", None),
        ("select lower from lower('a')", None),
        ("select x.evil from lower('a') as x", "x.evil may not be a column"),
        ("select x.y, y from lower('a') as x (y)", None),
        ("select x.x from lower('a') as x (y)", "x.x may not be a column"),
        ("select e.key, e.value, e from sum(1) as e", None),
        ("select e.ordinality from sum(1) with ordinality as e", None),
        ("select e.e from sum(1) as e", "e.e may not be a column"),
        # What it returns depends on what it is called with.
        ("select c from count(1) as c", None),
        ("select c.c from count(1) as c", "c.c may not be a column"),
        ("select c.a from count(1) as c", "c.a may not be a column"),
        ("select s.x from (select * from lower('a') as x) s", None),
        ("select x from lower('a') as x where exists (select 1 from t x)", "x may mean a whole row"),
        ("select 1 from evil(1)", "function evil in FROM is not built in"),
        ("select 1 from public.lower('a')", "function in FROM public.lower is not built in"),
        ("select 1 from random()", "function random in FROM"),
        ("select 1 from lower(evil('a'))", "function evil is not built in"),
        ("select 1 from rows from (lower('a'), lower('b')) as x", "in a form that is not supported yet"),
        ("select 1 from lower('a') as (x int)", "defines the columns"),
    ],
)
def test_functions_in_from(statement: str, reason: str | None) -> None:
    proof = prove_deep(statement)
    assert proof.harmless is (reason is None), proof.reason
    assert str(reason or "") in str(proof.reason)
    assert not prove_harmless(FakeDatabase(), statement, "app").harmless
