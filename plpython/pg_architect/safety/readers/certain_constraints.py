"""What the server would refuse about keys, references and partitions."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.core.db import Row
from pg_architect.safety import parse, volatility
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain_queries as sql
from pg_architect.safety.readers.certain import also, check_no_primary_key, check_text, fails
from pg_architect.safety.readers.fields import enum
from pg_architect.safety.relation import Relation

_EXCLUSIONS_OVER_PARTITIONS, _NOT_VALID_OVER_PARTITIONS = 170000, 180000
_STRATEGIES = {"l": "list", "r": "range", "h": "hash"}


def check_constraint(item: Tree, relation: Relation, context: Context) -> None:
    """Refused for a constraint that cannot be added to a table that is there."""
    kind = enum(item.contype)
    if kind == "CONSTR_PRIMARY":
        check_no_primary_key(relation, context)
    if kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY") and not item.indexname:
        names = parse.strings(item.keys) or []
        check_once(names, "the key")
        check_partition_key(names, relation, context)
    elif kind == "CONSTR_EXCLUSION" and relation.kind == "p":
        if context.version < _EXCLUSIONS_OVER_PARTITIONS:
            raise fails(f"{relation.display} is partitioned: this server has no exclusion constraints there")
        check_partition_key([element.name for element, _ in item.exclusions if element.name], relation, context)
    elif kind == "CONSTR_FOREIGN":
        _check_foreign_key(item, relation, context)


def check_once(names: Sequence[str], what: str) -> None:
    """Refused where a column stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise fails(f"{what} names {twice[0]} twice")


def check_partition_key(names: Sequence[str], relation: Relation, context: Context) -> None:
    """Refused for a unique key of a partitioned table without all of its partition key."""
    for row in context.db.query(sql.PARTITION_KEY, relation.oid) if relation.kind == "p" else ():
        numbers = {one["number"]: name for name, one in relation.columns(context.db).items()}
        if 0 in row["columns"]:
            raise fails(f"{relation.display} is partitioned by an expression: it can have no unique key")
        check_has_partition_key(names, [numbers[number] for number in row["columns"]], relation.display)


def check_has_partition_key(names: Sequence[str], key: Sequence[str], display: str) -> None:
    """The same, where the columns of both are known."""
    missing = [name for name in key if name not in names]
    if missing:
        raise fails(f"{display} is partitioned by {', '.join(key)}: a unique key has to include {', '.join(missing)}")


def _check_foreign_key(item: Tree, relation: Relation, context: Context) -> None:
    if relation.kind == "p" and item.skip_validation and context.version < _NOT_VALID_OVER_PARTITIONS:
        raise fails(f"{relation.display} is partitioned: this server has no foreign keys that are not valid there")
    columns = context.columns(relation)
    types = [columns[name]["type_oid"] if name in columns else None for name in parse.strings(item.fk_attrs) or []]
    referenced = context.names.resolve(item.pktable, ("r", "p"))
    if relation.row["persistence"] == "p" and referenced.row["persistence"] == "u":
        raise fails(f"{referenced.display} is unlogged, which {relation.display} is not: it cannot refer to it")
    if also(context, "AT_AlterColumnType"):
        types = [None] * len(types)
    if referenced.oid == relation.oid and len(context.commands) > 1:
        return
    check_reference(parse.strings(item.pk_attrs) or [], types, referenced, context)


def check_reference(names: Sequence[str], types: Sequence[int | None], referenced: Relation, context: Context) -> None:
    """Refused for a foreign key to what is no key, or of types that cannot be compared.

    ``names`` are the referenced columns, none for the primary key; ``types`` those of the referring columns.
    """
    columns = referenced.columns(context.db)
    keys = _keys(referenced, context)
    if not names:
        primary = [key for key in keys if key["is_primary"]]
        if not primary:
            raise fails(f"{referenced.display} has no primary key")
        by_number = {row["number"]: name for name, row in columns.items()}
        names = [by_number[number] for number in primary[0]["columns"]]
    if len(names) != len(types):
        raise fails(f"{len(types)} columns refer to {len(names)}: {', '.join(names)}")
    check_once(names, "the foreign key")
    if any(name not in columns for name in names):
        return  # which is said elsewhere
    _check_key(names, {columns[name]["number"] for name in names}, keys, referenced)
    for name, own in zip(names, types, strict=True):
        theirs = volatility.known_type(context.db, columns[name]["type_oid"])
        if theirs is None or volatility.known_type(context.db, own) is None:
            continue
        for row in context.db.query(sql.REFERS, own, theirs["oid"]):
            raise fails(f"{name} of {referenced.display} is {row['key_type']}, to which no {row['type']} can refer")


