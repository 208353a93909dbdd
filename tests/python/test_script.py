"""How a script is cut into statements, followed in the overlay of the catalogue, and what transactions mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_architect import cli, cli_output
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.judgement import Judgement, Refused
from pg_architect.safety.overlay import FIRST_NEW, Depends, Overlay, Table
from pg_architect.safety.readers import create_queries, object_queries
from pg_architect.safety.split import MAX_BYTES, MAX_STATEMENTS, comments, has_command, next_script, split
from pg_architect.safety.transaction import Transaction


def texts(script: str) -> list[str]:
    return [piece.text for piece in split(script)]


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        ("-- nothing\n; /* at all */ ;", []),
        ("select 1", ["select 1"]),
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
        (r"select e'\';'; select 2", [r"select e'\';'", "select 2"]),
        ('select ";"";"; select 2', ['select ";"";"', "select 2"]),
        ("select $$;$$; select $ö$;$$;$ö$; select 2", ["select $$;$$", "select $ö$;$$;$ö$", "select 2"]),
        ("select a$b$; select 2; select c$b$", ["select a$b$", "select 2", "select c$b$"]),
        ("select $1; select 2", ["select $1", "select 2"]),
        ("-- a; b\nselect 1 -- c; d\n; select 2", ["select 1", "select 2"]),
        ("/* ; /* ; */ ; */ select 1; select /* ; */ 2", ["select 1", "select /* ; */ 2"]),
        ("create rule r as on insert to t do (select 1; select 2); select 3",
         ["create rule r as on insert to t do (select 1; select 2)", "select 3"]),
        ("create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
         ["create function f() returns int begin atomic select case when true then 1 end; select 2; end", "select 3"]),
        ("begin; select 1; end; select 2", ["begin", "select 1", "end", "select 2"]),
        ("select 1; select 'open", ["select 1", "select 'open"]),
        ("select 1; select $a$ open", ["select 1", "select $a$ open"]),
        ("select 1 /* open", ["select 1"]),
    ],
)  # fmt: skip
def test_statements(script: str, statements: list[str]) -> None:
    assert texts(script) == statements


def test_commands_of_psql_end_with_their_line() -> None:
    assert texts("\\i a.sql\nselect 1; \\echo it;s\nselect 2") == ["\\i a.sql", "select 1", "\\echo it;s", "select 2"]
    assert has_command("select 1 \\gexec")
    assert not has_command(r"select e'\n', '\', $$\$$")


def test_several_scripts() -> None:
    script = (
        next_script("a b.sql") + "select 1;\nselect 2\n" + next_script("c") + "\nselect '\n-- architect: script d\n'"
    )
    assert [(one.script, one.line) for one in split(script)] == [("a b.sql", 1), ("a b.sql", 2), ("c", 2)]
    assert [line for line, _ in comments("-- a\n'\n-- b\n'/* -- c */ -- d")] == [1, 4]


def test_lines() -> None:
    assert [piece.line for piece in split("\n-- one\nselect\n1;\n\n/*\n*/ select 2; select 3\n;")] == [3, 7, 7]


@given(st.text(alphabet="ab;'\"$e\\-*/() \n\u00e9", max_size=60))
def test_pieces_are_in_the_text_in_order(script: str) -> None:
    position = 0
    for piece in split(script):
        assert piece.text
        position = script.index(piece.text, position) + len(piece.text)


def test_bounds() -> None:
    assert len(split("select 1;" * MAX_STATEMENTS)) == MAX_STATEMENTS
    with pytest.raises(ArchitectError, match="more than 1000 statements"):
        split("select 1;" * (MAX_STATEMENTS + 1))
    with pytest.raises(ArchitectError, match="more than 1048576"):
        split("-" * (MAX_BYTES + 1))
    with pytest.raises(ArchitectError, match="Unicode"):
        split("select '\ud800'")
    assert split("select '" + "é" * 500_000) != []


class FakeDatabase:
    """A catalogue in which every question has the same answer."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[str] = []

    def query(self, text: str, *_params: object) -> list[dict[str, Any]]:
        self.asked.append(text)
        return self.rows


def overlay(rows: list[dict[str, Any]] | None = None) -> Overlay:
    return Overlay(FakeDatabase(rows or []))  # type: ignore[arg-type]


def test_an_unknown_question_is_passed_on_while_nothing_has_changed() -> None:
    made = overlay([{"x": 1}])
    assert made.query("select whatever", 1) == [{"x": 1}]
    made.touched.add("t")
    with pytest.raises(Depends):
        made.query("select whatever", 1)
    assert made.depended is not None
    made.begin()
    assert made.depended is None
    assert made.query("select whatever") == [{"x": 1}]


def test_names() -> None:
    made = overlay([{"oid": 1, "schema": "a"}, {"oid": 2, "schema": "b"}])
    made.names |= {("a", "t"): None, ("c", "t"): FIRST_NEW + 1, ("c", "u"): FIRST_NEW + 2}
    assert made.query(sql.NAMED, "t") == [{"oid": 2, "schema": "b"}, {"oid": FIRST_NEW + 1, "schema": "c"}]
    assert made.query(sql.NAME_TAKEN, "a", "t") == []
    assert made.query(sql.NAME_TAKEN, "c", "u") == [{"one": 1}]
    with pytest.raises(Depends):
        made.query(create_queries.RELATION_NAMED, "c", "t")


