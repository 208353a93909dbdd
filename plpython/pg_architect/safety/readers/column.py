"""Subcommands of ALTER TABLE on a column that is there."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.core.db import Row
from pg_architect.safety import locks
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, SCAN, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import certain, certain_queries
from pg_architect.safety.readers.fields import only, options, restrict_only, value_text
from pg_architect.safety.relation import Relation

_STORAGE = {"p": "plain", "e": "external", "m": "main", "x": "extended"}
_COMPRESSION = {"": "default", "p": "pglz", "l": "lz4"}


def existing(name: str, relation: Relation, context: Context) -> Row:
    """What the catalogue says about a column; Refused if there is none of that name."""
    row = context.columns(relation).get(name)
    if row is None:
        raise Refused("exists", f"{relation.display} has no column {name}")
    return row


def prefix(name: str, relation: Relation, context: Context) -> str:
    """``alter table t alter column c``, as revert statements begin."""
    what = {"i": "index", "I": "index", "m": "materialized view", "v": "view"}.get(relation.kind, "table")
    return f"alter {what} {relation.display} alter column {context.names.display(name)}"


def read_drop(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP COLUMN, without CASCADE."""
    only(command, "subtype", "name", "behavior", "missing_ok")
    restrict_only(command)
    if command.missing_ok and command.name not in context.columns(relation):
        return [Operation("drop_column", relation, locks.ACCESS_EXCLUSIVE, undo="not_needed", facts={"column": None})]
    row = existing(command.name, relation, context)
    fate = context.db.query(certain_queries.COLUMN_FATE, relation.oid, row["number"])
    objects = {
        how: [one["object"] for one in fate if one["how"] == how] for how in ("stays", "goes", "key", "inherited")
    }
    if not certain.also(context, "AT_DropColumn", "AT_DropConstraint", "AT_DropExpression", but=command):
        objects["stays"] += [one["object"] for one in fate if one["how"] == "stays, own"]
    if objects["key"]:
        raise Refused("certain-to-fail", f"{command.name} is in the partition key of {relation.display}")
    if objects["inherited"]:
        raise Refused("certain-to-fail", f"{command.name} is inherited: drop it from the table that it comes from")
    if stays := objects["stays"]:
        more = f" and {len(stays) - 3} more" if len(stays) > 3 else ""
        detail = f"column {command.name} of {relation.display} is needed by {', '.join(stays[:3])}{more}"
        raise Refused("certain-to-fail", detail, dependents=stays[:20])
    dependent = context.db.query(sql.COLUMN_DEPENDENTS, relation.oid, row["number"])
    facts = {"column": command.name, "dependents": [one["object"] for one in dependent], "goes_too": objects["goes"]}
    others: dict[str, str] = {}
    for one in context.db.query(sql.FOREIGN_KEYS_OVER, relation.oid, row["number"]):
        others |= context.with_parts(context.names.of(one["oid"]), locks.ACCESS_EXCLUSIVE)
    return [Operation("drop_column", relation, locks.ACCESS_EXCLUSIVE, others, undo="none", facts=facts)]


