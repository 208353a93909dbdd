"""ADD, VALIDATE and DROP CONSTRAINT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pg_architect.core.db import Row
from pg_architect.safety import locks, parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, BUILD, SCAN, Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain_constraints, create_queries
from pg_architect.safety.readers.column import existing
from pg_architect.safety.readers.fields import enum, only, options, restrict_only
from pg_architect.safety.relation import Relation

_COMMON = ("contype", "conname", "is_enforced", "initially_valid", "deferrable", "initdeferred")


def read_add(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ADD CONSTRAINT of every kind."""
    only(command, "subtype", "def_", "behavior")
    item = command.def_
    if item.conname and item.conname in relation.constraints(context.db):
        raise Refused("name-taken", f"{relation.display} already has a constraint {item.conname}")
    certain_constraints.check_constraint(item, relation, context)
    kind = enum(item.contype)
    if kind == "CONSTR_CHECK":
        return [_check(item, relation, context)]
    if kind == "CONSTR_FOREIGN":
        return [_foreign_key(item, relation, context)]
    if kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        return [_unique(item, relation, context)]
    if kind == "CONSTR_EXCLUSION":
        return [_exclusion(item, relation, context)]
    raise Refused("not-understood", f"a constraint of kind {kind} is not understood")


def read_validate(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """VALIDATE CONSTRAINT: reads the table, and blocks neither readers nor writers."""
    only(command, "subtype", "name", "behavior")
    found = relation.constraints(context.db).get(command.name)
    if found is None:
        raise Refused("exists", f"{relation.display} has no constraint {command.name}")
    others = {}
    if found["type"] == "f":
        others[context.names.of(found["referenced_oid"]).display] = "RowShareLock"
    return [
        Operation(
            "validate_constraint",
            relation,
            locks.SHARE_UPDATE_EXCLUSIVE,
            others,
            work=BRIEF if found["validated"] else SCAN,
            undo="not_needed",
            facts={"constraint": command.name},
        )
    ]


def read_drop(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP CONSTRAINT, without CASCADE; the way back makes and checks it again."""
    only(command, "subtype", "name", "behavior", "missing_ok")
    restrict_only(command)
    found = relation.constraints(context.db).get(command.name)
    if found is None and command.missing_ok:
        return [Operation("drop_constraint", relation, locks.ACCESS_EXCLUSIVE, undo="not_needed")]
    if found is None:
        raise Refused("exists", f"{relation.display} has no constraint {command.name}")
    if found["referenced_by"]:
        raise Refused("certain-to-fail", f"{command.name} is needed by foreign keys of other tables")
    others: dict[str, str] = {}
    if found["type"] == "f" and found["referenced_oid"] != relation.oid:
        others |= context.with_parts(context.names.of(found["referenced_oid"]), locks.ACCESS_EXCLUSIVE)
    name = context.names.display(command.name)
    definition = context.db.query(sql.CONSTRAINT_TEXT, found["oid"])[0]["text"]
    return [
        Operation(
            "drop_constraint",
            relation,
            locks.ACCESS_EXCLUSIVE,
            others,
            undo="rebuild" if found["index_oid"] and found["type"] != "f" else "exact",
            revert=_added_again(relation, name, definition, found),
            facts={"constraint": command.name, "type": found["type"]},
        )
    ]


def _added_again(relation: Relation, name: str, definition: str, found: Row) -> tuple[str, ...]:
    """ADD CONSTRAINT as it was; what can be is validated by itself, so that nobody waits for it."""
    head = f"alter table {relation.display}"
    if found["type"] not in ("c", "f") or not found["validated"] or relation.kind == "p":
        return (f"{head} add constraint {name} {definition}",)
    return (f"{head} add constraint {name} {definition} not valid", f"{head} validate constraint {name}")


def _revert(item: Tree, suffix: str, relation: Relation, context: Context) -> tuple[str, ...]:
    """DROP of the constraint under the name that it gets, which the tree is given if it leaves it to the server."""
    if not item.conname:
        taken = set(relation.constraints(context.db))
        base = f"{relation.name}_{suffix}"[:60]
        item.conname = (
            base
            if base not in taken
            else next(f"{base}{number}" for number in range(1, 1000) if f"{base}{number}" not in taken)
        )
    return (f"alter table {relation.display} drop constraint {context.names.display(item.conname)}",)


def _check(item: Tree, relation: Relation, context: Context) -> Operation:
    only(item, *_COMMON, "raw_expr", "skip_validation", "is_no_inherit")
    columns = context.columns(relation)
    problems = {name: row["problem"] for name, row in columns.items()}
    used = context.expressions.prove(item.raw_expr, problems, "the check").columns
    revert = _revert(item, "_".join([*sorted(used)[:1], "check"]), relation, context)
    return Operation(
        "add_check",
        relation,
        locks.ACCESS_EXCLUSIVE,
        work=BRIEF if item.skip_validation else SCAN,
        revert=revert,
        safer=() if item.skip_validation else _not_valid_first(item, relation, context),
        facts={"not_valid": bool(item.skip_validation), "constraint": item.conname},
    )


def _foreign_key(item: Tree, relation: Relation, context: Context) -> Operation:
    only(
        item, *_COMMON, "pktable", "fk_attrs", "pk_attrs", "fk_matchtype", "fk_upd_action", "fk_del_action",
        "fk_del_set_cols", "skip_validation",
    )  # fmt: skip
    only(item.pktable, "schemaname", "relname", "inh", "relpersistence")
    referenced = context.names.resolve(item.pktable, ("r", "p"))
    names = parse.strings(item.fk_attrs) or []
    rows = [existing(name, relation, context) for name in names]
    targets = [existing(name, referenced, context) for name in parse.strings(item.pk_attrs) or []]
    for row in (*rows, *targets):
        if row["problem"] is not None:
            raise Refused("foreign-code", row["problem"])
    for row in context.db.query(create_queries.USER_MADE_KEY, referenced.oid):
        raise Refused("foreign-code", row["problem"])
    revert = _revert(item, "_".join([*names, "fkey"]), relation, context)
    numbers = [row["number"] for row in rows]
    indexed = any(
        one["columns"][: len(numbers)] and set(one["columns"][: len(numbers)]) == set(numbers) and not one["is_partial"]
        for one in relation.indexes(context.db)
    )
    others = {} if referenced.oid == relation.oid else context.with_parts(referenced, locks.SHARE_ROW_EXCLUSIVE)
    facts: dict[str, Any] = {
        "not_valid": bool(item.skip_validation),
        "constraint": item.conname,
        "referenced": referenced.display,
        "indexed": indexed,
        "actions": [item.fk_del_action, item.fk_upd_action],
        "objects": {"referenced_oid": referenced.oid},
    }
    return Operation(
        "add_foreign_key",
        relation,
        locks.SHARE_ROW_EXCLUSIVE,
        others,
        work=BRIEF if item.skip_validation else SCAN,
        revert=revert,
        safer=() if item.skip_validation else _not_valid_first(item, relation, context),
        facts=facts,
    )


def _not_valid_first(item: Tree, relation: Relation, context: Context) -> tuple[str, ...]:
    tree = parse.parse_one(f"alter table {relation.display} add constraint x check (true) not valid")
    again = parse.parse_one(parse.deparse(tree))
    item.skip_validation, item.initially_valid = True, False
    again.cmds[0].def_ = item
    first = parse.deparse(again)
    item.skip_validation, item.initially_valid = False, True
    return (first, f"alter table {relation.display} validate constraint {context.names.display(item.conname)}")


def _unique(item: Tree, relation: Relation, context: Context) -> Operation:
    only(item, *_COMMON, "keys", "including", "options", "indexname", "nulls_not_distinct")
    primary = enum(item.contype) == "CONSTR_PRIMARY"
    columns = context.columns(relation)
    facts: dict[str, Any] = {"primary": primary, "using_index": item.indexname, "nullable": []}
    if item.indexname:
        return _using_index(item, relation, context, facts)
    names = parse.strings(item.keys) or []
    for name in [*names, *(parse.strings(item.including) or [])]:
        row = existing(name, relation, context)
        if row["problem"] is not None:
            raise Refused("foreign-code", row["problem"])
    if options(item.options).keys() - {"fillfactor"}:
        raise Refused("not-understood", "options of the constraint's index are not understood")
    suffix = "pkey" if primary else "_".join([*names, "key"])
    revert = _revert(item, suffix, relation, context)
    facts |= {
        "keys": len(names),
        "constraint": item.conname,
        "nullable": [name for name in names if primary and not columns[name]["not_null"]],
    }
    quoted = ", ".join(context.names.display(name) for name in names)
    index, word = context.names.display(item.conname), "primary key" if primary else "unique"
    concurrently = (
        f"create unique index concurrently {index} on {relation.display} ({quoted})",
        f"alter table {relation.display} add constraint {index} {word} using index {index}",
    )
    plain = relation.kind == "r" and not item.including and not item.nulls_not_distinct and not item.options
    return Operation(
        "add_primary_key" if primary else "add_unique",
        relation,
        locks.ACCESS_EXCLUSIVE,
        work=BUILD,
        revert=revert + _nullable_again(facts["nullable"], relation, context),
        safer=concurrently if plain else (),
        facts=facts,
    )


def _nullable_again(columns: Sequence[str], relation: Relation, context: Context) -> tuple[str, ...]:
    """A primary key makes its columns NOT NULL, and they stay so without it."""
    return tuple(
        f"alter table {relation.display} alter column {context.names.display(name)} drop not null" for name in columns
    )


def _using_index(item: Tree, relation: Relation, context: Context, facts: dict[str, Any]) -> Operation:
    index = next((one for one in relation.indexes(context.db) if one["name"] == item.indexname), None)
    if index is None:
        raise Refused("exists", f"{relation.display} has no index {item.indexname}")
    if not index["is_unique"] or not index["valid"] or index["has_expressions"] or index["is_partial"]:
        raise Refused("certain-to-fail", f"{index['display']} is not a plain valid unique index")
    columns = context.columns(relation)
    nullable = [row["name"] for row in columns.values() if row["number"] in index["columns"] and not row["not_null"]]
    if not item.conname:
        item.conname = item.indexname
    facts |= {"constraint": item.conname, "nullable": nullable if facts["primary"] else []}
    # DROP CONSTRAINT takes the index with it, so that the way back has to build it again.
    revert = f"alter table {relation.display} drop constraint {context.names.display(item.conname)}"
    return Operation(
        "add_primary_key" if facts["primary"] else "add_unique",
        relation,
        locks.ACCESS_EXCLUSIVE,
        work=SCAN if facts["nullable"] else BRIEF,
        undo="rebuild",
        revert=(
            revert,
            *_nullable_again(facts["nullable"], relation, context),
            str(context.db.query(sql.INDEX_TEXT, index["oid"])[0]["text"]),
        ),
        facts=facts,
    )


def _exclusion(item: Tree, relation: Relation, context: Context) -> Operation:
    only(item, *_COMMON, "exclusions", "access_method", "where_clause", "options")
    if item.access_method not in ("btree", "hash", "gist", "spgist") or item.options:
        raise Refused("not-understood", "this exclusion constraint is not understood")
    columns = context.columns(relation)
    problems = {name: row["problem"] for name, row in columns.items()}
    context.expressions.prove(item.where_clause, problems, "the predicate")
    if added := context.db.query(create_queries.ADDED_OPCLASS, item.access_method):
        raise Refused("foreign-code", f"the constraint may get the operator class {added[0]['name']}")
    for element, operator in item.exclusions:
        only(element, "name", "expr", "ordering", "nulls_ordering")
        names = parse.strings(operator) if isinstance(operator, tuple) else None
        if kind_of(element) != "IndexElem" or not names or len(names) > 1:
            raise Refused("foreign-code", "an exclusion constraint uses an operator that is not built in")
        if (problem := context.expressions.catalogue.operator_problem(names[0])) is not None:
            raise Refused("foreign-code", problem)
        context.expressions.prove(element.expr, problems, "the exclusion")
        if element.name is not None and existing(element.name, relation, context)["problem"] is not None:
            raise Refused("foreign-code", problems[element.name] or "")
    revert = _revert(item, "excl", relation, context)
    return Operation(
        "add_exclusion", relation, locks.ACCESS_EXCLUSIVE, work=BUILD, revert=revert, facts={"constraint": item.conname}
    )
