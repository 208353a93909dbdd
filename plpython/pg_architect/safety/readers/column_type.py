"""ALTER COLUMN TYPE: whether the server keeps the table as it is, reads it, or writes it anew.

As ATColumnChangeRequiresRewrite (tablecmds.c) and the transform functions of varchar, numeric, varbit, timestamp and
interval decide it: a type that is binary-coercible to the new one, with a wider or no limit, is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.core.db import Row
from pg_architect.safety import locks, parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, BUILD, REWRITE, SCAN, Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers.column import existing, prefix
from pg_architect.safety.readers.fields import expression_text, only, restrict_only, type_text
from pg_architect.safety.relation import Relation

# Of these a larger or no modifier means: everything that was allowed still is, in the same bytes.
_LIMITED = {"varchar": "varchar", "varbit": "varbit"}
# Types that hold every value of another, which has an assignment cast back.
_LOSSLESS = {
    "int2": ("int4", "int8", "numeric"),
    "int4": ("int8", "numeric"),
    "int8": ("numeric",),
    "float4": ("float8",),
    "date": ("timestamp",),
    "varchar": ("text",),
    "bpchar": ("text", "varchar"),
}
MOST_PRECISE = 6  # microseconds, as without a modifier
_HEADER = 4  # VARHDRSZ, which is in the modifier of varchar and numeric


def read(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ALTER COLUMN TYPE with or without USING and COLLATE."""
    only(command, "subtype", "name", "def_", "behavior")
    restrict_only(command)
    definition = command.def_
    only(definition, "typeName", "collClause", "raw_default")
    row = existing(command.name, relation, context)
    new_oid = context.expressions.prove_type(definition.typeName, f"column {command.name}")
    if row["problem"] is not None:
        raise Refused("foreign-code", f"the conversion may run code: {row['problem']}")
    context.expressions.prove_collation(definition.collClause, f"column {command.name}")
    problems = {name: one["problem"] for name, one in context.columns(relation).items()}
    context.expressions.prove(definition.raw_default, problems, "the conversion")
    views = [
        one["object"] for one in context.db.query(sql.COLUMN_DEPENDENTS, relation.oid, row["number"]) if one["is_view"]
    ]
    if views:
        raise Refused("certain-to-fail", f"{views[0]} uses the column: the server refuses to change its type")
    kept, because = _is_kept(definition, row, new_oid, context)
    indexed = _indexes(row["number"], relation, context)
    recollated = definition.collClause is not None or _changes_collation(row, new_oid, context)
    work, checks = BRIEF, _checks(row["number"], relation, context)
    if not kept:
        work = REWRITE
    elif indexed and (recollated or _rebuilds(row, new_oid, relation, context)):
        work, because = BUILD, "the indexes on the column are built again"
    elif checks:
        work, because = SCAN, f"{checks[0]} is checked again"
    partners = _referenced(row["number"], relation, context)
    others = {one.display: locks.ACCESS_EXCLUSIVE for one in partners}
    head = prefix(command.name, relation, context)
    undo = "none"
    if kept or _is_lossless(definition, row, new_oid):
        same = new_oid == row["type_oid"] and modifier(definition.typeName) == row["typmod"]
        undo = "exact" if same else "rebuild"  # the way back checks or writes every row
    return [
        Operation(
            "alter_column_type",
            relation,
            locks.ACCESS_EXCLUSIVE,
            others,
            work=work,
            undo=undo,
            revert=() if undo == "none" else (f"{head} type {row['type']}",),
            safer=_expand_and_contract(command.name, definition, relation, context) if work != BRIEF else (),
            facts={
                "column": command.name,
                "from_type": row["type"],
                "because": because,
                "kept": kept,
                "also_read": () if kept else partners,
                "narrower": not kept and modifier(definition.typeName) != -1,
                "fits": undo != "none",
                "builds": max(1, len(indexed)),
                "objects": {"new_type_oid": new_oid},
            },
        )
    ]


def _is_kept(definition: Tree, row: Row, new_oid: int, context: Context) -> tuple[bool, str]:
    """Whether every value stays the same bytes, and why (not)."""
    if definition.raw_default is not None and not _is_plain_using(definition, row["name"]):
        return False, "each value is converted by the expression"
    old, new = row["typmod"], modifier(definition.typeName)
    if new_oid == row["type_oid"]:
        if new is None:
            return False, "what the modifier of the type means is not known"
        name = row["type_name"]
        if new == old or (new == -1 and name in ("varchar", "varbit", "numeric", "timestamp", "timestamptz", "time")):
            return True, "every value stays as it is"
        if name in _LIMITED and old != -1 and new >= old:
            return True, "the limit gets wider"
        if name == "numeric" and old != -1 and _numeric_widens(old, new):
            return True, "the precision gets wider and the scale stays"
        if name in ("timestamp", "timestamptz", "time", "timetz") and (new == MOST_PRECISE or -1 < old <= new):
            return True, "the precision gets wider"
        return False, "values may have to be changed to fit"
    if context.db.query(sql.BINARY_COERCIBLE, row["type_oid"], new_oid) and new == -1:
        return True, "the new type has the same bytes"
    names = {row["type_name"], (parse.strings(definition.typeName.names) or [""])[-1]}
    if names == {"timestamp", "timestamptz"}:
        return False, "each value is converted, unless TimeZone is UTC when it runs"
    return False, "each value is converted"


