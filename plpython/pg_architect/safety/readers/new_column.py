"""ADD COLUMN: free where the value of the old rows is one constant, a rewrite where it is computed row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pg_architect.core.db import Row
from pg_architect.safety import expression_queries as sql
from pg_architect.safety import locks, parse
from pg_architect.safety.catalogue import SYSTEM_COLUMNS
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, BUILD, REWRITE, SCAN, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import certain, create_queries, if_not_exists
from pg_architect.safety.readers.column import identity_options
from pg_architect.safety.readers.fields import enum, expression_text, only, options, type_text
from pg_architect.safety.relation import Relation


class Made(NamedTuple):
    """A column that a statement makes: its type's name as written, whether that has a modifier."""

    name: str
    type_name: str
    limited: bool
    primary: bool


SERIAL = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
_ORDER = (BRIEF, SCAN, BUILD, REWRITE)
# The fields of a column's constraint by its kind; those that are not here have none of their own.
_ALWAYS_KNOWN = ("contype", "conname", "is_enforced", "initially_valid", "deferrable", "initdeferred")
_INDEX_FIELDS = ("nulls_not_distinct", "options", "indexspace")
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "CONSTR_DEFAULT": ("raw_expr",),
    "CONSTR_IDENTITY": ("generated_when", "options"),
    "CONSTR_GENERATED": ("generated_when", "generated_kind", "raw_expr"),
    "CONSTR_CHECK": ("raw_expr", "skip_validation", "is_no_inherit"),
    "CONSTR_NOTNULL": ("is_no_inherit",),
    "CONSTR_UNIQUE": _INDEX_FIELDS,
    "CONSTR_PRIMARY": _INDEX_FIELDS,
    "CONSTR_FOREIGN": (
        "pktable", "fk_attrs", "pk_attrs", "fk_matchtype", "fk_upd_action", "fk_del_action", "fk_del_set_cols",
        "skip_validation",
    ),
}  # fmt: skip


