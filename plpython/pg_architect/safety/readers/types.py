"""Types and domains: CREATE TYPE in three of its forms, CREATE DOMAIN, ALTER TYPE … VALUE, ALTER DOMAIN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pg_architect.core.db import Row
from pg_architect.core.identifier import NAME_BYTES, shortened
from pg_architect.safety import locks, parse, relation_queries
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Reason, Refused
from pg_architect.safety.operation import BRIEF, SCAN, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers.fields import enum, only, options, restrict_only
from pg_architect.safety.relation import Relation, check_schema_is_users

ENUM, DOMAIN, COMPOSITE, RANGE = "e", "d", "c", "r"
_KINDS = {ENUM: "an enumeration", DOMAIN: "a domain", COMPOSITE: "a composite type", RANGE: "a range type"}
_CONSTRAINT = ("contype", "conname", "is_enforced", "initially_valid")


def strings(*names: str) -> tuple[Tree, ...]:
    """A list of names as the grammar has it."""
    return tuple(parse.ast.String(name) for name in names)


def range_var(names: tuple[Tree, ...]) -> Tree:
    """The RangeVar of a list of names."""
    parts = parse.strings(names) if isinstance(names, tuple) else None
    if not parts or len(parts) > 2:
        raise Refused("names", "the name is not understood")
    schema = parts[0] if len(parts) == 2 else None
    return parse.ast.RangeVar(schemaname=schema, relname=parts[-1], inh=True, relpersistence="p")


def resolve(names: tuple[Tree, ...], kinds: Sequence[str], context: Context) -> tuple[Relation, tuple[Tree, ...]]:
    """The relation that a list of names means, and the list with its schema."""
    relation = context.names.resolve(range_var(names), kinds)
    return relation, strings(relation.schema, relation.name)


def relation_missing(node: Tree, context: Context) -> bool:
    """Whether no relation has the name of a RangeVar; Refused in a schema where nothing may be changed."""
    if node.schemaname is not None:
        check_schema_is_users(node.schemaname)
    rows = context.db.query(relation_queries.NAMED, node.relname)
    return not [row for row in rows if node.schemaname in (None, row["schema"])]


def missing(names: tuple[Tree, ...] | None, context: Context) -> bool:
    """Whether no type has this name on the role's path; Refused in a schema where nothing may be changed."""
    parts = _plain(names)
    if len(parts) == 2:
        check_schema_is_users(parts[0])
    return not _rows(parts, context)


def find(names: tuple[Tree, ...] | None, context: Context, kinds: Sequence[str]) -> Row:
    """The user's type that a list of names means, with what object_queries.TYPE reads; Refused for every other."""
    parts = _plain(names)
    rows = _rows(parts, context)
    if not rows:
        raise Refused("exists", f"type {'.'.join(parts)} does not exist")
    row = rows[0]
    check_schema_is_users(row["schema"])
    if row["extension"] is not None:
        raise Refused("extension-member", f"{row['display']} belongs to the extension {row['extension']}")
    if row["is_array"] or row["is_row"] or row["kind"] not in kinds:
        what = "an array" if row["is_array"] else "the row of a table" if row["is_row"] else _KINDS.get(row["kind"])
        wanted = " or ".join(_KINDS[kind] for kind in kinds)
        raise Refused("object-kind", f"{row['display']} is {what or 'made of code'}, where this takes: {wanted}")
    if len(parts) == 1:
        detail = f"{parts[0]} has no schema: it is taken to be {row['display']}, found by the role's search_path"
        context.names.notes.append(Reason("schema", detail, {"schema": row["schema"]}))
    return row


def find_node(node: Tree, context: Context, kinds: Sequence[str]) -> Row:
    """The same for a TypeName, which gets its schema written out."""
    check_bare(node)
    row = find(node.names, context, kinds)
    node.names = strings(row["schema"], row["name"])
    return row


def check_bare(node: Tree) -> None:
    """Refused for a TypeName that is more than a name."""
    only(node, "names", "typemod")
    if node.typemod != -1:
        raise Refused("not-understood", "a type with a modifier is not understood here")


