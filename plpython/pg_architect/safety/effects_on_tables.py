"""The effects of statements on tables, their columns, constraints and indexes, noted in the overlay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pg_architect.core.db import Row
from pg_architect.core.identifier import NAME_BYTES
from pg_architect.safety import parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.catalogue_queries import enum_is_plain
from pg_architect.safety.overlay import FIRST_NEW_NUMBER, Overlay, Table
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import create_queries
from pg_architect.safety.readers.column_type import modifier
from pg_architect.safety.readers.fields import enum, expression_text
from pg_architect.safety.readers.new_column import SERIAL

Change: TypeAlias = Callable[[Overlay, Table, Tree], None]

# What relation_queries.COLUMNS will read of a column of this type; $3 whether it is an array of it.
_TYPE = f"""
select t.oid::bigint as type_oid, t.typname::text as type_name, pg_catalog.format_type(t.oid, null) as type,
    t.typstorage::text as storage, t.typstorage::text as type_storage,
    t.typcollation::bigint as collation_oid, t.typcollation::bigint as type_collation_oid,
    case
        when t.oid < 16384 and t.typtype in ('b', 'r', 'm') and e.typtype in ('b', 'r', 'm') then null
        when e.typtype = 'e' and {enum_is_plain("e")} then null
        else format('a column has the user-defined type %s', t.typname)
    end as problem
