"""The proof over a faked catalogue: which constructs it lets through, and the names it gives to what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pg_architect.safety import catalogue, parse
from pg_architect.safety.harmless import Proof, prove_harmless
from support.fake_catalogue import FUNCTIONS, FakeDatabase


def prove(statement: str, role: str = "app") -> Proof:
    proof = prove_harmless(FakeDatabase(), statement, role)
    assert proof.harmless is (proof.reason is None) is (proof.qualified_text is not None)
    return proof


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("select a from t where id = $1", "SELECT a FROM public.t WHERE id = $1"),
        ("select * from alone", "SELECT * FROM one.alone"),
        ("select x.a from t x join u y on x.id = y.t_id", None),
        ("select count(*), sum(b) from public.t group by a having count(*) > 1 order by 1 desc limit 3", None),
        ("with q as (select id from t) select q.id from q where q.id in (select t_id from u)", None),
        (
            "with recursive r as (select id from u union select u.id from u, r where r.id = t_id) select r.id from r",
            None,
        ),
        ("select s.n, s.lower from (select id as n, lower(a) from t) s where s.n > 1", None),
        ("select v.x from (values (1, 'a')) as v (x, y)", None),
        ("select 1 from t, lateral (select u.id from u where u.t_id = t.id) l where l.id = 5", None),
        ("select t.ctid, t.a || 'x' from t", "operator || is not built in"),
        ("select a from t where now() - interval $1 > b", None),
        ("select extract($1 from b) from t", "SELECT pg_catalog.extract($1, b) FROM public.t"),
        ("select 1", "SELECT 1"),
    ],
)
def test_queries(statement: str, text: str | None) -> None:
    proof = prove(statement)
    assert proof.kind == "select"
    if text is not None and not proof.harmless:
        assert proof.reason == text
    else:
        assert proof.harmless, proof.reason
        assert text in (None, proof.qualified_text)
        # What will be planned is harmless too, and names the same relations.
        assert prove(str(proof.qualified_text)).relations == proof.relations


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select evil(a) from t", "function evil is not built in"),
        ("select public.lower(a) from t", "function public.lower is not built in"),
        ("select random()", "function random is volatile"),
        ("select set_config('a', 'b', false)", "volatile"),
        ("select current_setting('a')", "not known to be harmless"),
        ("select satisfies_hash_partition(1, 1, 1, 1)", "not known to be harmless"),
        ("select a from t where a operator(public.=) 1", "operator public.= is not built in"),
        ("select a from t where a === 1", "operator === is not built in"),
        ("select a from t order by a using >>>", "operator >>> is not built in"),
        ("select 1 from t where a === any (select 1)", "operator === is not built in"),
        ("select '1'::public.dom", "type public.dom is not built in"),
        ("select 'evil'::regclass", "type regclass is not known"),
        ("select a::mood from t", "type mood is not built in"),
        ("select a % 2 from t", "operator % is not built in"),
        ("select a collate public.x from t", "collation public.x is not built in"),
        ("select t from t", "may mean a whole row"),
        ("select t.* = u.* from t, u", "whole row as a value"),
        ("select lower(t.*) from t", "whole row as a value"),
        ("select (t).a from t", "may mean a whole row|field of a value"),
        ("select (lower(a)).x from t", "field of a value"),
        ("select t.evil from t", "t.evil may not be a column"),
        ("select s.evil from (select id from t) s", "s.evil may not be a column"),
        ("select q.evil from (with q as (select id from t) select q.evil from q) q", "q.evil may not be a column"),
        ("select x.a from t", "x is not a table of the statement"),
        ("select a.b.c.d from t", "names a database"),
        ("select x.b from t as x (b)", "renamed"),
        ("select a from t for update", "it locks rows"),
        ("with x as (delete from t returning id) select id from x", "writes in a WITH query"),
        ("select * from generate_series(1, 2)", "function in FROM"),
        ("select * from t tablesample system (1)", "TABLESAMPLE"),
        ("select xmlelement(name x)", "not supported yet (XmlExpr)"),
        ("select json_array(1)", "not supported yet"),
        ("select lower(a => 'x')", "not supported yet (NamedArgExpr)"),
        ("select 0xFFFFFFFFFF", "not decimal"),
        ("select id from twice", "ambiguous: one.twice, two.twice"),
        ("select id from nosuch", "relation nosuch does not exist"),
        ("select id from nosuch.t", "relation nosuch.t does not exist"),
        ("select id from other.public.t", "names a database"),
        ("select id from gone", "temporary"),
        ("select id from part", "partitioned tables are not supported yet"),
        ("select relname from pg_class", "belongs to the system"),
        ("select d from dom", "column dom.d has a domain"),
        ("select * from dom", "column dom.d has a domain"),
        ("select 1 from dom natural join t", "column dom.d has a domain"),
        ("select 1 from dom join dom x using (d)", "column dom.d has a domain"),
        ("select id from indexed", "index i depends on evil"),
        ("select id from secret", "may not read public.secret"),
        # The name is a WITH query elsewhere, not here.
        (
            "select 1 from t where exists (with pg_class as (select 1) select 1) and id in (select 1 from pg_class)",
            "system",
        ),
        ("with a as (select 1 from b), b as (select 1) select 1 from a", "relation b does not exist"),
    ],
)
def test_refused_with_the_first_reason(statement: str, reason: str) -> None:
    proof = prove(statement)
    assert not proof.harmless
    assert any(part in str(proof.reason) for part in reason.split("|"))


@pytest.mark.parametrize("statement", ["select id from dom", "select count(*) from dom"])
def test_a_column_that_is_not_named_does_not_matter(statement: str) -> None:
    assert prove(statement).harmless


@pytest.mark.parametrize(
    ("statement", "kind", "names"),
    [
        ("insert into t select * from u", "insert", ["t"]),
        ("update public.t set a = 1 from u", "update", ["t"]),
        ("delete from nosuch", "delete", []),
        ("merge into t using u on t.id = u.id when matched then delete", "merge", ["t"]),
        ("select 1 into x", "utility", []),
        ("create table x (a int)", "utility", []),
        ("call evil()", "utility", []),
        ("explain select evil()", "utility", []),
        ("select 1; select 2", "unparsable", []),
        ("", "unparsable", []),
        ("select evil(id) from u, t", "select", ["u", "t"]),
    ],
)
def test_kind_and_relations_of_what_is_not_harmless(statement: str, kind: str, names: list[str]) -> None:
    proof = prove(statement)
    assert not proof.harmless
    assert proof.kind == kind
    assert [relation.name for relation in proof.relations] == names


def test_a_write_is_said_to_be_one() -> None:
    assert prove("insert into t select * from u").reason == (
        "it writes (insert): only queries are planned and replayed as a whole"
    )


def test_parameters_are_counted() -> None:
    assert prove("select a from t where id = $2 and a = $7").parameter_count == 7


def test_a_role_that_is_gone() -> None:
    assert prove("select id from t", "gone").reason == "role gone does not exist any more"


def test_a_shared_catalogue_asks_once() -> None:
    database = FakeDatabase()
    shared = catalogue.Catalogue(database)
    prove_harmless(database, "select lower(a) from t where id = 1", "app", shared)
    asked = database.queries
    prove_harmless(database, "select lower(a), id from t where id = 2", "app", shared)
    assert database.queries == asked


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ('"$user", public', ["$user", "public"]),
        ('A, "B c" ,"d""e"', ["a", "B c", 'd"e']),
        ("", []),
        ('""', [""]),
    ],
)
def test_search_paths_are_split_as_the_server_does(path: str, names: list[str]) -> None:
    assert catalogue.split_identifiers(path) == names


_PARTS = [
    "select",
    "from",
    "t",
    "u",
    "a",
    "evil(a)",
    "t.evil",
    "*",
    "t.*",
    "(",
    ")",
    ",",
    "where",
    "=",
    "===",
    "1",
    "$1",
]
_PARTS += [
    "with",
    "q",
    "as",
    "recursive",
    "union",
    "x::dom",
    "interval $1",
    "in",
    "exists",
    "and",
    "order by",
    "lateral",
]


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=100), st.lists(st.sampled_from(_PARTS), max_size=25).map(" ".join)))
def test_any_text_gets_a_proof(text: str) -> None:
    proof = prove(text)
    if proof.harmless:
        for node in parse.walk(parse.parse_one(str(proof.qualified_text))):
            assert parse.kind_of(node) != "FuncCall" or node.funcname[-1].sval in FUNCTIONS
            assert parse.kind_of(node) != "RangeVar" or node.schemaname == "public" or node.relname == "q"
