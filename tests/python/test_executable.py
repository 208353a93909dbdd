"""What pg_architect executes itself: two trees are understood, everything else is refused and nothing raises."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pg_architect.core.db import DatabaseError
from pg_architect.safety import catalogue_queries, executable, executable_queries, parse
from pg_architect.safety.judgement import Judgement

HOSTILE = (Path(__file__).parents[1] / "data" / "hostile_statements.txt").read_text().splitlines()

TABLE = {
    "schema": "public", "display": "public.t", "kind": "r", "persistence": "p", "owner": "owner", "superuser": False,
    "inherits": False, "heap": True, "extension": None, "bytes": 8192, "rows": 10.0, "indexes": 1,
}  # fmt: skip
INDEX = {
    "oid": 200, "table_oid": 100, "display": "public.ours", "constraint": False, "unique": False,
    "replica_identity": False, "clustered": False, "bytes": 8192, "scans": 3,
    "definition": "CREATE INDEX ours ON public.t USING btree (b DESC NULLS LAST) WHERE ((b)::text = 'on (x)'::text)",
}  # fmt: skip


def column(name: str, number: int, type_name: str, category: str, **other: Any) -> dict[str, Any]:
    plain = {"type_oid": 20 + number, "problem": None, "opclass_oid": 3000 + number, "type_name": "pg_catalog.x"}
    return {"name": name, "number": number, "type": type_name, "category": category, **plain, **other}


COLUMNS = [
    column("a", 1, "int4", "N"),
    column("b", 2, "text", "S"),
    column("d", 3, "date", "D"),
    *(column(f"c{number}", number, "int4", "N") for number in range(4, 10)),
    column("flag", 10, "bool", "B"),
    column("at", 11, "timestamptz", "D"),
    column("p", 12, "point", "G", opclass_oid=None),
    column("evil", 13, "evil", "U", problem="column evil has the user-defined type evil"),
    column("m", 14, "money", "N"),
]


def existing(**changes: Any) -> dict[str, Any]:
    plain = {"oid": 300, "display": "public.old", "valid": True, "plain_btree": True, "keys": [2], "included": []}
    return {**plain, "options": [0], "opclasses": [3002], "predicate": None, **changes}


class FakeDatabase:
    """A database with the table public.t, which belongs to the role owner, and our index public.ours on it."""

    def __init__(self, *, ours: bool = True, index: dict[str, Any] = INDEX, **table: Any) -> None:
        self.ours, self.index, self.table = ours, index, {**TABLE, **table}
        self.indexes: list[dict[str, Any]] = []
        self.path: str | None = None

    def query(self, sql: str, *params: object) -> list[dict[str, Any]]:
        answers: dict[str, Any] = {
            "select session_user::text as name": lambda: [{"name": "operator"}],
            catalogue_queries.ROLE: lambda _name: [{"oid": 10, "path": self.path}],
            catalogue_queries.NAMED: lambda name: [{"oid": 100, "schema": "public"}] if name == "t" else [],
            executable_queries.TABLE: lambda _oid: [self.table],
            executable_queries.COLUMNS: lambda _oid: COLUMNS,
            executable_queries.NAME_TAKEN: lambda _schema, name: [{"one": 1}] if name == "taken" else [],
            executable_queries.INDEXES: lambda _oid: self.indexes,
            executable_queries.INDEX: lambda schema, name: [self.index] if (schema, name) == ("public", "ours") else [],
            executable_queries.QUALIFIED: lambda schema, name: [{"display": f"{schema}.{name}"}],
            "select architect._created_by_us($1::oid) as ours": lambda _oid: [{"ours": self.ours}],
        }
        if sql.startswith("select $1::text::"):
            if params == ("no date",):
                raise DatabaseError("22007", "invalid input syntax")
            return [{"text": params[0]}]
        rows: list[dict[str, Any]] = answers[sql](*params)
        return rows

    def notice(self, message: str) -> None: ...

    def subtransaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


def judge(statement: str | None, database: FakeDatabase | None = None) -> Judgement:
    judgement = executable.judge_form(database or FakeDatabase(), statement)
    assert judgement.verdict in ("needs_approval", "refuse")
    assert judgement.reasons
    assert json.loads(json.dumps(judgement.to_json())) == judgement.to_json()
    if judgement.verdict == "refuse":
        assert judgement.apply_sql is None
        assert judgement.risk == "high"
    return judgement


def test_enough_hostile_statements() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 150


@pytest.mark.parametrize("statement", HOSTILE)
def test_hostile_statements_are_refused(statement: str) -> None:
    judge(statement)
    assert judge(statement).verdict == "refuse"


@pytest.mark.parametrize("statement", [None, "", " ", "-- x", "\0", "create index \ud800", "x" * 70_000])
def test_no_statement_is_refused(statement: str | None) -> None:
    assert judge(statement).verdict == "refuse"


def test_a_name_without_schema_is_said_to_be_one() -> None:
    """The caller's own search_path is not seen, so that the reader has to know what the name was taken for."""
    database = FakeDatabase()
    assert [one.rule for one in judge("create index concurrently i on public.t (a)").reasons] == ["approval", "lock"]
    said = judge("create index concurrently i on t (a)", database).reasons[-1]
    assert said.rule == "schema"
    assert said.detail == (
        "t has no schema: it is taken to be public.t, found by the search_path that role operator has by configuration "
        "(a SET of the session is not seen); what runs is apply_sql, which names the schema"
    )
    assert said.evidence == {"schema": "public", "search_path": ["operator", "public"]}
    database.path = "other"
    judgement = judge("create index concurrently i on t (a)", database)
    assert judgement.reasons[-1].detail == (
        "t has no schema: it is taken to be public.t, the only relation of that name, though the search_path that role "
        "operator has by configuration does not lead there (a SET of the session is not seen); what runs is apply_sql, "
        "which names the schema"
    )
    assert "ON public.t " in str(judgement.apply_sql)


