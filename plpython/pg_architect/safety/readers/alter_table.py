"""ALTER TABLE, ALTER INDEX, ALTER VIEW and ALTER MATERIALIZED VIEW: the frame, and one reader per subcommand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from pg_architect.safety import parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import attribute, column, column_type, constraint, new_column, partition, storage
from pg_architect.safety.readers.fields import enum, only
from pg_architect.safety.relation import Relation

Reader: TypeAlias = Callable[[Tree, Relation, Context], Sequence[Operation]]

_KINDS: Mapping[str, tuple[str, ...]] = {
    "OBJECT_TABLE": ("r", "p"),
    "OBJECT_INDEX": ("i", "I"),
    "OBJECT_MATVIEW": ("m",),
    "OBJECT_VIEW": ("v",),
    "OBJECT_TYPE": ("c",),
}
_READERS: Mapping[str, Reader] = {
    "AT_AddColumn": new_column.read,
    "AT_DropColumn": column.read_drop,
    "AT_ColumnDefault": column.read_default,
    "AT_SetNotNull": column.read_set_not_null,
    "AT_DropNotNull": column.read_drop_not_null,
    "AT_DropExpression": column.read_drop_expression,
    "AT_AddIdentity": column.read_add_identity,
    "AT_SetIdentity": column.read_set_identity,
    "AT_DropIdentity": column.read_drop_identity,
    "AT_SetStatistics": column.read_statistics,
    "AT_SetOptions": column.read_options,
    "AT_ResetOptions": column.read_options,
    "AT_SetStorage": column.read_storage,
    "AT_SetCompression": column.read_compression,
    "AT_AlterColumnType": column_type.read,
    "AT_AddConstraint": constraint.read_add,
    "AT_ValidateConstraint": constraint.read_validate,
    "AT_DropConstraint": constraint.read_drop,
    "AT_SetRelOptions": storage.read_options,
    "AT_ResetRelOptions": storage.read_options,
    "AT_ClusterOn": storage.read_cluster_mark,
    "AT_DropCluster": storage.read_cluster_mark,
    "AT_SetLogged": storage.read_persistence,
    "AT_SetUnLogged": storage.read_persistence,
    "AT_ReplicaIdentity": storage.read_replica_identity,
    "AT_AttachPartition": partition.read_attach,
    "AT_DetachPartition": partition.read_detach,
}
_OF_TYPES: Mapping[str, Reader] = {"AT_AddColumn": attribute.read_add, "AT_DropColumn": attribute.read_drop}
_NOT_RECURSING = frozenset({"AT_AttachPartition", "AT_DetachPartition", "AT_ReplicaIdentity"})
# What may be said of relations that are no tables.
_ELSEWHERE: Mapping[str, frozenset[str]] = {
    "OBJECT_INDEX": frozenset({"AT_SetRelOptions", "AT_ResetRelOptions", "AT_AttachPartition", "AT_SetStatistics"}),
    "OBJECT_MATVIEW": frozenset({"AT_SetRelOptions", "AT_ResetRelOptions", "AT_SetStatistics", "AT_ClusterOn"}),
    "OBJECT_VIEW": frozenset({"AT_SetRelOptions", "AT_ResetRelOptions", "AT_ColumnDefault"}),
}
# Why some are refused that are understood well.
_FORBIDDEN: Mapping[str, tuple[str, str]] = {
    "AT_ChangeOwner": ("privileges-changed", "it gives the table to another role"),
    **dict.fromkeys(
        ("AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity"),
        ("row-security-changed", "it changes who sees which rows"),
    ),
    **dict.fromkeys(
        (
            *("AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig", "AT_DisableTrig", "AT_EnableTrigAll"),
            *("AT_DisableTrigAll", "AT_EnableTrigUser", "AT_DisableTrigUser", "AT_EnableRule", "AT_EnableAlwaysRule"),
            *("AT_EnableReplicaRule", "AT_DisableRule"),
        ),
        ("trigger-or-rule-changed", "it switches code that others rely on"),
    ),
}


def read_alter(tree: Tree, context: Context) -> Sequence[Operation]:
    """Each subcommand is one operation at least; they share one lock, the strongest."""
    only(tree, "relation", "cmds", "objtype", "missing_ok")
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    kind = enum(tree.objtype)
    if kind not in _KINDS:
        raise Refused("not-understood", f"alter {_words(kind)} is not understood")
    if tree.missing_ok and not context.names.exists(tree.relation):
        return [Operation(f"alter_{_words(kind)}", undo="not_needed", facts={"missing": True})]
    relation = context.names.resolve(tree.relation, _KINDS[kind])
    if relation.kind in ("r", "p") and relation.row["is_child"]:
        raise Refused("object-kind", f"{relation.display} inherits from another table, which is not supported yet")
    if relation.kind == "r" and relation.row["has_children"]:
        raise Refused("object-kind", f"{relation.display} has tables that inherit from it, which is not supported yet")
    operations: list[Operation] = []
    steps: list[tuple[str, ...]] = []
    context.commands.extend(tree.cmds)
    for command in tree.cmds:
        name = enum(command.subtype)
        if name in _FORBIDDEN:
            raise Refused(*_FORBIDDEN[name])
        readers = _OF_TYPES if kind == "OBJECT_TYPE" else _READERS
        if name not in readers or name not in _ELSEWHERE.get(kind, readers):
            raise Refused("not-understood", f"{name.removeprefix('AT_')} is not understood")
        read = readers[name](command, relation, context)
        recurses = tree.relation.inh and name not in _NOT_RECURSING
        operations += [context.with_partitions(one) for one in read] if recurses else read
        steps.append(tuple(step for one in read for step in one.safer) or (_alone(tree, command),))
    if len(tree.cmds) == 1 or not any(one.safer for one in operations):
        return operations
    # The steps stand for the whole statement: what needs no safer path is done by itself, in its place.
    whole = tuple(step for part in steps for step in part)
    return [replace(one, safer=whole if one.safer else ()) for one in operations]


def _alone(tree: Tree, command: Tree) -> str:
    again = parse.parse_one(parse.deparse(tree))
    again.cmds = (command,)
    return parse.deparse(again)


def _words(kind: str) -> str:
    return kind.removeprefix("OBJECT_").lower()
