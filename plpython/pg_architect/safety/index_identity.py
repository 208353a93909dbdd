"""What makes two indexes the same: columns by number, operator classes, order and predicate, not names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pg_architect.core.db import Database, Row
from pg_architect.safety import executable_queries as sql
from pg_architect.safety import parse
from pg_architect.safety.index_statement import CreateIndex, read_statement, same_predicate, with_types
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree
from pg_architect.safety.predicate_constants import server_form, type_of_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """An index by the numbers of its columns; ``statement`` has its predicate as the server prints it."""

    statement: CreateIndex
    keys: Sequence[Row]
    included: Sequence[Row]


def makes(db: Database, statement: str, objects: Mapping[str, Any], index_oid: int) -> bool:
    """Whether an index is what this CREATE INDEX made of these ``objects``, whatever they are called by now."""
    read = read_statement(parse.parse_one(statement))
    if not isinstance(read, CreateIndex):
        return False
    columns = {row["number"]: row for row in db.query(sql.COLUMNS, objects["relation_oid"])}
    try:
        keys, included = ([columns[one["attnum"]] for one in objects[part]] for part in ("columns", "included"))
        named = {one["name"]: columns[one["attnum"]] for one in objects["predicate"]}
        predicate = tuple(
            server_form(db, replace(condition, column=named[condition.column]["name"]), named[condition.column])
            for condition in read.predicate
        )
    except (KeyError, Refused):  # a column was dropped, or has another type
        return False
    wanted = Wanted(replace(read, predicate=predicate), keys, included)
    indexes = db.query(sql.INDEXES, objects["relation_oid"])
    return any(index["oid"] == index_oid and is_same(index, wanted) for index in indexes)


def look_up(
    db: Database, tree: Tree, read: CreateIndex, relation_oid: int, table: Row, objects: dict[str, Any]
) -> Wanted:
    """Look up the columns; ``objects`` gets what their names mean, the text constants of ``tree`` their types."""
    columns = {row["name"]: row for row in db.query(sql.COLUMNS, relation_oid)}
    keys = [_key_column(columns, key.column, table["display"]) for key in read.keys]
    included = [_column(columns, name, table["display"]) for name in read.included]
    predicate = tuple(
        server_form(db, condition, _column(columns, condition.column, table["display"])) for condition in read.predicate
    )
    with_types(tree.whereClause, {c.column: type_of_text(columns[c.column]) for c in read.predicate})
    objects |= {
        "index_name": read.name,
        "columns": [
            {
                "name": key.column,
                "attnum": row["number"],
                "type_oid": row["type_oid"],
                "opclass_oid": row["opclass_oid"],
            }
            for key, row in zip(read.keys, keys, strict=True)
        ],
        "included": [
            {"name": name, "attnum": row["number"]} for name, row in zip(read.included, included, strict=True)
        ],
        "predicate": [
            {"name": name, "attnum": columns[name]["number"], "type_oid": columns[name]["type_oid"]}
            for name in sorted({condition.column for condition in read.predicate})
        ],
    }
    return Wanted(replace(read, predicate=predicate), keys, included)


def _column(columns: Mapping[str, Row], name: str, table: str) -> Row:
    if name not in columns:
        raise Refused("columns", f"{table} has no column {name}")
    if columns[name]["problem"] is not None:
        raise Refused("columns", columns[name]["problem"])
    return columns[name]


def _key_column(columns: Mapping[str, Row], name: str, table: str) -> Row:
    row = _column(columns, name, table)
    if row["opclass_oid"] is None:
        raise Refused("columns", f"column {name} of type {row['type']} has no built-in order for a B-tree")
    return row


def is_same(index: Row, wanted: Wanted) -> bool:
    """Whether an index of the table (a row of INDEXES) is the wanted one, whatever else it guards."""
    return (
        index["plain_btree"]
        and list(index["keys"]) == [row["number"] for row in wanted.keys]
        and list(index["options"]) == [key.option for key in wanted.statement.keys]
        and list(index["opclasses"]) == [row["opclass_oid"] for row in wanted.keys]
        and sorted(index["included"]) == sorted(row["number"] for row in wanted.included)
        and same_predicate(wanted.statement.predicate, index["predicate"])
    )