def read_default(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET DEFAULT and DROP DEFAULT."""
    only(command, "subtype", "name", "def_", "behavior")
    row = existing(command.name, relation, context)
    alone = not certain.also(context, *certain.CHANGE_VALUE, column=command.name)
    if alone and (row["identity"] or row["generated"]):
        what = "generated" if row["generated"] else "an identity column"
        raise Refused("certain-to-fail", f"{command.name} is {what}, which has no default")
    context.expressions.prove(command.def_, {}, "the default")
    if alone:
        certain.check_default(command.def_, row["type_oid"], f"column {command.name}", context)
    if command.def_ is not None and row["problem"] is not None:
        raise Refused("foreign-code", f"the default is converted to the column's type: {row['problem']}")
    head, old = prefix(command.name, relation, context), None
    if row["has_default"] and not row["generated"]:
        old = context.db.query(sql.DEFAULT_TEXT, relation.oid, row["number"])[0]["text"]
    revert = f"{head} drop default" if old is None else f"{head} set default {old}"
    kind = "drop_default" if command.def_ is None else "set_default"
    facts = {"column": command.name, "not_null": row["not_null"], "had_default": old is not None}
    return [Operation(kind, relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts=facts)]


def read_set_not_null(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET NOT NULL, which reads the table unless a validated check proves that there is no null."""
    only(command, "subtype", "name", "behavior")
    row = existing(command.name, relation, context)
    column = context.names.display(command.name)
    check = f"CHECK (({column} IS NOT NULL))"
    proved = any(
        context.db.query(sql.CONSTRAINT_TEXT, one["oid"])[0]["text"].startswith(check)
        for one in relation.constraints(context.db).values()
        if one["type"] == "c" and one["validated"] and one["columns"] == [row["number"]]
    )
    noop = row["not_null"]
    name = context.names.display(f"{relation.name}_{command.name}_not_null"[:63])
    head = f"alter table {relation.display}"
    return [
        Operation(
            "set_not_null",
            relation,
            locks.ACCESS_EXCLUSIVE,
            work=BRIEF if proved or noop else SCAN,
            undo="not_needed" if noop else "exact",
            revert=() if noop else (f"{prefix(command.name, relation, context)} drop not null",),
            safer=()
            if proved or noop
            else (
                f"{head} add constraint {name} check ({column} is not null) not valid",
                f"{head} validate constraint {name}",
                f"{head} alter column {column} set not null",
                f"{head} drop constraint {name}",
            ),
            facts={"column": command.name, "proved": proved or noop},
        )
    ]


def read_drop_not_null(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP NOT NULL."""
    only(command, "subtype", "name", "behavior")
    row = existing(command.name, relation, context)
    revert = (f"{prefix(command.name, relation, context)} set not null",) if row["not_null"] else ()
    facts = {"column": command.name, "weakens": row["not_null"]}
    return [
        Operation(
            "drop_not_null", relation, locks.ACCESS_EXCLUSIVE, undo="exact" if revert else "not_needed",
            revert=revert, facts=facts,
        )
    ]  # fmt: skip


def read_drop_expression(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP EXPRESSION of a generated column; no statement makes it generated again but on a new column."""
    only(command, "subtype", "name", "behavior", "missing_ok")
    existing(command.name, relation, context)
    return [Operation("drop_expression", relation, locks.ACCESS_EXCLUSIVE, undo="none", facts={"column": command.name})]


def read_add_identity(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ADD GENERATED AS IDENTITY to a column that is not null: a new sequence, no rewrite."""
    only(command, "subtype", "name", "def_", "behavior")
    only(command.def_, "contype", "generated_when", "options", "is_enforced", "initially_valid")
    identity_options(command.def_.options)
    row = existing(command.name, relation, context)
    if not certain.also(context, *certain.CHANGE_VALUE, "AT_SetNotNull", "AT_ColumnDefault", column=command.name):
        certain.check_add_identity(row, relation, context)
    revert = f"{prefix(command.name, relation, context)} drop identity"
    return [
        Operation("add_identity", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts={"column": command.name})
    ]


def read_set_identity(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET GENERATED and options of an identity column; the sequence's earlier options are not written back."""
    only(command, "subtype", "name", "def_", "behavior")
    identity_options([item for item in command.def_ if item.defname != "generated"])
    row = existing(command.name, relation, context)
    words = {"a": "always", "d": "by default"}
    only_generated = all(item.defname == "generated" for item in command.def_) and row["identity"] in words
    head = prefix(command.name, relation, context)
    revert = (f"{head} set generated {words[row['identity']]}",) if only_generated else ()
    return [
        Operation(
            "set_identity", relation, locks.ACCESS_EXCLUSIVE, undo="exact" if revert else "none", revert=revert,
            facts={"column": command.name},
        )
    ]  # fmt: skip


def read_drop_identity(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP IDENTITY, which drops the sequence with its position."""
    only(command, "subtype", "name", "behavior", "missing_ok")
    existing(command.name, relation, context)
    return [Operation("drop_identity", relation, locks.ACCESS_EXCLUSIVE, undo="none", facts={"column": command.name})]


def identity_options(items: Sequence[Tree] | None) -> None:
    """Refused for options of a sequence that are not plain numbers or words."""
    known = {"start", "increment", "minvalue", "maxvalue", "cache", "cycle", "restart"}
    for name, value in options(tuple(items or ())).items():
        if name not in known:
            raise Refused("not-understood", f"option {name} of a sequence is not understood here")
        value_text(value)


def read_statistics(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET STATISTICS of a column, or of an index expression by its number."""
    only(command, "subtype", "name", "num", "def_", "behavior")
    lock = locks.SHARE_UPDATE_EXCLUSIVE
    columns = context.columns(relation)
    if command.name is None:
        row = next((row for row in columns.values() if row["number"] == command.num), None)
        head = f"alter index {relation.display} alter column {command.num}"
    else:
        row, head = existing(command.name, relation, context), prefix(command.name, relation, context)
    if row is None:
        raise Refused("exists", f"{relation.display} has no column {command.num}")
    old = -1 if row["statistics"] is None else row["statistics"]
    return [
        Operation(
            "set_statistics", relation, lock, revert=(f"{head} set statistics {old}",), facts={"column": row["name"]}
        )
    ]


def read_options(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET and RESET of n_distinct and n_distinct_inherited."""
    only(command, "subtype", "name", "def_", "behavior")
    row = existing(command.name, relation, context)
    wanted = options(command.def_)
    for name, value in wanted.items():
        if name not in ("n_distinct", "n_distinct_inherited"):
            raise Refused("not-understood", f"attribute option {name} is not understood")
        value_text(value)
    old = dict(item.split("=", 1) for item in row["options"] or ())
    head = prefix(command.name, relation, context)
    revert = [f"{head} set ({name} = {old[name]})" if name in old else f"{head} reset ({name})" for name in wanted]
    return [
        Operation(
            "set_column_options", relation, locks.SHARE_UPDATE_EXCLUSIVE, revert=tuple(revert),
            facts={"column": command.name},
        )
    ]  # fmt: skip


def read_storage(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET STORAGE: for rows written from now on."""
    only(command, "subtype", "name", "def_", "behavior")
    row = existing(command.name, relation, context)
    if (value_text(command.def_) or "").lower() not in (*_STORAGE.values(), "default"):
        raise Refused("not-understood", "this storage strategy is not understood")
    revert = f"{prefix(command.name, relation, context)} set storage {_STORAGE[row['storage']]}"
    return [
        Operation("set_storage", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts={"column": command.name})
    ]


def read_compression(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """SET COMPRESSION: for values written from now on."""
    only(command, "subtype", "name", "def_", "behavior")
    row = existing(command.name, relation, context)
    if (value_text(command.def_) or "").lower() not in _COMPRESSION.values():
        raise Refused("not-understood", "this compression method is not understood")
    revert = f"{prefix(command.name, relation, context)} set compression {_COMPRESSION[row['compression']]}"
    return [
        Operation("set_compression", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts={"column": command.name})
    ]
