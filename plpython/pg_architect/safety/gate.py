"""The gate: a verdict on every generated statement, refusal by default.

It understands two statements, CREATE INDEX CONCURRENTLY on plain columns of an ordinary table and DROP INDEX
CONCURRENTLY of an index that pg_architect built. What is executed later is ``apply_sql``, the text deparsed from the
tree that was judged, under ``search_path = pg_catalog, pg_temp``; ``objects`` holds what its names meant when it was
judged, to be compared before it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import NAME_BYTES
from pg_architect.safety import gate_queries as sql
from pg_architect.safety import parse
from pg_architect.safety.catalogue import OWN_SCHEMA, SYSTEM_SCHEMAS, Catalogue
from pg_architect.safety.index_statement import (
    CreateIndex,
    DropIndex,
    Refused,
    read_statement,
    same_predicate,
    with_types,
)
from pg_architect.safety.parse import Tree
from pg_architect.safety.predicate_constants import server_form, type_of_text

# Goes up whenever the same statement may get another verdict: approvals are bound to it.
GATE_VERSION = "1"

LOCK = "ShareUpdateExclusiveLock"


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule, what it says about this statement, and the facts."""

    rule: str
    detail: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's verdict: needs_approval or refuse (``allow`` is for classes of change that earned it; none has).

    ``apply_sql`` and ``revert_sql`` are None, and ``lock`` and what follows say nothing, where it refuses.
    """

    verdict: str
    risk: str
    kind: str
    reasons: tuple[Reason, ...]
    objects: Mapping[str, Any] = field(default_factory=dict)
    apply_sql: str | None = None
    revert_sql: str | None = None
    lock: str | None = None
    blocks_reads: bool = False
    blocks_writes: bool = False
    needs_own_transaction: bool = False

    def to_json(self) -> dict[str, Any]:
        """The whole judgement as JSON data, with the gate's version."""
        return {
            "gate_version": GATE_VERSION,
            "verdict": self.verdict,
            "risk": self.risk,
            "kind": self.kind,
            "reasons": [
                {"rule": reason.rule, "detail": reason.detail, "evidence": dict(reason.evidence)}
                for reason in self.reasons
            ],
            "objects": dict(self.objects),
            "apply_sql": self.apply_sql,
            "revert_sql": self.revert_sql,
            "lock": self.lock,
            "blocks_reads": self.blocks_reads,
            "blocks_writes": self.blocks_writes,
            "needs_own_transaction": self.needs_own_transaction,
        }


def judge(db: Database, statement: str | None) -> Judgement:
    """Judge one statement. Never raises for what it says; an error of the server passes through."""
    objects: dict[str, Any] = {}
    kind = "other"
    try:
        tree = _parse(statement)
        kind = _kind(tree)
        wanted = read_statement(tree)
        if isinstance(wanted, CreateIndex):
            return _judge_create(db, tree, wanted, objects)
        return _judge_drop(db, tree, wanted, objects)
    except Refused as exc:
        return Judgement("refuse", "high", kind, (Reason(exc.rule, exc.detail, exc.evidence),), objects)


def judge_rows(db: Database, statement: str | None) -> list[Row]:
    """The rows of ``architect.judge_statement``: always one."""
    row = judge(db, statement).to_json()
    del row["gate_version"]
    return [{**row, "objects": json.dumps(row["objects"]), "reasons": json.dumps(row["reasons"])}]


def _parse(statement: str | None) -> Tree:
    if statement is None:
        raise Refused("one statement", "there is no statement")
    try:
        tree = parse.parse_one(statement)
        for token in parse.tokens(statement):
            # The parser cuts longer names off, so that two different ones could become the same.
            if token.name == "IDENT" and len(token.text.strip('"').replace('""', '"').encode()) > NAME_BYTES:
                raise Refused("names", f"name {token.text} is longer than {NAME_BYTES} bytes")
            if token.name == "UIDENT":
                raise Refused("names", f"name {token.text} is written with Unicode escapes: write it plainly")
    except ArchitectError as exc:
        raise Refused("one statement", exc.message) from exc
    return tree


