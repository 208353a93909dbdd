"""CREATE INDEX and DROP INDEX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pg_architect.core.db import Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import executable_queries as identity_sql
from pg_architect.safety import index_identity, locks, parse, volatility
from pg_architect.safety import index_queries as sql
from pg_architect.safety import relation_queries as relation_sql
from pg_architect.safety.context import Context
from pg_architect.safety.index_statement import CreateIndex, read_statement
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, BUILD, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import certain_constraints, create_queries, if_not_exists, index_names
from pg_architect.safety.readers.certain import check_fillfactor
from pg_architect.safety.readers.fields import only, options, value_text
from pg_architect.safety.relation import Relation

ACCESS_METHODS = frozenset({"btree", "hash", "gin", "gist", "spgist", "brin"})
_OPTIONS = frozenset(
    [
        "fillfactor",
        "deduplicate_items",
        "buffering",
        "fastupdate",
        "gin_pending_list_limit",
        "pages_per_range",
        "autosummarize",
    ]
)
_KNOWN = [
    "idxname",
    "relation",
    "accessMethod",
    "indexParams",
    "indexIncludingParams",
    "options",
    "whereClause",
    "unique",
    "nulls_not_distinct",
    "concurrent",
    "if_not_exists",
    "tableSpace",
]


def read_create(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE [UNIQUE] INDEX [CONCURRENTLY] on a table, a partition or a materialized view."""
    only(tree, *_KNOWN)
    if tree.tableSpace not in (None, "pg_default"):
        raise Refused("not-understood", "a tablespace of its own is not supported yet")
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    is_only = not tree.relation.inh
    relation = context.names.resolve(tree.relation, ("r", "p", "m"))
    columns = context.columns(relation)
    if tree.accessMethod not in ACCESS_METHODS:
        raise Refused("foreign-code", f"access method {tree.accessMethod} is not built in")
    keys = [_read_key(item, tree.accessMethod, columns, context, relation) for item in tree.indexParams]
    for item in tree.indexIncludingParams or ():
        only(item, "name", "ordering", "nulls_ordering")
        _column(item.name, columns, relation)
    problems = {name: row["problem"] for name, row in columns.items()}
    if not context.expressions.prove(tree.whereClause, problems, "the predicate").immutable:
        raise Refused("certain-to-fail", "an index predicate must be immutable")
    types = {name: row["type_oid"] for name, row in columns.items()}
    volatility.check_immutable(context.db, tree.whereClause, types, "an index predicate")
    check_fillfactor(tree.options, tree.accessMethod)
    for name, value in options(tree.options).items():
        if name not in _OPTIONS:
            raise Refused("not-understood", f"storage parameter {name} is not understood")
        value_text(value)
    kind = "create_index_concurrently" if tree.concurrent else "create_index"
    if tree.if_not_exists and (taken := context.db.query(sql.RELATION_NAMED, relation.schema, tree.idxname)):
        return [_existing(kind, taken[0], tree, relation, context)]
    name = _name(tree, relation, context)
    named = _check_not_there(tree, relation, context)
    if tree.unique:
        names = [item.name for item in tree.indexParams if item.name]
        certain_constraints.check_partition_key(names, relation, context)
    partitioned = relation.kind == "p"
    facts: dict[str, Any] = {
        "unique": bool(tree.unique),
        "keys": len(keys) + len(tree.indexIncludingParams or ()),
        "only": is_only and partitioned,
        "objects": {"index_name": tree.idxname, "columns": [key for key in keys if key], **named},
    }
    if tree.concurrent and partitioned:
        raise Refused(
            "concurrent-partitioned",
            f"{relation.display} is partitioned, where the server builds no index concurrently: create it on only the "
            "parent, then concurrently on each partition, and attach those",
        )
    drop = "drop index concurrently" if not partitioned else "drop index"
    operation = Operation(
        kind,
        relation,
        locks.SHARE_UPDATE_EXCLUSIVE if tree.concurrent else locks.SHARE,
        work=BRIEF if is_only and partitioned else BUILD,
        own_transaction=bool(tree.concurrent),
        revert=(f"{drop} {name}",),
        safer=() if tree.concurrent or partitioned else (_concurrently(tree),),
        facts=facts,
    )
    return [operation if is_only else context.with_partitions(operation)]


def _existing(kind: str, taken: Row, tree: Tree, relation: Relation, context: Context) -> Operation:
    """IF NOT EXISTS where the name is taken: nothing is done, not even for an invalid index or another table's."""
    if taken["table_oid"] != relation.oid or not taken["valid"]:
        raise Refused(
            "if-not-exists-hides", f"if not exists would report success, but {taken['display']} is another or invalid"
        )

    def is_same(oid: int) -> bool | None:
        try:
            wanted = _plain(tree, relation, context, {})
            indexes = context.db.query(identity_sql.INDEXES, relation.oid)
        except Refused:
            return None
        return any(index["oid"] == oid and index_identity.is_same(index, wanted) for index in indexes)

    if_not_exists.check_index(tree, relation, context, is_same)
    lock = locks.SHARE_UPDATE_EXCLUSIVE if kind == "create_index_concurrently" else locks.SHARE
    return Operation(kind, relation, lock, own_transaction=lock != locks.SHARE, undo="not_needed")