def test_facts_of_what_changed() -> None:
    made = overlay()
    made.tables[7] = Table({"oid": 7, "kind": "r"}, {"a": {"name": "a"}}, None, [])
    assert made.query(sql.COLUMNS, 7) == [{"name": "a"}]
    with pytest.raises(Depends):
        made.query(sql.CONSTRAINTS, 7)
    with pytest.raises(Refused, match="bytes"):
        made.query(sql.RELATION, 7)[0]["bytes"]  # a fact that is not known is no KeyError
    with pytest.raises(Depends):
        made.query(object_queries.DEPENDENTS, "pg_catalog.pg_class", [FIRST_NEW + 5])
    assert made.query(sql.COLUMNS, 8) == []


def judged(**facts: Any) -> Judgement:
    return Judgement("allow", "low", "kind", (), **facts)


def rules(transaction: Transaction, text: str, one: Judgement) -> list[str]:
    return [reason.rule for reason in transaction.check(parse.parse_one(text), one, 5.0, ())]


def test_transactions() -> None:
    one = Transaction()
    begin, commit = parse.parse_one("begin"), parse.parse_one("commit")
    assert one.control(begin, 1) == []
    assert [reason.rule for reason in one.control(begin, 2)] == ["nested-transaction-control"]
    assert one.control(commit, 3) == []
    assert [reason.rule for reason in one.control(commit, 4)] == ["nested-transaction-control"]
    for text in ("rollback", "savepoint a", "begin isolation level serializable", "commit and chain", "abort"):
        with pytest.raises(Refused, match="not followed"):
            one.control(parse.parse_one(text), 5)


def test_what_is_held() -> None:
    one = Transaction(is_single=True)
    strong = judged(blocks_writes=True, objects={"relations": {"s.a": {}}})
    text = "alter table s.a add constraint c check (x > 0) not valid"
    assert rules(one, text, strong) == []
    one.note(parse.parse_one(text), strong, 1)
    scan = judged(scans=True, objects={"relations": {"s.a": {}}})
    assert rules(one, "alter table s.a validate constraint c", scan) == ["validate-in-same-transaction"]
    assert rules(one, "select 1", scan) == ["several-locks-in-transaction"]
    assert rules(one, "vacuum s.b", judged(needs_own_transaction=True)) == ["concurrent-in-transaction"]
    one.note(parse.parse_one("alter type s.m add value 'new'"), judged(), 2)
    assert rules(one, "alter table s.a alter b set default 'new'", judged()) == ["enum-in-transaction"]
    one.end()
    assert rules(one, "alter table s.a validate constraint c", scan) == []


@pytest.mark.parametrize(
    ("text", "in_force"),
    [
        ("set lock_timeout = '2s'", True),
        ("set lock_timeout to 1500", True),
        ("set session lock_timeout = '1.5 s'", True),
        ("set lock_timeout = 0", False),
        ("set statement_timeout = '1min'", False),
        ("set local lock_timeout = '2s'", False),
    ],
)
def test_timeouts(text: str, in_force: bool) -> None:
    one = Transaction()
    one.set_timeout(parse.parse_one(text))
    assert one.has_lock_timeout == in_force


def test_a_local_timeout_ends_with_the_transaction() -> None:
    one = Transaction()
    one.control(parse.parse_one("begin"), 1)
    one.set_timeout(parse.parse_one("set local lock_timeout = '2s'"))
    assert one.has_lock_timeout
    one.control(parse.parse_one("commit"), 3)
    assert not one.has_lock_timeout


@pytest.mark.parametrize(
    "text",
    ["set work_mem = '1GB'", "set lock_timeout to default", "reset lock_timeout", "set search_path = a",
     "set lock_timeout = 'soon'", "set lock_timeout = -1"],
)  # fmt: skip
def test_other_settings_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        Transaction().set_timeout(parse.parse_one(text))


def test_exit_codes() -> None:
    assert cli.exit_code(["allow"], "needs_approval") == 0
    assert cli.exit_code(["allow", "needs_approval"], "refuse") == 0
    assert cli.exit_code(["allow", "needs_approval"], "needs_approval") == 1
    assert cli.exit_code(["needs_approval", "refuse"], "refuse") == 2


def test_lines_of_a_verdict() -> None:
    row = {
        "file": "-", "line": 3, "verdict": "refuse", "kind": "create_index", "safer_sql": ["create index concurrently"],
        "reasons": [
            {"rule": "lock-queue", "level": "note", "detail": "n"},
            {"rule": "big-build", "level": "needs_approval", "detail": "b"},
            {"rule": "index-not-concurrent", "level": "refuse", "detail": "it blocks"},
        ],
    }  # fmt: skip
    assert cli_output.lines(row) == [
        "<stdin>:3: refuse create_index — index-not-concurrent: it blocks",
        "    needs_approval big-build: b",
        "    safer: create index concurrently",
    ]
