"""DROP of what holds no code: indexes, tables, views, sequences, types, statistics objects and schemas. No CASCADE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pg_architect.core.db import Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import locks, parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers import sequence, statistics, types
from pg_architect.safety.readers.fields import enum, only, restrict_only
from pg_architect.safety.readers.partition import default_partition
from pg_architect.safety.relation import Relation

Reader: TypeAlias = Callable[[Tree, Context], Sequence[Operation]]

_RELATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "OBJECT_TABLE": ("drop_table", ("r", "p")),
    "OBJECT_VIEW": ("drop_view", ("v",)),
    "OBJECT_MATVIEW": ("drop_materialized_view", ("m",)),
    "OBJECT_SEQUENCE": ("drop_sequence", ("S",)),
}


def read(tree: Tree, context: Context) -> Sequence[Operation]:
    """DROP with RESTRICT: each object is one operation."""
    only(tree, "objects", "removeType", "behavior", "missing_ok", "concurrent")
    restrict_only(tree)
    what = enum(tree.removeType)
    if what not in _READERS:
        raise Refused("not-understood", f"drop {what.removeprefix('OBJECT_').lower()} is not understood")
    operations = _READERS[what](tree, context)
    # All of them were there to be dropped if exists, and none is.
    if operations:
        return operations
    kind, alone = _missing_kind(tree, what), bool(tree.concurrent)
    return [Operation(kind, own_transaction=alone, undo="not_needed", facts={"missing": True})]


def _missing_kind(tree: Tree, what: str) -> str:
    kinds = {"OBJECT_STATISTIC_EXT": "drop_statistics", **{name: kind for name, (kind, _) in _RELATIONS.items()}}
    kind = kinds.get(what, f"drop_{what.removeprefix('OBJECT_').lower()}")
    return f"{kind}_concurrently" if tree.concurrent else kind


def _present(tree: Tree, kinds: Sequence[str], context: Context) -> list[Relation]:
    """The relations that are named, which get their schemas written out; without those that may be missing and are."""
    found = []
    written = []
    for names in tree.objects:
        if tree.missing_ok and types.relation_missing(types.range_var(names), context):
            written.append(names)
            continue
        relation, names = types.resolve(names, kinds, context)
        found.append(relation)
        written.append(names)
    tree.objects = tuple(written)
    return found


def _check_droppable(table: str, oids: Sequence[int], context: Context, what: str) -> None:
    """Refused where something stays that needs one of the objects, or one is a part of something."""
    for oid in oids:
        if whole := context.db.query(sql.WHOLE, table, oid):
            raise Refused("certain-to-fail", f"{what} is a part of {whole[0]['object']}")
    rows = context.db.query(sql.DEPENDENTS, table, list(oids))
    if rows:
        objects = [row["object"] for row in rows]
        more = f" and {len(objects) - 3} more" if len(objects) > 3 else ""
        raise Refused("certain-to-fail", f"{what} is needed by {', '.join(objects[:3])}{more}", dependents=objects[:20])


def _read_relations(tree: Tree, context: Context) -> Sequence[Operation]:
    kind, kinds = _RELATIONS[enum(tree.removeType)]
    relations = _present(tree, kinds, context)
    names = ", ".join(relation.display for relation in relations)
    _check_droppable("pg_catalog.pg_class", [relation.oid for relation in relations], context, names)
    operations = [_drop_relation(kind, relation, context) for relation in relations]
    if kind == "drop_view" and len(operations) > 1:
        # One may read another, and nothing here says which to make first.
        return [replace(operation, undo="none", revert=()) for operation in operations]
    return operations


def _drop_relation(kind: str, relation: Relation, context: Context) -> Operation:
    others: dict[str, str] = {}
    facts: dict[str, object] = {"name": relation.display}
    revert: tuple[str, ...] = ()
    if kind == "drop_table":
        leaves = [context.names.of(row["oid"]) for row in context.db.query(sql.LEAVES, relation.oid)]
        for row in context.db.query(sql.PARENT, relation.oid):
            parent = context.names.of(row["oid"])
            locked = (parent, default_partition(parent, context))
            others |= {one.display: locks.ACCESS_EXCLUSIVE for one in locked if one is not None}
        others |= {leaf.display: locks.ACCESS_EXCLUSIVE for leaf in leaves}
        for key in relation.constraints(context.db).values():
            if key["type"] == "f" and key["referenced_oid"] != relation.oid:
                others[context.names.of(key["referenced_oid"]).display] = locks.ACCESS_EXCLUSIVE
        # A partitioned table holds no rows itself, and its partitions go with it.
        facts |= {
            "empty": all(leaf.is_empty for leaf in leaves) if relation.kind == "p" else relation.is_empty,
            "rows": sum(leaf.rows for leaf in leaves) if relation.kind == "p" else relation.rows,
            "partitions": [leaf.display for leaf in leaves],
        }
    elif kind == "drop_materialized_view":
        facts["empty"] = relation.is_empty
    elif kind == "drop_view":
        row = context.db.query(sql.VIEW, relation.oid)[0]
        if row["is_plain"]:
            revert = (f"create view {relation.display} as {str(row['definition']).strip().rstrip(';')}",)
    elif kind == "drop_sequence":
        owned = context.db.query(sql.SEQUENCE, relation.oid)[0]["owned_by"]
        facts["owned_by"] = owned
    undo = "exact" if revert else "none"
    return Operation(kind, relation, locks.ACCESS_EXCLUSIVE, others, undo=undo, revert=revert, facts=facts)


def _read_index(tree: Tree, context: Context) -> Sequence[Operation]:
    """DROP INDEX of one index."""
    if len(tree.objects) != 1:
        raise Refused("not-understood", "drop one index at a time")
    found = _present(tree, ("i", "I"), context)
    if not found:
        return []
    (index,) = found
    row = context.db.query(sql.INDEX, index.oid)[0]
    table = context.names.of(row["table_oid"])
    if row["constraint"] is not None:
        raise Refused("certain-to-fail", f"constraint {row['constraint']} of {table.display} needs {index.display}")
    if tree.concurrent and index.kind == "I":
        raise Refused("certain-to-fail", f"{index.display} is partitioned: the server does not drop it concurrently")
    _check_droppable("pg_catalog.pg_class", [index.oid], context, index.display)
    lock = locks.SHARE_UPDATE_EXCLUSIVE if tree.concurrent else locks.ACCESS_EXCLUSIVE
    others = {index.display: lock}
    for leaf in context.db.query(sql.LEAVES, index.oid):
        others[context.names.of(leaf["oid"]).display] = lock
    revert = _rebuild(index, table, row, context)
    return [
        Operation(
            "drop_index_concurrently" if tree.concurrent else "drop_index",
            table,
            lock,
            others,
            own_transaction=bool(tree.concurrent),
            undo="rebuild" if revert else "none",
            revert=revert,
            safer=() if tree.concurrent or index.kind == "I" else (f"drop index concurrently {index.display}",),
            facts=_index_facts(index, row),
        )
    ]


def _index_facts(index: Relation, row: Row) -> dict[str, Any]:
    return {
        "index": index.display,
        "unique": row["is_unique"],
        "replica_identity": row["is_replica_identity"],
        "clustered": row["is_clustered"],
        "valid": row["valid"],
        "scans": row["scans"],
        "index_bytes": row["bytes"],
        "objects": {"index_oid": index.oid, "index_name": index.name},
    }


def _rebuild(index: Relation, table: Relation, row: Row, context: Context) -> tuple[str, ...]:
    """The statements that build an index again as it was, and mark it as it was marked."""
    try:
        tree = parse.parse_one(row["definition"])
        if parse.kind_of(tree) != "IndexStmt":
            return ()
        tree.concurrent = index.kind == "i" and table.kind != "p"
        tree.relation.inh = True
        statements = [parse.deparse(tree)]
    except ArchitectError:
        return ()
    name = context.names.display(index.name)
    if row["is_clustered"]:
        statements.append(f"alter table {table.display} cluster on {name}")
    if row["is_replica_identity"]:
        statements.append(f"alter table {table.display} replica identity using index {name}")
    if index.row["comment"] is not None:
        literal = context.db.query(sql.LITERAL, index.row["comment"])[0]["literal"]
        statements.append(f"comment on index {index.display} is {literal}")
    return tuple(statements)


def _read_types(tree: Tree, context: Context) -> Sequence[Operation]:
    """DROP TYPE and DROP DOMAIN."""
    is_domain = enum(tree.removeType) == "OBJECT_DOMAIN"
    kinds = (types.DOMAIN,) if is_domain else (types.ENUM, types.DOMAIN, types.COMPOSITE, types.RANGE)
    rows = []
    for node in tree.objects:
        types.check_bare(node)
        if not (tree.missing_ok and types.missing(node.names, context)):
            rows.append(types.find_node(node, context, kinds))
    names = ", ".join(row["display"] for row in rows)
    _check_droppable("pg_catalog.pg_type", [row["oid"] for row in rows], context, names)
    objects = {"types": {row["display"]: row["oid"] for row in rows}}
    return [
        Operation(
            "drop_domain" if row["kind"] == types.DOMAIN else "drop_type",
            undo="none",
            facts={"name": row["display"], "objects": objects},
        )
        for row in rows
    ]


def _read_statistics(tree: Tree, context: Context) -> Sequence[Operation]:
    """DROP STATISTICS; what was gathered is gathered again by the next ANALYZE."""
    operations = []
    written = []
    objects: dict[str, int] = {}
    for names in tree.objects:
        if tree.missing_ok and statistics.missing(names, context):
            written.append(names)
            continue
        row, relation = statistics.find(names, context)
        written.append(types.strings(row["schema"], row["name"]))
        objects[row["display"]] = row["oid"]
        revert = [str(row["definition"])]
        if row["target"] != -1:
            revert.append(f"alter statistics {row['display']} set statistics {row['target']}")
        if row["comment"] is not None:
            literal = context.db.query(sql.LITERAL, row["comment"])[0]["literal"]
            revert.append(f"comment on statistics {row['display']} is {literal}")
        facts = {"name": row["display"], "objects": {"statistics": objects}}
        operations.append(
            Operation(
                "drop_statistics", relation, locks.SHARE_UPDATE_EXCLUSIVE, undo="rebuild", revert=tuple(revert),
                facts=facts,
            )
        )  # fmt: skip
    tree.objects = tuple(written)
    return operations


def _read_schemas(tree: Tree, context: Context) -> Sequence[Operation]:
    """DROP SCHEMA of empty ones."""
    rows = [
        sequence.find_schema(node.sval, context)
        for node in tree.objects
        if not (tree.missing_ok and sequence.schema_missing(node.sval, context))
    ]
    names = ", ".join(row["display"] for row in rows)
    _check_droppable("pg_catalog.pg_namespace", [row["oid"] for row in rows], context, names)
    objects = {"schemas": {row["display"]: row["oid"] for row in rows}}
    facts = {"objects": objects}
    return [Operation("drop_schema", undo="none", facts={"name": row["display"], **facts}) for row in rows]


_READERS: Mapping[str, Reader] = {
    "OBJECT_INDEX": _read_index,
    "OBJECT_TYPE": _read_types,
    "OBJECT_DOMAIN": _read_types,
    "OBJECT_STATISTIC_EXT": _read_statistics,
    "OBJECT_SCHEMA": _read_schemas,
    **dict.fromkeys(_RELATIONS, _read_relations),
}