def _read_key(
    item: Tree, method: str, columns: Mapping[str, Row], context: Context, relation: Relation
) -> dict[str, Any] | None:
    """What a plain column and its operator class are; None for an expression, once it is proved."""
    only(item, "name", "expr", "collation", "opclass", "ordering", "nulls_ordering")
    context.expressions.prove_collation(item.collation, "the index")
    opclass = _operator_class(item.opclass, method, context)
    if item.expr is not None:
        problems = {name: row["problem"] for name, row in columns.items()}
        proved = context.expressions.prove(item.expr, problems, "the index expression")
        if proved.volatile or not proved.immutable:
            raise Refused("certain-to-fail", "an index expression must be immutable")
        types = {name: row["type_oid"] for name, row in columns.items()}
        volatility.check_immutable(context.db, item.expr, types, "an index expression")
        if opclass is None and (added := context.db.query(create_queries.ADDED_OPCLASS, method)):
            raise Refused(
                "foreign-code", f"the expression may get the operator class {added[0]['name']}: name a built-in one"
            )
        return None
    row = _column(item.name, columns, relation)
    if opclass is None:
        found = context.db.query(sql.DEFAULT_OPCLASS, row["type_oid"], method)
        if not found:
            raise Refused(
                "exists", f"column {item.name} of type {row['type']} has no built-in operator class for {method}"
            )
        opclass = found[0]["oid"]
    return {"name": item.name, "attnum": row["number"], "type_oid": row["type_oid"], "opclass_oid": opclass}


def _column(name: str, columns: Mapping[str, Row], relation: Relation) -> Row:
    if name not in columns:
        raise Refused("exists", f"{relation.display} has no column {name}")
    if columns[name]["problem"] is not None:
        raise Refused("foreign-code", columns[name]["problem"])
    return columns[name]


def _operator_class(names: tuple[Tree, ...] | None, method: str, context: Context) -> int | None:
    parts = parse.strings(names) if names else None
    if parts is None:
        return None
    if len(parts) > 2 or (len(parts) == 2 and parts[0] != "pg_catalog"):
        raise Refused("foreign-code", f"operator class {'.'.join(parts)} is not built in")
    found = context.db.query(sql.OPCLASS, parts[-1], method)
    if not found:
        raise Refused("foreign-code", f"operator class {parts[-1]} of {method} is not built in")
    return int(found[0]["oid"])


def _name(tree: Tree, relation: Relation, context: Context) -> str:
    """The displayed name of the new index, which the tree gets if the statement leaves it to the server."""
    if not tree.idxname:
        items = (*tree.indexParams, *(tree.indexIncludingParams or ()))
        tree.idxname = index_names.choose(relation.name, relation.schema, items, context)
    elif context.db.query(sql.RELATION_NAMED, relation.schema, tree.idxname):
        raise Refused("name-taken", f"{relation.schema} already has a relation named {tree.idxname}")
    return context.names.display(relation.schema, tree.idxname)


def _check_not_there(tree: Tree, relation: Relation, context: Context) -> dict[str, Any]:
    """Refused where the table has the same index already; what the names of a plain index mean, else nothing."""
    objects: dict[str, Any] = {}
    try:
        wanted = _plain(tree, relation, context, objects)
    except Refused:
        return _check_text_not_there(tree, relation, context)
    for index in context.db.query(identity_sql.INDEXES, relation.oid):
        if index_identity.is_same(index, wanted) and not tree.unique:
            raise _duplicate(index)
    return objects


def _plain(tree: Tree, relation: Relation, context: Context, objects: dict[str, Any]) -> index_identity.Wanted:
    """The index by the numbers of its columns; Refused where it has expressions and the like."""
    plain = parse.parse_one(parse.deparse(tree))
    plain.concurrent, plain.unique, plain.if_not_exists, plain.options = True, False, False, None
    read = read_statement(plain)
    if not isinstance(read, CreateIndex):
        raise Refused("not-understood", "no index is created")
    table = {"display": relation.display}
    wanted = index_identity.look_up(context.db, plain, read, relation.oid, table, objects)
    tree.whereClause = plain.whereClause  # its constants have their types now
    return wanted


def _check_text_not_there(tree: Tree, relation: Relation, context: Context) -> dict[str, Any]:
    columns = context.columns(relation)
    numbers = [
        columns[item.name]["number"] if item.name else 0
        for item in (*tree.indexParams, *(tree.indexIncludingParams or ()))
    ]
    partial, wanted = tree.whereClause is not None, _shape(parse.deparse(tree))
    for index in relation.indexes(context.db):
        if (index["method"], index["columns"], index["is_partial"]) != (tree.accessMethod, numbers, partial):
            continue
        if _shape(context.db.query(relation_sql.INDEX_TEXT, index["oid"])[0]["text"]) == wanted:
            raise _duplicate(index)
    return {}


def _duplicate(index: Row) -> Refused:
    state = "" if index["valid"] else ", which is invalid"
    return Refused("duplicate-index", f"{index['display']}{state} is the same index", index_oid=index["oid"])


def _shape(definition: str) -> str | None:
    """An index definition without its name and the way it is built; None where it cannot be read."""
    try:
        tree = parse.parse_one(definition)
    except ArchitectError:
        return None
    tree.idxname, tree.concurrent, tree.if_not_exists = None, False, False
    return parse.deparse(tree)


def _concurrently(tree: Tree) -> str:
    again = parse.parse_one(parse.deparse(tree))
    again.concurrent = True
    return parse.deparse(again)
