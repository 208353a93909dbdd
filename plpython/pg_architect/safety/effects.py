"""What a statement that was judged changes in the catalogue, noted in the overlay for those that come after it.

It reads ``apply_sql``, where every name is written out. What is not followed in detail is noted as not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pg_architect.core.db import Row
from pg_architect.safety import effects_on_tables as on_tables
from pg_architect.safety import parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.overlay import Overlay, Table
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import object_queries
from pg_architect.safety.readers.fields import enum

Effect: TypeAlias = Callable[[Overlay, Tree], None]

# These change nothing that the gate asks for.
_NONE = frozenset(
    [
        "ClusterStmt",
        "CommentStmt",
        "ExplainStmt",
        "RefreshMatViewStmt",
        "ReindexStmt",
        "SelectStmt",
        "VacuumStmt",
    ]
)
_RELATIONS = frozenset(["OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_INDEX"])


def note(overlay: Overlay, tree: Tree) -> bool:
    """Note the effects of a statement; False where nothing is known of them."""
    kind = kind_of(tree)
    if kind in _NONE:
        return True
    if kind not in _EFFECTS:
        return False
    _EFFECTS[kind](overlay, tree)
    return True


def _make(overlay: Overlay, schema: str, name: str, table: Table | None = None) -> int | None:
    """A new relation of this name; None where it is there already and IF NOT EXISTS leaves it alone."""
    if on_tables.relation_oid(overlay, schema, name) is not None:
        return None
    oid = overlay.new_number()
    overlay.names[schema, name] = oid
    overlay.touched.add(name)
    overlay.tables[oid] = table or Table(is_new=True)
    return oid


def _create_index(overlay: Overlay, tree: Tree) -> None:
    oid = on_tables.relation_oid(overlay, tree.relation.schemaname, tree.relation.relname)
    name = (tree.relation.schemaname, tree.idxname)
    if oid is None or on_tables.relation_oid(overlay, *name) is not None:
        return
    table = on_tables.table(overlay, oid)
    columns = table.columns or {}
    keys = [*tree.indexParams, *(tree.indexIncludingParams or ())]
    on_tables.add_index(
        overlay,
        table,
        tree.idxname,
        schema=tree.relation.schemaname,
        method=tree.accessMethod,
        is_unique=bool(tree.unique),
        has_expressions=any(item.expr is not None for item in tree.indexParams),
        is_partial=tree.whereClause is not None,
        columns=[columns[item.name]["number"] if item.name in columns else 0 for item in keys],
        text=parse.deparse(tree),
    )


def _create_table(overlay: Overlay, tree: Tree) -> None:
    schema, name = tree.relation.schemaname, tree.relation.relname
    for item in tree.inhRelations or ():
        on_tables.forget(overlay, item.schemaname, item.relname)
    elements = tree.tableElts or ()
    followed = not tree.inhRelations and all(kind_of(item) in ("ColumnDef", "Constraint") for item in elements)
    if not followed:
        _make(overlay, schema, name)
        overlay.dependents_changed |= any(kind_of(item) == "TableLikeClause" for item in elements)
        return
    row = on_tables.new_row(overlay, tree)
    table = Table(row, {}, {}, [], is_new=True)
    oid = _make(overlay, schema, name, table)
    if oid is None:
        return
    row["oid"] = oid
    definitions = [item for item in elements if kind_of(item) == "ColumnDef"]
    for number, item in enumerate(definitions, 1):
        on_tables.add_column(overlay, table, item, number)
    for item in elements:
        if kind_of(item) == "Constraint":
            on_tables.add_constraint(overlay, table, item)


def _create_table_as(overlay: Overlay, tree: Tree) -> None:
    _make(overlay, tree.into.rel.schemaname, tree.into.rel.relname)
    if enum(tree.objtype) != "OBJECT_TABLE":
        overlay.dependents_changed = True


def _create_view(overlay: Overlay, tree: Tree) -> None:
    overlay.dependents_changed = True
    if _make(overlay, tree.view.schemaname, tree.view.relname) is None:
        on_tables.forget(overlay, tree.view.schemaname, tree.view.relname)


def _create_sequence(overlay: Overlay, tree: Tree) -> None:
    _make(overlay, tree.sequence.schemaname, tree.sequence.relname)


def _change_sequence(overlay: Overlay, tree: Tree) -> None:
    on_tables.forget(overlay, tree.sequence.schemaname, tree.sequence.relname)
    # OWNED BY makes it go with the column.
    overlay.dependents_changed = True


def _create_type(overlay: Overlay, tree: Tree) -> None:
    """A type; it may be made of others."""
    if kind_of(tree) == "CompositeTypeStmt":
        overlay.touched.add(tree.typevar.relname)
        _make(overlay, tree.typevar.schemaname, tree.typevar.relname)
    else:
        names = parse.strings(tree.domainname if kind_of(tree) == "CreateDomainStmt" else tree.typeName) or [""]
        if kind_of(tree) == "CreateEnumStmt" and len(names) == 2:
            overlay.add_enum(names[0], names[1], parse.strings(tree.vals) or [])
        else:
            overlay.touched.add(names[-1])
    if kind_of(tree) != "CreateEnumStmt":
        overlay.dependents_changed = True


def _change_enum(overlay: Overlay, tree: Tree) -> None:
    names = parse.strings(tree.typeName) or [""]
    oid = overlay.enums.get((names[0], names[-1]))
    if oid is None:
        _change_own_enum(overlay, tree, names)
        return
    labels = [label for label in overlay.enum_rows[oid]["labels"] if label not in (tree.oldVal, tree.newVal)]
    overlay.enum_rows[oid]["labels"] = [*labels, tree.newVal]


def _change_own_enum(overlay: Overlay, tree: Tree, names: Sequence[str]) -> None:
    """A type of the database: a new value is one more, and nothing else about the type; a new name is in defaults."""
    rows = overlay.db.query(object_queries.TYPE, names[-1], names[0]) if len(names) == 2 else []
    if tree.oldVal or not rows:
        _change_type(overlay, tree)
        return
    oid = int(rows[0]["oid"])
    known = overlay.labels.get(oid) or [str(one["label"]) for one in overlay.db.query(object_queries.LABELS, oid)]
    overlay.labels[oid] = [*known, *([] if tree.newVal in known else [tree.newVal])]


def _change_type(overlay: Overlay, tree: Tree) -> None:
    overlay.types_changed = True
    names = getattr(tree, "typeName", None)
    if isinstance(names, tuple):
        overlay.touched.add((parse.strings(names) or [""])[-1])


def _create_schema(overlay: Overlay, tree: Tree) -> None:
    if not overlay.query(sql.SCHEMA, tree.schemaname):
        overlay.schemas[tree.schemaname] = True


def _statistics(overlay: Overlay, tree: Tree) -> None:
    overlay.touched.add((parse.strings(tree.defnames) or [""])[-1])


def _drop(overlay: Overlay, tree: Tree) -> None:
    what = enum(tree.removeType)
    for item in tree.objects:
        if what == "OBJECT_SCHEMA":
            overlay.schemas[item.sval] = False
            continue
        names = parse.strings(item.names if kind_of(item) == "TypeName" else item) or [""]
        overlay.touched.add(names[-1])
        if what in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
            overlay.types_changed = True
            overlay.enums.pop((names[0], names[-1]), None)
        elif what in _RELATIONS and len(names) == 2:
            _drop_relation(overlay, names[0], names[1])


def _drop_relation(overlay: Overlay, schema: str, name: str) -> None:
    oid = on_tables.relation_oid(overlay, schema, name)
    overlay.names[schema, name] = None
    if oid is None:
        return
    for table in overlay.tables.values():
        if table.indexes is not None:
            table.indexes = [one for one in table.indexes if one["oid"] != oid]
    for row in [] if oid in overlay.tables else overlay.db.query(object_queries.INDEX, oid):
        table = on_tables.table(overlay, row["table_oid"])
        table.indexes = [one for one in table.indexes or () if one["oid"] != oid] if table.indexes is not None else None
    known = overlay.tables.get(oid)
    constraints: Sequence[Row] = (
        list((known.constraints or {}).values()) if known is not None else overlay.db.query(sql.CONSTRAINTS, oid)
    )
    for constraint in constraints:
        if constraint["type"] == "f":
            on_tables.drop_reference(overlay, constraint, oid)
    overlay.tables.setdefault(oid, Table()).forget()


def _rename(overlay: Overlay, tree: Tree) -> None:
    what = enum(tree.renameType)
    overlay.touched.add(tree.newname)
    if what in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"):
        on_tables.rename_part(overlay, tree, "columns" if what == "OBJECT_COLUMN" else "constraints")
    elif what in _RELATIONS:
        _move(overlay, tree.relation, (tree.relation.schemaname, tree.newname))
    elif what == "OBJECT_SCHEMA":
        # All that is in it has another name now.
        overlay.schemas |= {tree.subname: False, tree.newname: True}
        overlay.everything_changed = True
    else:
        overlay.types_changed = True
        names = (parse.strings(tree.object) if isinstance(tree.object, tuple) else None) or [""]
        overlay.touched |= set(names)
        overlay.enums.pop((names[0], names[-1]), None)


def _set_schema(overlay: Overlay, tree: Tree) -> None:
    if tree.relation is None:
        names = parse.strings(tree.object) or [""]
        overlay.types_changed = True
        overlay.touched |= set(names)
        overlay.enums.pop((names[0], names[-1]), None)
    else:
        # Indexes and sequences go along.
        overlay.everything_changed |= enum(tree.objectType) in ("OBJECT_TABLE", "OBJECT_MATVIEW")
        _move(overlay, tree.relation, (tree.newschema, tree.relation.relname))


def _move(overlay: Overlay, node: Tree, new: tuple[str, str]) -> None:
    old = (node.schemaname, node.relname)
    oid = on_tables.relation_oid(overlay, *old)
    if oid is None:
        return
    overlay.touched |= {old[1], new[1]}
    table = on_tables.table(overlay, oid)
    overlay.names[old], overlay.names[new] = None, oid
    if table.row is not None:
        display = on_tables.display(overlay, *new)
        table.row = {**table.row, "schema": new[0], "name": new[1], "display": display}
    for other in overlay.tables.values():
        if any(one["oid"] == oid for one in other.indexes or ()):
            other.indexes = None


def _alter_table(overlay: Overlay, tree: Tree) -> None:
    on_tables.alter(overlay, tree)


_EFFECTS: Mapping[str, Effect] = {
    "AlterDomainStmt": _change_type,
    "AlterEnumStmt": _change_enum,
    "AlterObjectSchemaStmt": _set_schema,
    "AlterSeqStmt": _change_sequence,
    "AlterStatsStmt": _statistics,
    "AlterTableStmt": _alter_table,
    "CompositeTypeStmt": _create_type,
    "CreateDomainStmt": _create_type,
    "CreateEnumStmt": _create_type,
    "CreateRangeStmt": _create_type,
    "CreateSchemaStmt": _create_schema,
    "CreateSeqStmt": _create_sequence,
    "CreateStatsStmt": _statistics,
    "CreateStmt": _create_table,
    "CreateTableAsStmt": _create_table_as,
    "DropStmt": _drop,
    "IndexStmt": _create_index,
    "RenameStmt": _rename,
    "ViewStmt": _create_view,
}