from pg_catalog.pg_type e
join pg_catalog.pg_namespace n on n.oid = e.typnamespace
join pg_catalog.pg_type t on t.oid = case when $3::boolean then e.typarray else e.oid end
where n.nspname = $1::name and e.typname = $2::name
"""
_SERIAL_TYPES = {"serial2": "int2", "smallserial": "int2", "serial8": "int8", "bigserial": "int8"}
_SUFFIX = {"CONSTR_UNIQUE": "key", "CONSTR_FOREIGN": "fkey", "CONSTR_CHECK": "check", "CONSTR_EXCLUSION": "excl"}
_TYPES = {
    "CONSTR_CHECK": "c",
    "CONSTR_FOREIGN": "f",
    "CONSTR_PRIMARY": "p",
    "CONSTR_UNIQUE": "u",
    "CONSTR_EXCLUSION": "x",
}


def relation_oid(overlay: Overlay, schema: str, name: str) -> int | None:
    """The number of a relation as the script has left it; None if there is none."""
    if (schema, name) in overlay.names:
        return overlay.names[schema, name]
    rows = overlay.db.query(create_queries.RELATION_NAMED, schema, name)
    return int(rows[0]["oid"]) if rows else None


def display(overlay: Overlay, *names: str) -> str:
    """The names as the server writes them."""
    marks = ".".join(["%I"] * len(names))
    arguments = ", ".join(f"${number}::text" for number in range(1, len(names) + 1))
    return str(overlay.db.query(f"select pg_catalog.format('{marks}', {arguments}) as display", *names)[0]["display"])


def table(overlay: Overlay, oid: int) -> Table:
    """What is known of a relation, read from the database when it changes for the first time."""
    if oid not in overlay.tables:
        rows = overlay.db.query(sql.RELATION, oid)
        overlay.tables[oid] = Table(
            {**rows[0], "oid": oid} if rows else None,
            {row["name"]: row for row in overlay.db.query(sql.COLUMNS, oid)},
            {row["name"]: row for row in overlay.db.query(sql.CONSTRAINTS, oid)},
            list(overlay.db.query(sql.INDEXES, oid)),
        )
    return overlay.tables[oid]


def forget(overlay: Overlay, schema: str, name: str) -> None:
    """Nothing is known of a relation any more but its name."""
    oid = relation_oid(overlay, schema, name)
    if oid is not None:
        overlay.touched.add(name)
        overlay.tables.setdefault(oid, Table()).forget()


def new_row(overlay: Overlay, tree: Tree) -> Row:
    """What relation_queries.RELATION will read of a new table: nobody knows it, and nothing is in it."""
    schema, name = tree.relation.schemaname, tree.relation.relname
    owner = overlay.db.query("select session_user::text as name")[0]["name"]
    return {
        "schema": schema, "name": name, "display": display(overlay, schema, name),
        "kind": "r" if tree.partspec is None else "p", "persistence": tree.relation.relpersistence, "owner": owner,
        "superuser": False, "is_partition": False, "is_child": False, "has_children": False, "heap": True,
        "extension": None, "bytes": 0, "rows": 0.0, "is_empty": True, "never_analyzed": False, "indexes": 0,
        "index_bytes": 0, "options": None, "toast_options": None, "comment": None, "replica_identity": "d",
    }  # fmt: skip


def add_index(overlay: Overlay, changed: Table, name: str, *, schema: str, text: str | None, **facts: Any) -> int:
    """Note a new index."""
    oid = overlay.new_number()
    overlay.names[schema, name] = oid
    overlay.touched.add(name)
    if text is not None:
        overlay.texts[oid] = text
    partitioned = changed.row is not None and changed.row["kind"] == "p"
    if changed.row is not None:
        changed.row = {**changed.row, "indexes": changed.row["indexes"] + 1}
    if changed.indexes is not None:
        row = {
            "oid": oid, "name": name, "display": display(overlay, schema, name), "is_primary": False, "valid": True,
            "is_replica_identity": False, "is_clustered": False, "has_constraint": False,
            "kind": "I" if partitioned else "i",
        }  # fmt: skip
        changed.indexes = [*changed.indexes, {**row, **facts}]
    return oid


def add_column(overlay: Overlay, changed: Table, item: Tree, number: int | None = None) -> None:
    """Note a new column and what its constraints make."""
    if changed.columns is None or item.colname in changed.columns:
        return
    if number is None:
        number = FIRST_NEW_NUMBER + len(changed.columns)
    kinds = {enum(one.contype) for one in item.constraints or ()}
    row = _typed(overlay, item.typeName) if item.typeName is not None else None
    if row is None:
        changed.columns = None
        return
    serial = (parse.strings(item.typeName.names) or [""])[-1] in SERIAL
    changed.columns = {
        **changed.columns,
        item.colname: {
            **row,
            "name": item.colname,
            "number": number,
            "not_null": serial or bool(kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"}),
            "has_default": serial or bool(kinds & {"CONSTR_DEFAULT", "CONSTR_GENERATED"}),
            "identity": "a" if "CONSTR_IDENTITY" in kinds else "",
            "generated": "s" if "CONSTR_GENERATED" in kinds else "",
            "statistics": -1, "compression": "", "options": None, "comment": None,
        },
    }  # fmt: skip
    if (serial or "CONSTR_IDENTITY" in kinds) and changed.row is not None:
        _note_name(overlay, changed.row["schema"], f"{changed.row['name']}_{item.colname}_seq")
    for one in item.constraints or ():
        if enum(one.contype) in _TYPES:
            add_constraint(overlay, changed, one, item.colname)


def _note_name(overlay: Overlay, schema: str, name: str) -> None:
    """A name that the server makes; a longer one it makes in another way."""
    if len(name.encode()) <= NAME_BYTES:
        overlay.names.setdefault((schema, name), overlay.new_number())
        overlay.touched.add(name)


def _typed(overlay: Overlay, node: Tree) -> Row | None:
    names = parse.strings(node.names) or [""]
    if len(names) == 2 and (names[0], names[1]) in overlay.enums and not node.arrayBounds:
        oid = overlay.enums[names[0], names[1]]
        return {
            "type_oid": oid, "type_name": names[1], "type": overlay.enum_rows[oid]["display"], "storage": "p",
            "type_storage": "p", "collation_oid": 0, "type_collation_oid": 0, "problem": None, "typmod": -1,
        }  # fmt: skip
    name = _SERIAL_TYPES.get(names[-1], "int4") if names[-1] in SERIAL else names[-1]
    rows = overlay.db.query(_TYPE, names[0] if len(names) == 2 else "pg_catalog", name, bool(node.arrayBounds))
    typmod = modifier(node)
    if not rows or typmod is None:
        return None
    if rows[0]["type_oid"] >= 16384:
        # What is made of it is not followed.
        overlay.dependents_changed = True
    return {**rows[0], "typmod": typmod}


def add_constraint(overlay: Overlay, changed: Table, item: Tree, column: str | None = None) -> None:
    """Note a new constraint, and its index; ``column`` is the one in whose definition it stands."""
    kind, row = enum(item.contype), changed.row
    if kind not in _TYPES or row is None or changed.columns is None:
        changed.constraints = None
        return
    names = [column] if column is not None else list(parse.strings(item.fk_attrs or item.keys) or [])
    if kind == "CONSTR_CHECK":
        names = sorted({name for name in _columns_of(item.raw_expr) if name in changed.columns})
    name = item.conname or _default_name(kind, names, str(row["name"]))
    if kind == "CONSTR_FOREIGN":
        _note_reference(overlay, changed, item)
    if name is None or changed.constraints is None or name in changed.constraints:
        changed.constraints = None
        if kind not in ("CONSTR_CHECK", "CONSTR_FOREIGN"):
            changed.indexes = None
        return
    for one in names if kind == "CONSTR_PRIMARY" else ():
        changed.columns = {**changed.columns, one: {**changed.columns[one], "not_null": True}}
    numbers = [changed.columns[one]["number"] for one in names]
    oid, index_oid = overlay.new_number(), 0
    if kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION"):
        index_oid = _constraint_index(overlay, changed, item, (str(row["schema"]), name), numbers)
    if kind == "CONSTR_CHECK":
        overlay.texts[oid] = f"CHECK (({expression_text(item.raw_expr)}))"
    referenced = relation_oid(overlay, item.pktable.schemaname, item.pktable.relname) if item.pktable else None
    changed.constraints = {
        **changed.constraints,
        name: {
            "name": name, "type": _TYPES[kind], "validated": not item.skip_validation, "oid": oid, "columns": numbers,
            "referenced_oid": referenced or 0, "index_oid": index_oid, "comment": None, "inherited": 0,
            "referenced_by": 0,
        },
    }  # fmt: skip


def _constraint_index(overlay: Overlay, changed: Table, item: Tree, new: tuple[str, str], numbers: list[int]) -> int:
    schema, name = new
    if item.indexname:
        # The index that is there gets the constraint's name.
        changed.indexes = None
        overlay.names[schema, item.indexname] = None
        overlay.touched.add(item.indexname)
        _note_name(overlay, schema, name)
        return 0
    exclusion = enum(item.contype) == "CONSTR_EXCLUSION"
    return add_index(
        overlay, changed, name, schema=schema, text=None, is_unique=not exclusion,
        is_primary=enum(item.contype) == "CONSTR_PRIMARY", has_constraint=True, has_expressions=exclusion,
        is_partial=False, columns=numbers, method=item.access_method if exclusion else "btree",
    )  # fmt: skip


def _columns_of(expression: Tree) -> set[str]:
    return {(parse.strings(node.fields) or [""])[-1] for node in parse.walk(expression) if kind_of(node) == "ColumnRef"}


def _default_name(kind: str, names: list[str], table_name: str) -> str | None:
    """The name that the server gives; None where it takes more to know (ChooseConstraintName)."""
    if kind == "CONSTR_PRIMARY":
        name = f"{table_name}_pkey"
    elif kind == "CONSTR_CHECK" and len(names) != 1:
        name = f"{table_name}_check"
    elif names:
        name = "_".join([table_name, *names, _SUFFIX[kind]])
    else:
        return None
    return name if len(name.encode()) <= NAME_BYTES else None


def _note_reference(overlay: Overlay, changed: Table, item: Tree) -> None:
    """A key of the referenced table is needed now, unless the reference is to the table itself."""
    oid = relation_oid(overlay, item.pktable.schemaname, item.pktable.relname)
    if oid is None:
        return
    referenced = table(overlay, oid)
    if referenced is changed:
        return
    # A new table that is referenced cannot go alone.
    overlay.dependents_changed |= referenced.is_new
    columns = referenced.columns or {}
    names = set(parse.strings(item.pk_attrs) or ())
    wanted = {columns[name]["number"] for name in names if name in columns}
    found = {
        name: {**row, "referenced_by": row["referenced_by"] + 1}
        for name, row in (referenced.constraints or {}).items()
        if (row["type"] in ("p", "u") and set(row["columns"]) == wanted if names else row["type"] == "p")
    }
    # Without a key it is a unique index without a constraint, or nothing that is known.
    referenced.constraints = {**referenced.constraints, **found} if found and referenced.constraints else None


def drop_reference(overlay: Overlay, constraint: Row, own_oid: int | None) -> None:
    """A foreign key is gone: its key is needed by one less, where it is known which that is."""
    oid = constraint["referenced_oid"]
    if oid in (0, own_oid):
        return
    referenced = table(overlay, oid)
    found = {
        name: {**row, "referenced_by": row["referenced_by"] - 1}
        for name, row in (referenced.constraints or {}).items()
        if row["type"] in ("p", "u") and row["index_oid"] == constraint["index_oid"] != 0
    }
    referenced.constraints = {**referenced.constraints, **found} if found and referenced.constraints else None


def rename_part(overlay: Overlay, tree: Tree, part: str) -> None:
    """Rename a column or a constraint."""
    oid = relation_oid(overlay, tree.relation.schemaname, tree.relation.relname)
    if oid is None:
        return
    changed = table(overlay, oid)
    if changed.row is None or changed.row["kind"] != "r":
        changed.forget()
        return
    known: dict[str, Row] | None = getattr(changed, part)
    if known is None or tree.subname not in known:
        setattr(changed, part, None)
        return
    renamed = {
        tree.newname if name == tree.subname else name: {**row, "name": tree.newname} if name == tree.subname else row
        for name, row in known.items()
    }
    setattr(changed, part, renamed)
    if part == "constraints" and known[tree.subname]["index_oid"]:
        changed.indexes = None
    # What views and checks are written back as is not followed.
    overlay.dependents_changed |= not changed.is_new


def alter(overlay: Overlay, tree: Tree) -> None:
    """The subcommands of ALTER TABLE, in the order in which they stand."""
    oid = relation_oid(overlay, tree.relation.schemaname, tree.relation.relname)
    if oid is None:
        return
    changed = table(overlay, oid)
    overlay.touched.add(tree.relation.relname)
    for command in tree.cmds:
        change = _CHANGES.get(enum(command.subtype))
        if change is None or changed.row is None or changed.row["kind"] not in ("r", "p"):
            changed.forget()
            if enum(command.subtype) in ("AT_AttachPartition", "AT_DetachPartition"):
                forget(overlay, command.def_.name.schemaname, command.def_.name.relname)
        else:
            change(overlay, changed, command)
    if changed.row is not None and changed.row["has_children"]:
        # Its partitions change with it.
        overlay.everything_changed = True


def _drop_column(overlay: Overlay, changed: Table, command: Tree) -> None:
    row = (changed.columns or {}).get(command.name)
    if changed.columns is None or row is None:
        return
    changed.columns = {name: one for name, one in changed.columns.items() if name != command.name}
    number = row["number"]
    gone = [one for one in (changed.constraints or {}).values() if number in (one["columns"] or ())]
    for one in gone:
        _without_constraint(overlay, changed, one)
    indexes = changed.indexes or []
    if any(one["has_expressions"] or one["is_partial"] for one in indexes):
        changed.indexes = None
    else:
        changed.indexes = [one for one in indexes if number not in one["columns"]]
    overlay.dependents_changed |= not changed.is_new


def _without_constraint(overlay: Overlay, changed: Table, one: Row) -> None:
    changed.constraints = {name: row for name, row in (changed.constraints or {}).items() if name != one["name"]}
    if one["type"] == "f":
        drop_reference(overlay, one, (changed.row or {}).get("oid"))
    elif one["index_oid"] and changed.row is not None:
        overlay.names[changed.row["schema"], one["name"]] = None
        if changed.indexes is not None:
            changed.indexes = [index for index in changed.indexes if index["oid"] != one["index_oid"]]


def _drop_constraint(overlay: Overlay, changed: Table, command: Tree) -> None:
    one = (changed.constraints or {}).get(command.name)
    if one is not None:
        _without_constraint(overlay, changed, one)


def _validate(_overlay: Overlay, changed: Table, command: Tree) -> None:
    if changed.constraints is not None and command.name in changed.constraints:
        row = {**changed.constraints[command.name], "validated": True}
        changed.constraints = {**changed.constraints, command.name: row}


def _set_column(changed: Table, name: str, **facts: Any) -> None:
    if changed.columns is not None and name in changed.columns:
        changed.columns = {**changed.columns, name: {**changed.columns[name], **facts}}


def _default(_overlay: Overlay, changed: Table, command: Tree) -> None:
    _set_column(changed, command.name, has_default=command.def_ is not None)
    changed.changed_defaults.add((changed.columns or {}).get(command.name, {}).get("number", 0))


def _not_null(overlay: Overlay, changed: Table, command: Tree) -> None:
    _set_column(changed, command.name, not_null=enum(command.subtype) == "AT_SetNotNull")
    if int(overlay.db.query("select pg_catalog.current_setting('server_version_num')::int as v")[0]["v"]) >= 180000:
        changed.constraints = None  # there it is a constraint with a name


_CHANGES: Mapping[str, Change] = {
    "AT_AddColumn": lambda overlay, changed, command: add_column(overlay, changed, command.def_),
    "AT_AddConstraint": lambda overlay, changed, command: add_constraint(overlay, changed, command.def_),
    "AT_ColumnDefault": _default,
    "AT_DropColumn": _drop_column,
    "AT_DropConstraint": _drop_constraint,
    "AT_DropNotNull": _not_null,
    "AT_SetNotNull": _not_null,
    "AT_ValidateConstraint": _validate,
}
