"""What pg_architect executes itself: of what the gate does not refuse, the two statements that it can also measure.

CREATE INDEX CONCURRENTLY on plain columns of an ordinary table and DROP INDEX CONCURRENTLY of an index that it built.
``objects`` holds what the names meant when they were judged, to be compared before the statement runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import executable_queries as sql
from pg_architect.safety import gate, index_identity, parse
from pg_architect.safety.catalogue import OWN_SCHEMA, SYSTEM_SCHEMAS, Catalogue
from pg_architect.safety.index_statement import (
    CreateIndex,
    DropIndex,
    read_statement,
)
from pg_architect.safety.judgement import NEEDS_APPROVAL, REFUSE, Judgement, Reason, Refused, refusal
from pg_architect.safety.locks import SHARE_UPDATE_EXCLUSIVE
from pg_architect.safety.parse import Tree


def judge(db: Database, statement: str | None) -> Judgement:
    """Judge a statement that pg_architect would execute itself: needs_approval or refuse.

    Never raises for what it says; an error of the server passes through.
    """
    judgement = gate.judge(db, statement)
    return judgement if judgement.verdict == REFUSE else judge_form(db, statement, judgement)


def judge_form(db: Database, statement: str | None, judgement: Judgement | None = None) -> Judgement:
    """Whether the statement has one of the two forms; ``judgement`` is what the gate said of it."""
    objects: dict[str, Any] = {}
    kind = "other"
    try:
        tree = gate.to_tree(statement)
        kind = _kind(tree)
        wanted = read_statement(tree)
        if isinstance(wanted, CreateIndex):
            form = _judge_create(db, tree, wanted, objects)
        else:
            form = _judge_drop(db, tree, wanted, objects)
    except Refused as exc:
        return refusal(kind, exc, objects)
    if judgement is None:
        return form
    return replace(
        form,
        reasons=form.reasons + tuple(reason for reason in judgement.reasons if reason.rule != "schema"),
        undo=judgement.undo,
        estimate=judgement.estimate,
    )


def _kind(tree: Tree) -> str:
    if parse.kind_of(tree) == "IndexStmt":
        return "create_index_concurrently" if tree.concurrent else "create_index"
    if parse.kind_of(tree) == "DropStmt" and tree.removeType.name == "OBJECT_INDEX":
        return "drop_index_concurrently" if tree.concurrent else "drop_index"
    return "other"


def _judge_create(db: Database, tree: Tree, read: CreateIndex, objects: dict[str, Any]) -> Judgement:
    oid, taken_for = _find(db, read.schema, read.table)
    table = _table(db, oid, objects)
    wanted = index_identity.look_up(db, tree, read, oid, table, objects)
    taken = db.query(sql.NAME_TAKEN, table["schema"], read.name)
    if taken:
        raise Refused("index name", f"{table['schema']} already has a relation named {read.name}")
    for index in db.query(sql.INDEXES, oid):
        if index_identity.is_same(index, wanted):
            state = "" if index["valid"] else ", which is invalid"
            raise Refused("new index", f"{index['display']}{state} is the same index", index_oid=index["oid"])
    tree.relation.schemaname = table["schema"]
    reasons = (
        Reason(
            "approval",
            f"a new index on {table['display']} takes space and makes every insert dearer: a person decides",
            {"table_bytes": table["bytes"], "estimated_rows": table["rows"], "indexes": table["indexes"]},
            NEEDS_APPROVAL,
        ),
        Reason(
            "lock",
            f"reads and writes of {table['display']} go on during the build; it waits for older transactions",
            {"lock": SHARE_UPDATE_EXCLUSIVE},
        ),
        *taken_for,
    )
    index_display = db.query(sql.QUALIFIED, table["schema"], read.name)[0]["display"]
    return Judgement(
        NEEDS_APPROVAL,
        "low",
        "create_index_concurrently",
        reasons,
        objects,
        gate.to_text(tree),
        f"drop index concurrently {index_display}",
        "exact",
        SHARE_UPDATE_EXCLUSIVE,
        scans=True,
        needs_own_transaction=True,
    )


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
        NEEDS_APPROVAL,
    )
    return Judgement(
        NEEDS_APPROVAL,
        "medium",
        "drop_index_concurrently",
        (reason,),
        objects,
        gate.to_text(tree),
        _rebuild(index["definition"], table["display"]),
        "rebuild",
        SHARE_UPDATE_EXCLUSIVE,
        needs_own_transaction=True,
    )


def _rebuild(definition: str, table: str) -> str:
    """The statement that builds an index again as it was."""
    try:
        tree = parse.parse_one(definition)
    except ArchitectError as exc:
        raise Refused("reversible", f"the definition of an index of {table} cannot be parsed") from exc
    if parse.kind_of(tree) != "IndexStmt":
        raise Refused("reversible", f"the definition of an index of {table} is not understood")
    tree.concurrent = True
    return gate.to_text(tree)