@pytest.mark.parametrize(
    "statement",
    [
        "create index concurrently i on public.t (a desc nulls last, b asc) include (d)",
        "create index concurrently i on t using btree (b) where a = 1 and d >= '2024-01-31' and b is not null",
        "create index concurrently i on t (b) where a in (1, -2.5) and flag = true and b <> 'it''s' and a is null",
        "CREATE INDEX CONCURRENTLY \"I ü\" ON public.t (at) WHERE at > '2024-01-31 12:00:00+00'::timestamptz;",
        "create index concurrently i on public.t (b) where b = E'back\\\\slash' /* comment */",
    ],
)
def test_plain_indexes_need_approval(statement: str) -> None:
    judgement = judge(statement)
    assert judgement.verdict == "needs_approval", judgement.reasons
    assert judgement.risk == "low"
    assert judgement.lock == "ShareUpdateExclusiveLock"
    assert not judgement.blocks_reads
    assert not judgement.blocks_writes
    assert judgement.needs_own_transaction
    assert judgement.apply_sql is not None
    # What will run is understood in the same way, and its table has its schema.
    assert judge(judgement.apply_sql).apply_sql == judgement.apply_sql
    assert parse.parse_one(judgement.apply_sql).relation.schemaname == "public"
    assert str(judgement.revert_sql).startswith("drop index concurrently public.")


def test_objects_say_what_the_names_mean() -> None:
    objects = judge("create index concurrently i on t (b, a desc) include (d)").to_json()["objects"]
    assert objects == {
        "relation_oid": 100,
        "relation_name": "public.t",
        "relation_owner": "owner",
        "index_name": "i",
        "columns": [
            {"name": "b", "attnum": 2, "type_oid": 22, "opclass_oid": 3002},
            {"name": "a", "attnum": 1, "type_oid": 21, "opclass_oid": 3001},
        ],
        "included": [{"name": "d", "attnum": 3}],
        "predicate": [],
    }


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"kind": "p"}, "partitioned"),
        ({"inherits": True}, "inheritance"),
        ({"persistence": "t"}, "temporary"),
        ({"kind": "v"}, "not an ordinary table"),
        ({"heap": False}, "not an ordinary table"),
        ({"extension": "postgis"}, "extension postgis"),
        ({"superuser": True, "owner": "postgres"}, "owned by the superuser postgres"),
        ({"schema": "pg_catalog"}, "belongs to the system"),
        ({"schema": "architect"}, "belongs to pg_architect"),
    ],
)
def test_tables_that_may_not_be_changed(facts: dict[str, Any], reason: str) -> None:
    judgement = judge("create index concurrently i on t (a)", FakeDatabase(**facts))
    assert judgement.verdict == "refuse"
    assert reason in judgement.reasons[0].detail
    assert judgement.objects["relation_oid"] == 100


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("create index concurrently i on t (p)", "no built-in order"),
        ("create index concurrently i on t (evil)", "user-defined type"),
        ("create index concurrently i on t (a) include (evil)", "user-defined type"),
        ("create index concurrently i on t (a) where evil = 'x'", "user-defined type"),
        ("create index concurrently i on t (a) where m = '1'", "type money"),
        ("create index concurrently i on t (a) where p = '1'", "type point"),
        ("create index concurrently i on t (a) where at > '2024-01-31'", "another session"),
        ("create index concurrently i on t (a) where d = 'tomorrow'", "another session"),
        ("create index concurrently i on t (a) where b = '1'::int", "compared with a int4"),
        ("create index concurrently i on t (a) where b = 'no date'", "column b: invalid input syntax"),
        ("create index i on t (a)", "use create index concurrently"),
        (f"create index concurrently {'i' * 64} on t (a)", "longer than 63 bytes"),
        (f"create index concurrently {'ü' * 32} on t (a)", "longer than 63 bytes"),
        ("create unique index concurrently i on t (a)", "constraint on the data"),
    ],
)
def test_refused_with_the_reason(statement: str, reason: str) -> None:
    assert reason in judge(statement).reasons[0].detail


def test_a_blocking_build_is_refused_with_the_way_to_do_it() -> None:
    assert judge("create index i on t (a desc)").reasons[0].evidence == {
        "instead": "CREATE INDEX CONCURRENTLY i ON t (a DESC)"
    }