def _plain(names: tuple[Tree, ...] | None) -> list[str]:
    parts = parse.strings(names) or []
    if not 1 <= len(parts) <= 2:
        raise Refused("names", "the type is named in a way that is not understood")
    return parts


def _rows(parts: list[str], context: Context) -> Sequence[Row]:
    schemas = [parts[0]] if len(parts) == 2 else ["pg_catalog", *context.names.role.search_path]
    for schema in schemas:
        if rows := context.db.query(sql.TYPE, parts[-1], schema):
            return rows
    return []


def _new(names: tuple[Tree, ...] | None, context: Context) -> tuple[tuple[Tree, ...], str]:
    """The full name of a type to be made, as a list of names and displayed."""
    parts = _plain(names)
    schema = context.names.check_schema(parts[0] if len(parts) == 2 else None)
    context.names.check_free(schema, parts[-1])
    return strings(schema, parts[-1]), context.names.display(schema, parts[-1])


def _made(kind: str, display: str, what: str = "type", **facts: Any) -> Sequence[Operation]:
    return [Operation(kind, revert=(f"drop {what} {display}",), facts={"name": display, **facts})]


def read_enum(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE TYPE … AS ENUM."""
    only(tree, "typeName", "vals")
    tree.typeName, display = _new(tree.typeName, context)
    labels = parse.strings(tree.vals)
    if labels is None or len(set(labels)) != len(labels):
        raise Refused("certain-to-fail", "a value is given twice")
    for label in labels:
        _check_label(label)
    return _made("create_enum", display)


def _check_label(label: str) -> None:
    if len(label.encode()) > NAME_BYTES:
        raise Refused("certain-to-fail", f"a value is longer than {NAME_BYTES} bytes")


def read_composite(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE TYPE … AS (…)."""
    only(tree, "typevar", "coldeflist")
    only(tree.typevar, "schemaname", "relname", "inh", "relpersistence")
    display = context.names.check_new(tree.typevar)
    seen: set[str] = set()
    for item in tree.coldeflist or ():
        only(item, "colname", "typeName", "collClause", "is_local")
        what = f"attribute {item.colname}"
        if item.colname in seen:
            raise Refused("certain-to-fail", f"{what} is given twice")
        seen.add(item.colname)
        context.expressions.prove_type(item.typeName, what)
        context.expressions.prove_collation(item.collClause, what)
    return _made("create_composite_type", display)


def read_range(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE TYPE … AS RANGE over a built-in type in its built-in order, without functions of its own."""
    only(tree, "typeName", "params")
    tree.typeName, display = _new(tree.typeName, context)
    found = options(tree.params)
    for name in found:
        if name not in ("subtype", "multirange_type_name"):
            raise Refused("not-understood", f"{name} of a range type is not understood")
    subtype, multirange = found.get("subtype"), found.get("multirange_type_name")
    if subtype is None or parse.kind_of(subtype) != "TypeName":
        raise Refused("certain-to-fail", "a range type needs a subtype")
    oid = context.expressions.prove_type(subtype, "the subtype")
    if not context.db.query(sql.DEFAULT_ORDER, oid):
        raise Refused("foreign-code", "the subtype is not built in, or has no built-in order")
    if multirange is not None:
        if parse.kind_of(multirange) != "TypeName":
            raise Refused("not-understood", "the name of the multirange is not understood")
        check_bare(multirange)
        multirange.names, _ = _new(multirange.names, context)
    return _made("create_range_type", display)


def read_domain(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE DOMAIN: what its checks and its default call is proved."""
    only(tree, "domainname", "typeName", "collClause", "constraints")
    tree.domainname, display = _new(tree.domainname, context)
    context.expressions.prove_type(tree.typeName, "the domain")
    context.expressions.prove_collation(tree.collClause, "the domain")
    kinds = []
    for item in tree.constraints or ():
        kind = enum(item.contype)
        if kind in ("CONSTR_CHECK", "CONSTR_DEFAULT"):
            only(item, *_CONSTRAINT, "raw_expr")
            columns = {"value": None} if kind == "CONSTR_CHECK" else {}
            context.expressions.prove(item.raw_expr, columns, "the check" if columns else "the default")
        elif kind in ("CONSTR_NOTNULL", "CONSTR_NULL"):
            only(item, *_CONSTRAINT, "keys")
        else:
            raise Refused("not-understood", f"a constraint of kind {kind} is not understood on a domain")
        kinds.append(kind)
    return _made("create_domain", display, "domain", not_null="CONSTR_NOTNULL" in kinds)


def read_alter_enum(tree: Tree, context: Context) -> Sequence[Operation]:
    """ADD VALUE, which no statement takes back, and RENAME VALUE."""
    only(tree, "typeName", "oldVal", "newVal", "newValNeighbor", "newValIsAfter", "skipIfNewValExists")
    row = find(tree.typeName, context, (ENUM,))
    tree.typeName = strings(row["schema"], row["name"])
    labels = [one["label"] for one in context.db.query(sql.LABELS, row["oid"])]
    facts = {"type": row["display"], "value": tree.newVal, "objects": {"types": {row["display"]: row["oid"]}}}
    _check_label(tree.newVal)
    for old in (tree.oldVal, tree.newValNeighbor):
        if old is not None and old not in labels:
            raise Refused("exists", f"{row['display']} has no value {old}")
    if tree.oldVal is not None:
        if tree.newVal in labels:
            raise Refused("name-taken", f"{row['display']} already has a value {tree.newVal}")
        old, new = (context.db.query(sql.LITERAL, one)[0]["literal"] for one in (tree.oldVal, tree.newVal))
        revert = f"alter type {row['display']} rename value {new} to {old}"
        return [Operation("rename_enum_value", revert=(revert,), facts={**facts, "old": tree.oldVal})]
    if tree.newVal in labels:
        if not tree.skipIfNewValExists:
            raise Refused("name-taken", f"{row['display']} already has a value {tree.newVal}")
        return [Operation("add_enum_value", undo="not_needed", facts=facts)]
    return [Operation("add_enum_value", undo="none", facts=facts)]


def read_alter_domain(tree: Tree, context: Context) -> Sequence[Operation]:
    """ALTER DOMAIN: constraints are checked in every table that has a column of it."""
    only(tree, "subtype", "typeName", "name", "def_", "behavior", "missing_ok")
    restrict_only(tree)
    row = find(tree.typeName, context, (DOMAIN,))
    tree.typeName = strings(row["schema"], row["name"])
    if tree.subtype == "T":
        return [_domain_default(tree, row, context)]
    if tree.subtype in ("O", "N"):
        return [_domain_not_null(tree.subtype == "O", row, context)]
    if tree.subtype == "C":
        return [_domain_add(tree.def_, row, context)]
    if tree.subtype in ("V", "X"):
        return [_domain_constraint(tree, row, context)]
    raise Refused("not-understood", "this change of a domain is not understood")


def _facts(row: Row, **more: Any) -> dict[str, Any]:
    return {"domain": row["display"], **more, "objects": {"types": {row["display"]: row["oid"]}}}


def _domain_default(tree: Tree, row: Row, context: Context) -> Operation:
    _check_type(row, context)
    context.expressions.prove(tree.def_, {}, "the default")
    old, head = row["default_sql"], f"alter domain {row['display']}"
    revert = f"{head} drop default" if old is None else f"{head} set default {old}"
    kind = "domain_drop_default" if tree.def_ is None else "domain_set_default"
    return Operation(kind, revert=(revert,), facts=_facts(row, had_default=old is not None))


def _check_type(row: Row, context: Context) -> None:
    """Refused for a domain over a type with casts or operators of a user, which an expression would reach."""
    node = parse.ast.TypeName(names=strings(row["schema"], row["name"]), typemod=-1)
    context.expressions.prove_type(node, "the domain")


def _domain_not_null(wanted: bool, row: Row, context: Context) -> Operation:
    kind = "domain_set_not_null" if wanted else "domain_drop_not_null"
    if wanted == row["not_null"]:
        return Operation(kind, undo="not_needed", facts=_facts(row, tables=[]))
    revert = f"alter domain {row['display']} {'drop' if wanted else 'set'} not null"
    if wanted:
        return _checked(kind, row, context, revert=(revert,))
    return Operation(kind, revert=(revert,), facts=_facts(row, weakens=True))


def _domain_add(item: Tree, row: Row, context: Context) -> Operation:
    if enum(item.contype) != "CONSTR_CHECK":
        raise Refused("not-understood", "only checks can be added to a domain here")
    only(item, *_CONSTRAINT, "raw_expr", "skip_validation")
    _check_type(row, context)
    context.expressions.prove(item.raw_expr, {"value": None}, "the check")
    taken = {one["name"] for one in context.db.query(sql.DOMAIN_CONSTRAINTS, row["oid"])}
    if item.conname in taken:
        raise Refused("name-taken", f"{row['display']} already has a constraint {item.conname}")
    if not item.conname:
        base = f"{shortened(row['name'], NAME_BYTES - 9)}_check"
        item.conname = next(one for one in (base, *(f"{base}{number}" for number in range(1, 999))) if one not in taken)
    name, head = context.names.display(item.conname), f"alter domain {row['display']}"
    revert = f"{head} drop constraint {name}"
    more = {"constraint": item.conname, "not_valid": bool(item.skip_validation)}
    if item.skip_validation:
        return Operation("domain_add_constraint", revert=(revert,), facts=_facts(row, tables=[], **more))
    return _checked("domain_add_constraint", row, context, revert=(revert,), safer=_not_valid(item, row, name), **more)


def _not_valid(item: Tree, row: Row, name: str) -> tuple[str, ...]:
    again = parse.parse_one(f"alter domain {row['display']} add constraint x check (true) not valid")
    again.def_.conname, again.def_.raw_expr = item.conname, item.raw_expr
    return (parse.deparse(again), f"alter domain {row['display']} validate constraint {name}")


def _domain_constraint(tree: Tree, row: Row, context: Context) -> Operation:
    """VALIDATE and DROP CONSTRAINT."""
    only(tree, "subtype", "typeName", "name", "behavior", "missing_ok")
    drops = tree.subtype == "X"
    found = {one["name"]: one for one in context.db.query(sql.DOMAIN_CONSTRAINTS, row["oid"])}.get(tree.name)
    if found is None:
        if drops and tree.missing_ok:
            return Operation("domain_drop_constraint", undo="not_needed", facts=_facts(row, constraint=None))
        raise Refused("exists", f"{row['display']} has no constraint {tree.name}")
    if not drops and not found["validated"]:
        return _checked("domain_validate", row, context, undo="not_needed", constraint=tree.name)
    if not drops:
        return Operation("domain_validate", undo="not_needed", facts=_facts(row, constraint=tree.name, tables=[]))
    name = context.names.display(tree.name)
    revert = f"alter domain {row['display']} add constraint {name} {found['definition']}"
    return Operation("domain_drop_constraint", revert=(revert,), facts=_facts(row, constraint=tree.name, weakens=True))


def _checked(
    kind: str,
    row: Row,
    context: Context,
    *,
    undo: str = "exact",
    revert: tuple[str, ...] = (),
    safer: tuple[str, ...] = (),
    **more: Any,
) -> Operation:
    """Reads each table with a column of the domain, one after the other, and lets nobody write to any meanwhile."""
    if hidden := context.db.query(sql.DOMAIN_HIDDEN, row["oid"]):
        raise Refused("not-understood", f"{row['display']} is used within {hidden[0]['name']}")
    tables = [context.names.of(one["oid"]) for one in context.db.query(sql.DOMAIN_TABLES, row["oid"])]
    return Operation(
        kind,
        others={table.display: locks.SHARE for table in tables},
        work=SCAN if any(not table.is_empty for table in tables) else BRIEF,
        worked=max(tables, key=lambda table: table.bytes, default=None),
        undo=undo,
        revert=revert,
        safer=safer if tables else (),
        facts=_facts(row, tables=[table.display for table in tables], **more),
    )
