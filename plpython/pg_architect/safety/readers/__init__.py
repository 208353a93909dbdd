"""Readers: one module per family of statements turns a tree into operations on resolved objects.

A reader checks every field that it does not understand to be unset (``fields.only``), so that a new field of the
grammar is refused and not overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pg_architect.safety import parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import (
    alter_table,
    comment,
    create_table,
    drop,
    index,
    maintenance,
    query,
    rename,
    sequence,
    statistics,
    types,
    view,
)

Reader: TypeAlias = Callable[[Tree, Context], Sequence[Operation]]

_READERS: Mapping[str, Reader] = {
    "IndexStmt": index.read_create,
    "AlterTableStmt": alter_table.read_alter,
    "CreateStmt": create_table.read,
    "CreateTableAsStmt": view.read_create_as,
    "ExplainStmt": query.read_explain,
    "RefreshMatViewStmt": view.read_refresh,
    "SelectStmt": query.read_select,
    "ViewStmt": view.read_view,
    "AlterDomainStmt": types.read_alter_domain,
    "AlterEnumStmt": types.read_alter_enum,
    "AlterObjectSchemaStmt": rename.read_set_schema,
    "AlterSeqStmt": sequence.read_alter,
    "AlterStatsStmt": statistics.read_alter,
    "ClusterStmt": maintenance.read_cluster,
    "CommentStmt": comment.read,
    "CompositeTypeStmt": types.read_composite,
    "CreateDomainStmt": types.read_domain,
    "CreateEnumStmt": types.read_enum,
    "CreateRangeStmt": types.read_range,
    "CreateSchemaStmt": sequence.read_create_schema,
    "CreateSeqStmt": sequence.read_create,
    "CreateStatsStmt": statistics.read_create,
    "DropStmt": drop.read,
    "ReindexStmt": maintenance.read_reindex,
    "RenameStmt": rename.read,
    "VacuumStmt": maintenance.read_vacuum,
}


def reader(tree: Tree) -> Reader:
    """The reader of a statement; Refused where there is none."""
    kind = parse.kind_of(tree)
    if kind not in _READERS:
        raise Refused("not-understood", f"statements of this kind are not understood ({kind})")
    return _READERS[kind]


def kind_of(tree: Tree) -> str:
    """The kind of a statement before it is read, for one that is refused: create_index, drop_table, …"""
    kind = parse.kind_of(tree)
    if kind == "IndexStmt":
        return "create_index_concurrently" if tree.concurrent else "create_index"
    if kind == "DropStmt":
        what = tree.removeType.name.removeprefix("OBJECT_").lower()
        return f"drop_{what}_concurrently" if tree.concurrent else f"drop_{what}"
    if kind == "AlterTableStmt":
        return f"alter_{tree.objtype.name.removeprefix('OBJECT_').lower()}"
    if kind == "CreateStmt":
        return "create_partition" if tree.partbound is not None else "create_table"
    if kind == "CreateTableAsStmt":
        return "create_materialized_view" if tree.objtype.name == "OBJECT_MATVIEW" else "create_table_as"
    if kind == "ViewStmt":
        return "create_view"
    if kind == "RefreshMatViewStmt":
        return "refresh_materialized_view"
    return _words(kind.removesuffix("Stmt"))


def _words(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel).lstrip("_")