def read(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ADD COLUMN with whatever stands behind it."""
    only(command, "subtype", "def_", "behavior", "missing_ok")
    definition = command.def_
    columns = context.columns(relation)
    display = context.names.display(definition.colname)
    if definition.colname in SYSTEM_COLUMNS:
        raise Refused("certain-to-fail", f"{display} is the name of a system column")
    # With IF NOT EXISTS it is judged all the same: it may have been dropped by the time that it runs.
    if definition.colname in columns and not command.missing_ok:
        raise Refused("certain-to-fail", f"{relation.display} already has a column {display}")
    others: dict[str, str] = {}
    problems: dict[str, str | None] = {name: row["problem"] for name, row in columns.items()}
    facts = read_definition(definition, problems, others, context)
    facts["column"] = definition.colname
    if definition.colname in columns:
        if_not_exists.check_column(definition, facts.get("type_oid"), columns[definition.colname], relation)
    else:
        certain.check_add_column(definition, relation, columns, context)
    if facts["not_null"] and not facts["has_value"] and not relation.is_empty:
        raise Refused(
            "certain-to-fail",
            f"{display} may not be null and has no default: the rows of {relation.display} have no value for it",
        )
    is_there = definition.colname in columns
    context.added.setdefault(relation.oid, {}).setdefault(definition.colname, _row(definition, facts))
    revert = () if is_there else (f"alter table {relation.display} drop column {display}",)
    return [
        Operation(
            "add_column",
            relation,
            locks.ACCESS_EXCLUSIVE,
            others,
            work=BRIEF if is_there else facts["work"],
            undo="not_needed" if is_there else "exact",
            revert=revert,
            safer=() if is_there else _safer(definition, facts, relation, display),
            facts=facts,
        )
    ]


def _row(definition: Tree, facts: Mapping[str, Any]) -> Row:
    """What relation_queries.COLUMNS will read of the new column, as far as later subcommands ask."""
    return {
        "name": definition.colname,
        "number": 0,
        "type": type_text(definition.typeName),
        "type_oid": facts.get("type_oid", 0),
        "type_name": (parse.strings(definition.typeName.names) or [""])[-1],
        "typmod": -1,
        "not_null": facts["not_null"],
        "has_default": False,
        "problem": None,
        "generated": "",
        "identity": "",
        "statistics": -1,
        "storage": "x",
        "compression": "",
        "options": None,
        "collation_oid": 0,
    }


def read_definition(
    definition: Tree,
    columns: dict[str, str | None],
    others: dict[str, str],
    context: Context,
    refer: Callable[[Tree], None] | None = None,
) -> dict[str, Any]:
    """What a column definition does to a table; ``columns`` are the others', ``others`` gets locks on other tables.

    ``refer`` reads the constraint of a foreign key where the table is new, which then may mean itself. Without a type
    the column is a partition's, which has it from its parent.
    """
    only(definition, "colname", "typeName", "compression", "storage_name", "is_local", "collClause", "constraints")
    context.expressions.prove_collation(definition.collClause, f"column {definition.colname}")
    facts: dict[str, Any] = {
        "not_null": False,
        "has_value": False,
        "work": BRIEF,
        "because": None,
        "builds": 0,
        "plain_type": False,
    }
    type_names = parse.strings(definition.typeName.names) or [] if definition.typeName is not None else []
    if definition.typeName is None:
        pass
    elif len(type_names) == 1 and type_names[0] in SERIAL:
        _raise(facts, REWRITE, "a serial column gets a number for each row")
        facts["has_value"] = True
    else:
        oid = context.expressions.prove_type(definition.typeName, f"column {definition.colname}")
        if context.db.query(sql.IS_CHECKED_DOMAIN, oid):
            _raise(facts, REWRITE, "the type is a domain with a constraint")
        facts["type_oid"], facts["plain_type"] = oid, facts["work"] == BRIEF
    column = _Column(definition.colname, columns, others, facts, context, refer)
    for item in definition.constraints or ():
        kind = enum(item.contype)
        if kind not in _CONSTRAINTS:
            raise Refused("not-understood", f"a constraint of kind {kind} is not understood")
        only(item, *_ALWAYS_KNOWN, *_KNOWN.get(kind, ()))
        _CONSTRAINTS[kind](column, item)
    primary = any(enum(item.contype) == "CONSTR_PRIMARY" for item in definition.constraints or ())
    limited = definition.typeName is not None and bool(definition.typeName.typmods)
    facts["made"] = [Made(definition.colname, type_names[-1] if type_names else "", limited, primary)]
    if facts["has_value"] is False and facts.get("references_scan"):
        facts["references_scan"] = False  # a column of nulls refers to nothing
    if facts.get("references_scan"):
        _raise(facts, SCAN, "the values of the new column are looked up in the referenced table")
    return facts


@dataclass(frozen=True, slots=True)
class _Column:
    """A column definition while its constraints are read; ``facts`` and ``others`` are what is found out."""

    name: str
    columns: Mapping[str, str | None]
    others: dict[str, str]
    facts: dict[str, Any]
    context: Context
    refer: Callable[[Tree], None] | None = None

    def default(self, item: Tree) -> None:
        proved = self.context.expressions.prove(item.raw_expr, {}, "the default")
        self.facts["has_value"] = True
        if proved.volatile or proved.functions:
            # A user's function that the server does not inline is called for each row, whatever its label says.
            _raise(self.facts, REWRITE, "the default has another value for each row")

    def identity(self, item: Tree) -> None:
        identity_options(item.options)
        self.facts["has_value"] = True
        _raise(self.facts, REWRITE, "an identity column gets a number for each row")

    def generated(self, item: Tree) -> None:
        self.context.expressions.prove(item.raw_expr, self.columns, "the generated column")
        self.facts["has_value"] = True
        if getattr(item, "generated_kind", "s") != "v":
            _raise(self.facts, REWRITE, "a stored generated column is computed for each row")

    def check(self, item: Tree) -> None:
        self.context.expressions.prove(item.raw_expr, {**self.columns, self.name: None}, "the check")
        _raise(self.facts, SCAN, "a check on the new column reads the whole table")

    def unique(self, item: Tree) -> None:
        _plain_index_options(item)
        self.facts["builds"] += 1
        self.facts["not_null"] |= enum(item.contype) == "CONSTR_PRIMARY"
        _raise(self.facts, BUILD, "the constraint builds an index")

    def foreign_key(self, item: Tree) -> None:
        if self.refer is not None:
            self.refer(item)
        else:
            referenced = self.context.names.resolve(item.pktable, ("r", "p"))
            for row in self.context.db.query(create_queries.USER_MADE_KEY, referenced.oid):
                raise Refused("foreign-code", row["problem"])
            self.others.update(self.context.with_parts(referenced, locks.SHARE_ROW_EXCLUSIVE))
        self.facts["references_scan"] = True

    def not_null(self, _item: Tree) -> None:
        self.facts["not_null"] = True

    def nothing(self, _item: Tree) -> None:
        """NULL, DEFERRABLE and the like."""


_CONSTRAINTS = {
    "CONSTR_NULL": _Column.nothing,
    "CONSTR_NOTNULL": _Column.not_null,
    "CONSTR_DEFAULT": _Column.default,
    "CONSTR_IDENTITY": _Column.identity,
    "CONSTR_GENERATED": _Column.generated,
    "CONSTR_CHECK": _Column.check,
    "CONSTR_UNIQUE": _Column.unique,
    "CONSTR_PRIMARY": _Column.unique,
    "CONSTR_FOREIGN": _Column.foreign_key,
    "CONSTR_ATTR_DEFERRABLE": _Column.nothing,
    "CONSTR_ATTR_NOT_DEFERRABLE": _Column.nothing,
    "CONSTR_ATTR_DEFERRED": _Column.nothing,
    "CONSTR_ATTR_IMMEDIATE": _Column.nothing,
}


def _plain_index_options(item: Tree) -> None:
    if item.indexspace is not None or options(item.options).keys() - {"fillfactor"}:
        raise Refused("not-understood", "options of the constraint's index are not understood")


def _raise(facts: dict[str, Any], work: str, because: str) -> None:
    if _ORDER.index(work) > _ORDER.index(facts["work"]):
        facts["work"], facts["because"] = work, because


def _safer(definition: Tree, facts: dict[str, Any], relation: Relation, display: str) -> tuple[str, ...]:
    """The steps that add the column without work under the lock, where they can be written down."""
    constraints = {enum(item.contype): item for item in definition.constraints or ()}
    known = {"CONSTR_DEFAULT", "CONSTR_NULL", "CONSTR_NOTNULL", "CONSTR_UNIQUE"}
    if facts["work"] == BRIEF or not constraints.keys() <= known or not facts["plain_type"]:
        return ()
    head, table = f"alter table {relation.display}", relation.display
    steps = [f"{head} add column {display} {type_text(definition.typeName)}"]
    if "CONSTR_DEFAULT" in constraints:
        value = expression_text(constraints["CONSTR_DEFAULT"].raw_expr)
        steps.append(f"{head} alter column {display} set default {value}")
        steps.append(f"-- in batches: update {table} set {display} = {value} where {display} is null")
    if "CONSTR_NOTNULL" in constraints:
        check = '"' + f"{relation.name}_{definition.colname}_not_null"[:63].replace('"', '""') + '"'
        steps.append(f"{head} add constraint {check} check ({display} is not null) not valid")
        steps.append(f"{head} validate constraint {check}")
        steps.append(f"{head} alter column {display} set not null")
        steps.append(f"{head} drop constraint {check}")
    if "CONSTR_UNIQUE" in constraints:
        key = '"' + f"{relation.name}_{definition.colname}_key"[:63].replace('"', '""') + '"'
        steps.append(f"create unique index concurrently {key} on {table} ({display})")
        steps.append(f"{head} add constraint {key} unique using index {key}")
    return tuple(steps)
