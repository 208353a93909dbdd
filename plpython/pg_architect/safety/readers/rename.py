"""RENAME and SET SCHEMA of relations, columns, constraints, types, schemas and statistics objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pg_architect.safety import locks
from pg_architect.safety.catalogue import SYSTEM_COLUMNS
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers import sequence, statistics, types
from pg_architect.safety.readers.fields import enum, only, restrict_only
from pg_architect.safety.relation import Relation

Reader: TypeAlias = Callable[[Tree, Context], Sequence[Operation]]

# For each object the kind of its renaming, its words in SQL, and what kinds of relation it may be.
_RELATIONS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "OBJECT_TABLE": ("rename_table", "table", ("r", "p")),
    "OBJECT_INDEX": ("rename_index", "index", ("i", "I")),
    "OBJECT_VIEW": ("rename_view", "view", ("v",)),
    "OBJECT_MATVIEW": ("rename_materialized_view", "materialized view", ("m",)),
    "OBJECT_SEQUENCE": ("rename_sequence", "sequence", ("S",)),
}
_COMMON = ("renameType", "relationType", "newname", "behavior", "missing_ok")


def read(tree: Tree, context: Context) -> Sequence[Operation]:
    """ALTER … RENAME; the way back gives the old name."""
    restrict_only(tree)
    what = enum(tree.renameType)
    if what not in _READERS:
        raise Refused("not-understood", f"rename {what.removeprefix('OBJECT_').lower()} is not understood")
    if not tree.newname:
        raise Refused("names", "a name may not be empty")
    return _READERS[what](tree, context)


def _resolve(tree: Tree, kinds: Sequence[str], context: Context) -> Relation | None:
    """The relation to be renamed; None where it may be missing and is."""
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    if tree.missing_ok and types.relation_missing(tree.relation, context):
        return None
    return context.names.resolve(tree.relation, kinds)


def _nothing(kind: str) -> Sequence[Operation]:
    return [Operation(kind, undo="not_needed", facts={"missing": True})]


def _read_relation(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "relation")
    kind, word, kinds = _RELATIONS[enum(tree.renameType)]
    relation = _resolve(tree, kinds, context)
    if relation is None:
        return _nothing(kind)
    context.names.check_free(relation.schema, tree.newname)
    new = context.names.display(relation.schema, tree.newname)
    revert = f"alter {word} {new} rename to {context.names.display(relation.name)}"
    # An index is renamed while its table is read and written; everything else is locked for all.
    lock = locks.SHARE_UPDATE_EXCLUSIVE if relation.kind in ("i", "I") else locks.ACCESS_EXCLUSIVE
    facts = {"old": relation.display, "new": new}
    return [Operation(kind, relation, lock, revert=(revert,), facts=facts)]


def _read_column(tree: Tree, context: Context) -> Sequence[Operation]:
    """Columns of tables and views, and attributes of composite types."""
    only(tree, *_COMMON, "relation", "subname")
    words: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "OBJECT_TABLE": ("table", ("r", "p")),
        "OBJECT_VIEW": ("view", ("v",)),
        "OBJECT_MATVIEW": ("materialized view", ("m",)),
        "OBJECT_TYPE": ("type", ("c",)),
    }
    is_attribute = enum(tree.renameType) == "OBJECT_ATTRIBUTE"
    if enum(tree.relationType) not in words:
        raise Refused("not-understood", "this column is not understood")
    word, kinds = words[enum(tree.relationType)]
    kind = "rename_attribute" if is_attribute else "rename_column"
    relation = _resolve(tree, kinds, context)
    if relation is None:
        return _nothing(kind)
    _check_family(tree, relation, context)
    columns = relation.columns(context.db)
    if tree.subname not in columns:
        raise Refused("exists", f"{relation.display} has no column {tree.subname}")
    if tree.newname in columns or (tree.newname in SYSTEM_COLUMNS and relation.kind not in ("v", "c")):
        raise Refused("name-taken", f"{relation.display} already has a column {tree.newname}")
    old, new = context.names.display(tree.subname), context.names.display(tree.newname)
    part = "attribute" if is_attribute else "column"
    revert = f"alter {word} {relation.display} rename {part} {new} to {old}"
    facts = {"column": tree.subname, "new": tree.newname}
    operation = Operation(kind, relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts=facts)
    return [context.with_partitions(operation)]


def _check_family(tree: Tree, relation: Relation, context: Context) -> None:
    """Columns have one name in a table and in all that take them from it."""
    if relation.kind == "c":
        if found := context.db.query(sql.IS_COMPOSITE_IN_TABLE, _row_type(relation, context)):
            raise Refused("certain-to-fail", f"{found[0]['display']} is a table of this type")
        return
    if relation.row["is_partition"]:
        raise Refused("certain-to-fail", f"{relation.display} is a partition: rename it in the partitioned table")
    if relation.row["is_child"] or (relation.kind == "r" and relation.row["has_children"]):
        raise Refused("object-kind", f"{relation.display} inherits or is inherited from, which is not supported yet")
    if relation.row["has_children"] and not tree.relation.inh:
        raise Refused("certain-to-fail", f"{relation.display} has partitions, where it must be renamed, too")


def _row_type(relation: Relation, context: Context) -> int:
    rows = context.db.query(sql.TYPE, relation.name, relation.schema)
    return int(rows[0]["oid"])


def _read_constraint(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "relation", "subname")
    relation = _resolve(tree, ("r", "p"), context)
    if relation is None:
        return _nothing("rename_constraint")
    _check_children(tree, relation)
    found = relation.constraints(context.db)
    if tree.subname not in found or found[tree.subname]["type"] not in ("c", "f", "p", "u", "x", "n"):
        raise Refused("exists", f"{relation.display} has no constraint {tree.subname}")
    if tree.newname in found:
        raise Refused("name-taken", f"{relation.display} already has a constraint {tree.newname}")
    row = found[tree.subname]
    if row["inherited"]:
        raise Refused("certain-to-fail", f"constraint {tree.subname} is a parent's: rename it there")
    if row["index_oid"] and row["type"] != "f":
        # Its index has its name and gets the new one.
        context.names.check_free(relation.schema, tree.newname)
    old, new = context.names.display(tree.subname), context.names.display(tree.newname)
    revert = f"alter table {relation.display} rename constraint {new} to {old}"
    facts = {"constraint": tree.subname, "new": tree.newname, "type": row["type"]}
    return [Operation("rename_constraint", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts=facts)]


def _check_children(tree: Tree, relation: Relation) -> None:
    if relation.row["has_children"] and not tree.relation.inh:
        raise Refused("certain-to-fail", f"{relation.display} has children, where it must be renamed, too")


def _read_type(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "object")
    is_domain = enum(tree.renameType) == "OBJECT_DOMAIN"
    kinds = (types.DOMAIN,) if is_domain else (types.ENUM, types.DOMAIN, types.COMPOSITE, types.RANGE)
    row = types.find(tree.object, context, kinds)
    tree.object = types.strings(row["schema"], row["name"])
    context.names.check_free(row["schema"], tree.newname)
    word, new = "domain" if is_domain else "type", context.names.display(row["schema"], tree.newname)
    revert = f"alter {word} {new} rename to {context.names.display(row['name'])}"
    facts = {"old": row["display"], "new": new, "objects": {"types": {row["display"]: row["oid"]}}}
    kind = "rename_domain" if row["kind"] == types.DOMAIN else "rename_type"
    return [Operation(kind, revert=(revert,), facts=facts)]


def _read_domain_constraint(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "object", "subname")
    row = types.find(tree.object, context, (types.DOMAIN,))
    tree.object = types.strings(row["schema"], row["name"])
    found = {one["name"] for one in context.db.query(sql.DOMAIN_CONSTRAINTS, row["oid"])}
    if tree.subname not in found:
        raise Refused("exists", f"{row['display']} has no constraint {tree.subname}")
    if tree.newname in found:
        raise Refused("name-taken", f"{row['display']} already has a constraint {tree.newname}")
    old, new = context.names.display(tree.subname), context.names.display(tree.newname)
    revert = f"alter domain {row['display']} rename constraint {new} to {old}"
    facts = {"constraint": tree.subname, "new": tree.newname, "objects": {"types": {row["display"]: row["oid"]}}}
    return [Operation("rename_domain_constraint", revert=(revert,), facts=facts)]


def _read_schema(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "subname")
    row = sequence.find_schema(tree.subname, context)
    new = sequence.check_new_schema(tree.newname, context)
    facts = {"old": row["display"], "new": new, "objects": {"schemas": {row["display"]: row["oid"]}}}
    return [Operation("rename_schema", revert=(f"alter schema {new} rename to {row['display']}",), facts=facts)]


def _read_statistics(tree: Tree, context: Context) -> Sequence[Operation]:
    only(tree, *_COMMON, "object")
    row, relation = statistics.find(tree.object, context)
    tree.object = types.strings(row["schema"], row["name"])
    statistics.check_free(row["schema"], tree.newname, context)
    new = context.names.display(row["schema"], tree.newname)
    revert = f"alter statistics {new} rename to {context.names.display(row['name'])}"
    facts = {"old": row["display"], "new": new, "objects": {"statistics": {row["display"]: row["oid"]}}}
    return [Operation("rename_statistics", relation, revert=(revert,), facts=facts)]


def read_set_schema(tree: Tree, context: Context) -> Sequence[Operation]:
    """ALTER … SET SCHEMA, which takes along indexes and sequences that belong to a table."""
    what = enum(tree.objectType)
    if what in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
        return [_move_type(tree, what == "OBJECT_DOMAIN", context)]
    if what not in _RELATIONS or what == "OBJECT_INDEX":
        raise Refused("not-understood", f"set schema of {what.removeprefix('OBJECT_').lower()} is not understood")
    only(tree, "objectType", "relation", "newschema", "missing_ok")
    _, word, kinds = _RELATIONS[what]
    relation = _resolve(tree, kinds, context)
    if relation is None:
        return _nothing("set_schema")
    schema = context.names.check_schema(tree.newschema)
    facts = {"object": relation.display, "schema": schema}
    if schema == relation.schema:
        return [Operation("set_schema", relation, locks.ACCESS_EXCLUSIVE, undo="not_needed", facts=facts)]
    if what == "OBJECT_SEQUENCE" and context.db.query(sql.SEQUENCE, relation.oid)[0]["owned_by"] is not None:
        raise Refused("certain-to-fail", f"{relation.display} is owned by a column and moves with its table only")
    for name in (relation.name, *(row["name"] for row in context.db.query(sql.MOVED_ALONG, relation.oid))):
        context.names.check_free(schema, name)
    old, new = context.names.display(relation.schema), context.names.display(schema, relation.name)
    revert = f"alter {word} {new} set schema {old}"
    return [Operation("set_schema", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts=facts)]


def _move_type(tree: Tree, is_domain: bool, context: Context) -> Operation:
    only(tree, "objectType", "object", "newschema")
    kinds = (types.DOMAIN,) if is_domain else (types.ENUM, types.DOMAIN, types.COMPOSITE, types.RANGE)
    row = types.find(tree.object, context, kinds)
    tree.object = types.strings(row["schema"], row["name"])
    schema = context.names.check_schema(tree.newschema)
    facts = {"object": row["display"], "schema": schema, "objects": {"types": {row["display"]: row["oid"]}}}
    if schema == row["schema"]:
        return Operation("set_schema", undo="not_needed", facts=facts)
    context.names.check_free(schema, row["name"])
    old, new = context.names.display(row["schema"]), context.names.display(schema, row["name"])
    revert = f"alter {'domain' if is_domain else 'type'} {new} set schema {old}"
    return Operation("set_schema", revert=(revert,), facts=facts)


_READERS: Mapping[str, Reader] = {
    **dict.fromkeys(_RELATIONS, _read_relation),
    "OBJECT_COLUMN": _read_column,
    "OBJECT_ATTRIBUTE": _read_column,
    "OBJECT_TABCONSTRAINT": _read_constraint,
    "OBJECT_DOMCONSTRAINT": _read_domain_constraint,
    "OBJECT_TYPE": _read_type,
    "OBJECT_DOMAIN": _read_type,
    "OBJECT_SCHEMA": _read_schema,
    "OBJECT_STATISTIC_EXT": _read_statistics,
}