def _is_lossless(definition: Tree, row: Row, new_oid: int) -> bool:
    """Whether every value comes back as it was by converting it to the old type again."""
    if definition.raw_default is not None and not _is_plain_using(definition, row["name"]):
        return False
    old, new = row["typmod"], modifier(definition.typeName)
    if new_oid == row["type_oid"] and new is not None:
        # A value that does not fit into a narrower text makes the statement fail; a number would be rounded.
        return row["type_name"] in _LIMITED or (
            row["type_name"] == "numeric" and old != -1 and _scale(new) >= _scale(old)
        )
    name = (parse.strings(definition.typeName.names) or [""])[-1]
    if row["type_name"] in ("text", "varchar") and name == "varchar":
        return True  # what is longer than the limit makes the statement fail
    return new == -1 and name in _LOSSLESS.get(row["type_name"], ())


def _is_plain_using(definition: Tree, column: str) -> bool:
    """Whether USING says no more than the statement without it: the column, or the column cast to the new type."""
    node = definition.raw_default
    if kind_of(node) == "TypeCast" and type_text(node.typeName) == type_text(definition.typeName):
        node = node.arg
    return kind_of(node) == "ColumnRef" and parse.strings(node.fields) == [column]


def modifier(node: Tree) -> int | None:
    """The modifier as pg_attribute has it, -1 for none; None for one that is not known here."""
    names, values = parse.strings(node.names) or [], []
    for item in node.typmods or ():
        if kind_of(item) != "A_Const" or kind_of(item.val) != "Integer":
            return None
        values.append(int(item.val.ival))
    if not values:
        return 5 if names[-1] == "bpchar" and len(names) == 2 else -1
    if names[-1] in ("varchar", "bpchar") and len(values) == 1:
        return values[0] + _HEADER
    if names[-1] == "numeric":
        return ((values[0] << 16) | ((values[1] if len(values) > 1 else 0) & 0x7FF)) + _HEADER
    if names[-1] in ("varbit", "bit", "timestamp", "timestamptz", "time", "timetz") and len(values) == 1:
        return values[0]
    return None


def _numeric_widens(old: int, new: int) -> bool:
    precision = [((modifier - _HEADER) >> 16) & 0xFFFF for modifier in (old, new)]
    return precision[1] >= precision[0] and _scale(new) == _scale(old)


def _scale(modifier: int) -> int:
    return (modifier - _HEADER) & 0x7FF


def _indexes(number: int, relation: Relation, context: Context) -> list[str]:
    return [
        one["display"]
        for one in relation.indexes(context.db)
        if number in one["columns"] or one["has_expressions"] or one["is_partial"]
    ]


def _rebuilds(row: Row, new_oid: int, relation: Relation, context: Context) -> bool:
    """Whether indexes are built again although the table is kept: those of expressions, and of another type's order.

    As TryReuseIndex and CheckIndexCompatible (indexcmds.c) decide, on the safe side.
    """
    if any(one["has_expressions"] or one["is_partial"] for one in relation.indexes(context.db)):
        return True
    return new_oid != row["type_oid"] and row["type_name"] not in ("varchar", "text")


def _checks(number: int, relation: Relation, context: Context) -> list[str]:
    constraints = relation.constraints(context.db).items()
    return [name for name, one in constraints if one["type"] == "c" and number in (one["columns"] or ())]


def _referenced(number: int, relation: Relation, context: Context) -> list[Relation]:
    """Tables at the other end of foreign keys over the column, whose constraint is made and checked again."""
    rows = context.db.query(sql.FOREIGN_KEYS_OVER, relation.oid, number)
    return [context.names.of(row["oid"]) for row in rows if row["oid"] != relation.oid]


def _changes_collation(row: Row, new_oid: int, context: Context) -> bool:
    (new,) = context.db.query(
        "select t.typcollation::bigint as oid from pg_catalog.pg_type t where t.oid = $1::oid", new_oid
    )
    return bool(row["collation_oid"] != new["oid"])


def _hanging(name: str, relation: Relation, context: Context) -> list[str]:
    """What a new column does not have by itself: default, not null, identity, indexes, constraints at both ends."""
    row = context.columns(relation)[name]
    kinds = (("not_null", "not null"), ("has_default", "its default"), ("identity", "its identity"))
    found = [words for part, words in kinds if row[part]]
    found += [f"index {one['display']}" for one in relation.indexes(context.db) if row["number"] in one["columns"]]
    constraints = relation.constraints(context.db).items()
    found += [f"constraint {key}" for key, one in constraints if row["number"] in (one["columns"] or ())]
    partners = _referenced(row["number"], relation, context)
    return found + [f"the foreign key with {one.display}" for one in partners]


def _expand_and_contract(name: str, definition: Tree, relation: Relation, context: Context) -> tuple[str, ...]:
    """The new type in a new column, filled in batches, then swapped: nothing is locked for long."""
    type_name = type_text(definition.typeName)
    old, new = context.names.display(name), context.names.display(f"{name}_new"[:63])
    using = f"{old}::{type_name}" if definition.raw_default is None else expression_text(definition.raw_default)
    table, kept = relation.display, context.names.display(f"{name}_old"[:63])
    hanging = ", ".join(_hanging(name, relation, context))
    return (
        f"alter table {table} add column {new} {type_name}",
        f"-- keep {new} up to date with {old} by a trigger, or write both in the application",
        f"-- in batches: update {table} set {new} = {using} where {new} is null",
        *([f"-- before the names are swapped, make for {new} what hangs on {old}: {hanging}"] if hanging else ()),
        f"-- in one transaction with the next: alter table {table} rename column {old} to {kept}",
        f"alter table {table} rename column {new} to {old}",
        f"-- when nothing reads it any more: alter table {table} drop column {kept}",
    )