def _kind(tree: Tree) -> str:
    if parse.kind_of(tree) == "IndexStmt":
        return "create_index_concurrently" if tree.concurrent else "create_index"
    if parse.kind_of(tree) == "DropStmt" and tree.removeType.name == "OBJECT_INDEX":
        return "drop_index_concurrently" if tree.concurrent else "drop_index"
    return "other"


def _deparse(tree: Tree) -> str:
    try:
        return parse.deparse(tree)
    except ArchitectError as exc:
        raise Refused("written back", exc.message) from exc


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An index by the numbers of its columns; ``statement`` has its predicate as the server prints it."""

    statement: CreateIndex
    keys: Sequence[Row]
    included: Sequence[Row]


def makes(db: Database, statement: str, objects: Mapping[str, Any], index_oid: int) -> bool:
    """Whether an index is what this CREATE INDEX made of these ``objects``, whatever they are called by now."""
    read = read_statement(_parse(statement))
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
    wanted = _Wanted(replace(read, predicate=predicate), keys, included)
    indexes = db.query(sql.INDEXES, objects["relation_oid"])
    return any(index["oid"] == index_oid and _is_same(index, wanted) for index in indexes)


def _look_up(
    db: Database, tree: Tree, read: CreateIndex, relation_oid: int, table: Row, objects: dict[str, Any]
) -> _Wanted:
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
    return _Wanted(replace(read, predicate=predicate), keys, included)


def _judge_create(db: Database, tree: Tree, read: CreateIndex, objects: dict[str, Any]) -> Judgement:
    oid, taken_for = _find(db, read.schema, read.table)
    table = _table(db, oid, objects)
    wanted = _look_up(db, tree, read, oid, table, objects)
    taken = db.query(sql.NAME_TAKEN, table["schema"], read.name)
    if taken:
        raise Refused("index name", f"{table['schema']} already has a relation named {read.name}")
    for index in db.query(sql.INDEXES, oid):
        if _is_same(index, wanted):
            state = "" if index["valid"] else ", which is invalid"
            raise Refused("new index", f"{index['display']}{state} is the same index", index_oid=index["oid"])
    tree.relation.schemaname = table["schema"]
    reasons = (
        Reason(
            "approval",
            f"a new index on {table['display']} takes space and makes every insert dearer: a person decides",
            {"table_bytes": table["bytes"], "estimated_rows": table["rows"], "indexes": table["indexes"]},
        ),
        Reason(
            "lock",
            f"reads and writes of {table['display']} go on during the build; it waits for older transactions",
            {"lock": LOCK},
        ),
        *taken_for,
    )
    index_display = db.query(sql.QUALIFIED, table["schema"], read.name)[0]["display"]
    return Judgement(
        "needs_approval", "low", "create_index_concurrently", reasons, objects, _deparse(tree),
        f"drop index concurrently {index_display}", LOCK, False, False, True,
    )  # fmt: skip


def _find(db: Database, schema: str | None, name: str) -> tuple[int, tuple[Reason, ...]]:
    """The OID of the relation that is meant, and, where the schema was left out, what the name was taken for."""
    catalogue = Catalogue(db)
    asking = catalogue.role(str(db.query("select session_user::text as name")[0]["name"]))
    if asking is None:
        raise Refused("table", "the session's role does not exist any more")
    found = catalogue.find(schema, name, asking)
    if isinstance(found, str):
        raise Refused("table", found)
    if schema is not None:
        return found.oid, ()
    path = f"the search_path that role {asking.name} has by configuration"
    if found.schema in asking.search_path:
        how = f"found by {path}"
    else:
        how = f"the only relation of that name, though {path} does not lead there"
    detail = (
        f"{name} has no schema: it is taken to be {found.schema}.{name}, {how} (a SET of the session is not seen); "
        "what runs is apply_sql, which names the schema"
    )
    evidence = {"schema": found.schema, "search_path": list(asking.search_path)}
    return found.oid, (Reason("schema", detail, evidence),)


def _table(db: Database, oid: int, objects: dict[str, Any]) -> Row:
    """The facts of a table that may be changed; ``objects`` gets its identity. Refused for every other relation."""
    rows = db.query(sql.TABLE, oid)
    if not rows:
        raise Refused("table", f"relation {oid} does not exist")
    row = rows[0]
    name = row["display"]
    objects |= {"relation_oid": oid, "relation_name": name, "relation_owner": row["owner"]}
    if row["schema"] in SYSTEM_SCHEMAS or row["schema"].startswith("pg_toast"):
        raise Refused("user table", f"{name} belongs to the system")
    if row["schema"] == OWN_SCHEMA:
        raise Refused("user table", f"{name} belongs to pg_architect")
    if row["persistence"] == "t":
        raise Refused("ordinary table", f"{name} is temporary")
    if row["kind"] == "p" or row["inherits"]:
        raise Refused("ordinary table", f"{name}: partitioned tables and inheritance are not supported yet")
    if row["kind"] != "r" or not row["heap"]:
        raise Refused("ordinary table", f"{name} is not an ordinary table")
    if row["extension"] is not None:
        raise Refused("user table", f"{name} belongs to the extension {row['extension']}")
    if row["superuser"]:
        raise Refused(
            "owner",
            f"{name} is owned by the superuser {row['owner']}, whose rights the executor cannot be given",
            owner=row["owner"],
        )
    return row


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


def _is_same(index: Row, wanted: _Wanted) -> bool:
    return (
        index["plain_btree"]
        and list(index["keys"]) == [row["number"] for row in wanted.keys]
        and list(index["options"]) == [key.option for key in wanted.statement.keys]
        and list(index["opclasses"]) == [row["opclass_oid"] for row in wanted.keys]
        and sorted(index["included"]) == sorted(row["number"] for row in wanted.included)
        and same_predicate(wanted.statement.predicate, index["predicate"])
    )


def _judge_drop(db: Database, tree: Tree, wanted: DropIndex, objects: dict[str, Any]) -> Judgement:
    rows = db.query(sql.INDEX, wanted.schema, wanted.name)
    if not rows:
        raise Refused("own index", f"index {wanted.schema}.{wanted.name} does not exist")
    index = rows[0]
    if not db.query("select architect._created_by_us($1::oid) as ours", index["oid"])[0]["ours"]:
        raise Refused("own index", f"{index['display']} was not created by pg_architect")
    table = _table(db, index["table_oid"], objects)
    objects |= {"index_oid": index["oid"], "index_name": wanted.name}
    for problem in ("constraint", "unique", "replica_identity", "clustered"):
        if index[problem]:
            raise Refused("plain index", f"{index['display']} is more than an index now: {problem.replace('_', ' ')}")
    reason = Reason(
        "approval",
        f"statements that use {index['display']} become slower, until it is built again",
        {"scans": index["scans"], "index_bytes": index["bytes"]},
    )
    judgement = Judgement(
        "needs_approval", "medium", "drop_index_concurrently", (reason,), objects, _deparse(tree), None,
        LOCK, False, False, True,
    )  # fmt: skip
    return replace(judgement, revert_sql=_rebuild(index["definition"], table["display"]))


def _rebuild(definition: str, table: str) -> str:
    """The statement that builds an index again as it was."""
    try:
        tree = parse.parse_one(definition)
    except ArchitectError as exc:
        raise Refused("reversible", f"the definition of an index of {table} cannot be parsed") from exc
    if parse.kind_of(tree) != "IndexStmt":
        raise Refused("reversible", f"the definition of an index of {table} is not understood")
    tree.concurrent = True
    return _deparse(tree)