def _check_key(names: Sequence[str], numbers: set[int], keys: Sequence[Row], referenced: Relation) -> None:
    found = [key for key in keys if key["columns"] and set(key["columns"]) == numbers]
    if not found and not any(set(key["prefix"][: len(numbers)]) == numbers for key in keys):
        raise fails(f"{referenced.display} has no unique constraint or index on ({', '.join(names)}) alone")
    if found and all(key["deferrable"] for key in found):
        raise fails(f"the unique constraint of {referenced.display} on ({', '.join(names)}) is deferrable")


def _keys(referenced: Relation, context: Context) -> list[Row]:
    """Its unique keys; how many of an index's columns are key is not known of those that a script makes."""
    try:
        return [{**row, "prefix": []} for row in context.db.query(sql.KEYS, referenced.oid)]
    except Refused:
        return [
            {
                "columns": one["columns"] if one["is_primary"] else [],
                "prefix": one["columns"],
                "is_primary": one["is_primary"],
                "deferrable": False,
            }
            for one in referenced.indexes(context.db)
            if one["is_unique"] and one["valid"] and not one["has_expressions"] and not one["is_partial"]
        ]


def check_bound(bound: Tree, parent: Relation, default: Relation | None, context: Context) -> None:
    """Refused for a bound of another strategy or type, and for a second default partition."""
    if bound.is_default and default is not None:
        raise fails(f"{parent.display} has a default partition already: {default.display}")
    for row in context.db.query(sql.PARTITION_KEY, parent.oid):
        strategy = row["strategy"]
        if bound.is_default:
            if strategy == "h":
                raise fails(f"{parent.display} is partitioned by hash: it can have no default partition")
            return
        if bound.strategy != strategy:
            other = _STRATEGIES.get(bound.strategy, "another way")
            raise fails(f"{parent.display} is partitioned by {_STRATEGIES[strategy]}, and the bound is one of {other}")
        _check_datums(bound, row["columns"], parent, context)


def _check_datums(bound: Tree, key: Sequence[int], parent: Relation, context: Context) -> None:
    types = {row["number"]: row["type_oid"] for row in parent.columns(context.db).values()}
    lists = [bound.lowerdatums, bound.upperdatums] if bound.strategy == "r" else []
    for datums in lists:
        if len(datums or ()) != len(key):
            raise fails(f"{parent.display} is partitioned by {len(key)} columns, and the bound has {len(datums or ())}")
    pairs = [pair for datums in lists for pair in zip(datums, key, strict=True)]
    pairs += [(datum, key[0]) for datum in (bound.listdatums or ())]
    for datum, number in pairs:
        row = volatility.known_type(context.db, types.get(number))
        if row is not None and kind_of(datum) == "A_Const" and not datum.isnull and kind_of(datum.val) == "String":
            check_text(str(datum.val.sval), row, "the bound", context)


def check_attached(child: Relation, parent: Relation, context: Context) -> None:
    """Refused for a table that cannot become a partition, as it is another's or has other columns."""
    if child.row["is_partition"] or child.row["is_child"] or (child.kind == "r" and child.row["has_children"]):
        raise fails(f"{child.display} is a partition already, or inherits")
    own, wanted = child.columns(context.db), parent.columns(context.db)
    odd = [*(name for name in own if name not in wanted), *(name for name in wanted if name not in own)]
    if odd:
        raise fails(f"{child.display} and {parent.display} do not have the same columns: {', '.join(odd[:5])}")
    for name, row in wanted.items():
        there = own[name]
        if (there["type_oid"], there["typmod"]) != (row["type_oid"], row["typmod"]):
            raise fails(f"column {name} is {there['type']} in {child.display} and {row['type']} in {parent.display}")
        if row["not_null"] and not there["not_null"]:
            raise fails(f"column {name} may be null in {child.display} and not in {parent.display}")
        if there["collation_oid"] != row["collation_oid"]:
            raise fails(f"column {name} has another collation in {child.display} than in {parent.display}")
    checks = child.constraints(context.db)
    for name, one in parent.constraints(context.db).items():
        if one["type"] == "c" and (name not in checks or checks[name]["type"] != "c"):
            raise fails(f"{child.display} lacks the check {name} of {parent.display}")