@pytest.mark.parametrize("statement", ["create index concurrently on t (a, b)", "create index on t (a, b)"])
def test_an_index_without_a_name_is_refused_with_one(statement: str) -> None:
    judgement = judge(statement)
    assert judgement.verdict == "refuse"
    assert judgement.reasons[0].evidence == {"instead": "CREATE INDEX CONCURRENTLY t_a_b_idx ON t (a, b)"}


@pytest.mark.parametrize(
    ("index", "statement", "same"),
    [
        ({}, "create index concurrently i on t (b)", True),
        ({"valid": False}, "create index concurrently i on t (b)", True),
        ({}, "create index concurrently i on t (b desc)", False),
        ({}, "create index concurrently i on t (b nulls first)", False),
        ({"options": [3]}, "create index concurrently i on t (b desc)", True),
        ({}, "create index concurrently i on t (b, a)", False),
        ({}, "create index concurrently i on t (b) include (a)", False),
        ({"included": [1, 3]}, "create index concurrently i on t (b) include (d, a)", True),
        ({"opclasses": [1]}, "create index concurrently i on t (b)", False),
        ({"plain_btree": False}, "create index concurrently i on t (b)", False),
        ({"predicate": "(a = 1)"}, "create index concurrently i on t (b)", False),
        ({"predicate": "(a = 1)"}, "create index concurrently i on t (b) where a = 1", True),
        ({"predicate": "(a = 1)"}, "create index concurrently i on t (b) where a = 2", False),
        (
            {"predicate": "(((b)::text = 'x'::text) AND (a = ANY (ARRAY[1, 2])))"},
            "create index concurrently i on t (b) where a in (2, 1) and b = 'x'",
            True,
        ),
        ({"predicate": "(lower(b) = 'x'::text)"}, "create index concurrently i on t (b) where b = 'x'", False),
    ],
)
def test_the_same_index_is_not_built_twice(index: dict[str, Any], statement: str, same: bool) -> None:
    database = FakeDatabase()
    database.indexes = [existing(**index)]
    judgement = judge(statement, database)
    assert (judgement.verdict == "refuse") is same
    assert ("is the same index" in judgement.reasons[0].detail) is same


def test_our_own_index_may_be_dropped_and_built_again() -> None:
    judgement = judge("drop index concurrently public.ours")
    assert judgement.verdict == "needs_approval"
    assert judgement.risk == "medium"
    assert judgement.apply_sql == "DROP INDEX CONCURRENTLY public.ours"
    assert judgement.objects["index_oid"] == 200
    again = parse.parse_one(str(judgement.revert_sql))
    assert again.concurrent
    assert again.idxname == "ours"
    assert again.whereClause.rexpr.arg.val.sval == "on (x)"


@pytest.mark.parametrize("fact", ["constraint", "unique", "replica_identity", "clustered"])
def test_an_index_that_means_more_is_kept(fact: str) -> None:
    database = FakeDatabase(index={**INDEX, fact: True})
    assert "more than an index" in judge("drop index concurrently public.ours", database).reasons[0].detail


def test_an_index_of_somebody_else_is_kept() -> None:
    judgement = judge("drop index concurrently public.ours", FakeDatabase(ours=False))
    assert judgement.reasons[0].detail == "public.ours was not created by pg_architect"


_VALID = "create index concurrently i on public . t using btree ( a desc , b ) include ( d ) where a = 1 and b = 'x'"
_INSERTED = [
    ";",
    "(",
    ")",
    ",",
    "evil(a)",
    "unique",
    "only",
    "drop",
    "table",
    "or",
    "--",
    "/*",
    "'",
    '"',
    "$1",
    "::",
    ".",
]
_INSERTED += [
    "cascade",
    "if",
    "exists",
    "not",
    "collate",
    "operator(eve.=)",
    "tablespace",
    "with",
    "select",
    "\0",
    "é",
    "🐘",
]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_statements_get_a_verdict(data: st.DataObject) -> None:
    words = _VALID.split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "insert", "swap"])):
            case "drop" if len(words) > 1:
                del words[at]
            case "repeat":
                words.insert(at, words[at])
            case "swap":
                other = data.draw(st.integers(0, len(words) - 1))
                words[at], words[other] = words[other], words[at]
            case _:
                words.insert(at, data.draw(st.sampled_from(_INSERTED)))
    judgement = judge(" ".join(words))
    if judgement.apply_sql is not None:
        assert judgement.apply_sql.startswith("CREATE INDEX CONCURRENTLY ")
        kinds = {parse.kind_of(node) for node in parse.walk(parse.parse_one(judgement.apply_sql))}
        assert kinds <= {
            "IndexStmt", "RangeVar", "IndexElem", "BoolExpr", "A_Expr", "NullTest", "ColumnRef", "A_Const", "String",
            "Integer", "Float", "Boolean", "TypeCast", "TypeName",
        }  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_random_text_is_refused(text: str) -> None:
    assert judge(text).verdict == "refuse"
