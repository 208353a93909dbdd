"""CREATE TABLE: new tables, partitioned ones and partitions. Nothing waits for a new table, only for those it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pg_architect.safety import index_queries, locks, parse, relation_queries, user_code, volatility
from pg_architect.safety.catalogue import SYSTEM_COLUMNS
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, SCAN, Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain, certain_constraints, if_not_exists
from pg_architect.safety.readers import create_queries as sql
from pg_architect.safety.readers.column import existing
from pg_architect.safety.readers.fields import enum, only, options, value_text
from pg_architect.safety.readers.new_column import Made, read_definition
from pg_architect.safety.readers.partition import check_bound, default_partition
from pg_architect.safety.readers.storage import PARAMETERS
from pg_architect.safety.relation import KINDS, TABLES, Relation

_RANGE_VAR = ("catalogname", "schemaname", "relname", "inh", "relpersistence")
_COMMON = ("contype", "conname", "is_enforced", "initially_valid", "deferrable", "initdeferred")
# TableLikeOption of parsenodes.h: INCLUDING ALL sets every bit, and what is known of them are these nine.
_LIKE_ALL, _LIKE_KNOWN = 0x7FFFFFFF, 0x1FF


@dataclass(slots=True)
class _New:
    """A table in the making: its name, its columns with the OIDs of their types, and locks on further tables."""

    schema: str
    name: str
    context: Context
    types: dict[str, int | None] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    referenced: set[int] = field(default_factory=set)
    made: list[Made] = field(default_factory=list)
    inherited: dict[str, str | None] = field(default_factory=dict)

    @property
    def problems(self) -> dict[str, str | None]:
        """The columns as the proof of an expression wants them: types are proved where they are named."""
        return {**dict.fromkeys(self.types), **self.inherited}

    def is_meant_by(self, node: Tree) -> bool:
        """Whether a RangeVar means the new table itself."""
        if node.relname != self.name or node.schemaname not in (None, self.schema):
            return False
        if node.schemaname is None:
            path = self.context.expressions.role.search_path
            first = next((schema for schema in path if self.context.db.query(relation_queries.SCHEMA, schema)), None)
            if first != self.schema:
                raise Refused("names", f"{self.name} may mean the new table or another: write its schema")
        return True


def read(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE TABLE of every kind but temporary and typed ones and those that inherit."""
    only(
        tree, "relation", "tableElts", "inhRelations", "partbound", "partspec", "options", "accessMethod",
        "if_not_exists",
    )  # fmt: skip
    only(tree.relation, *_RANGE_VAR)
    if tree.accessMethod not in (None, "heap"):
        raise Refused("foreign-code", f"access method {tree.accessMethod} is not built in")
    check_parameters(tree.options)
    display, there = new_relation(tree.relation, TABLES if tree.if_not_exists else (), context)
    new = _New(tree.relation.schemaname, tree.relation.relname, context)
    parent = _read_parent(tree, new) if tree.inhRelations or tree.partbound is not None else None
    _read_elements(tree.tableElts or (), new, parent)
    _check_names(tree)
    if tree.partspec is not None:
        _read_partition_key(tree.partspec, new)
        _check_unique_keys(tree, display)
    if there is not None:
        if_not_exists.check_columns(_definitions(tree), new.types, there, context)
    facts: dict[str, Any] = {"unlogged": tree.relation.relpersistence == "u", **_advised(tree, new)}
    if new.referenced:
        facts["objects"] = {"referenced_oids": sorted(new.referenced)}
    undo = "exact" if there is None else "not_needed"
    revert = (f"drop table {display}",) if there is None else ()
    if parent is None:
        return [Operation("create_table", others=new.others, undo=undo, revert=revert, facts=facts)]
    default = default_partition(parent, context)
    certain_constraints.check_bound(tree.partbound, parent, default if there is None else None, context)
    new.others |= context.partners(parent, locks.SHARE_ROW_EXCLUSIVE)
    if default is not None:
        new.others[default.display] = locks.ACCESS_EXCLUSIVE
    # A partitioned table has no file of its own, however full it is.
    scans = default is not None and not (default.is_empty and default.kind == "r")
    return [
        Operation(
            "create_partition",
            parent,
            locks.ACCESS_EXCLUSIVE,
            new.others,
            work=SCAN if scans else BRIEF,
            worked=default if scans else None,
            undo=undo,
            revert=revert,
            safer=_attach_later(tree, parent, display) if default is None and there is None else (),
            facts={**facts, "partition": display, "default": default.display if default else None, "may_fail": scans},
        )
    ]


def new_relation(node: Tree, kinds: Sequence[str], context: Context) -> tuple[str, Relation | None]:
    """The displayed name of a relation to be made, and what is there already if it is of one of these kinds.

    ``kinds`` are those which IF NOT EXISTS or OR REPLACE accepts; everything else that has the name is refused.
    """
    if node.catalogname is None and node.relpersistence != "t" and kinds:
        node.schemaname = context.names.check_schema(node.schemaname)
        for row in context.db.query(sql.RELATION_NAMED, node.schemaname, node.relname):
            if row["kind"] not in kinds:
                what = KINDS.get(row["kind"], "relation")
                raise Refused("name-taken", f"{node.schemaname} already has a {what} named {node.relname}")
            relation = context.names.of(row["oid"])
            return relation.display, relation
    return context.names.check_new(node), None


def check_parameters(items: tuple[Tree, ...] | None) -> None:
    """Refused for storage parameters of a table that are not known."""
    for name, value in options(items).items():
        if name.removeprefix("toast.") not in PARAMETERS:
            raise Refused("not-understood", f"storage parameter {name} is not understood")
        value_text(value)
    certain.check_fillfactor(items)


def _read_parent(tree: Tree, new: _New) -> Relation:
    if tree.partbound is None or len(tree.inhRelations) != 1:
        raise Refused("not-understood", "inheritance other than of partitions is not supported yet")
    (node,) = tree.inhRelations
    only(node, "schemaname", "relname", "inh", "relpersistence")
    parent = new.context.names.resolve(node, ("p",))
    check_bound(tree.partbound, new.context)
    for row in parent.columns(new.context.db).values():
        new.types[row["name"]] = row["type_oid"]
        new.inherited[row["name"]] = row["problem"]
    for one in parent.constraints(new.context.db).values():
        if one["type"] == "f" and one["referenced_oid"] != parent.oid:
            new.others[new.context.names.of(one["referenced_oid"]).display] = locks.SHARE_ROW_EXCLUSIVE
    return parent


def _read_elements(elements: Sequence[Tree], new: _New, parent: Relation | None) -> None:
    """Columns first: constraints and generated columns may name any of them."""
    definitions = [item for item in elements if kind_of(item) == "ColumnDef"]
    for item in elements:
        if kind_of(item) == "TableLikeClause":
            _read_like(item, new)
        elif kind_of(item) not in ("ColumnDef", "Constraint"):
            raise Refused("not-understood", f"{kind_of(item)} in create table is not understood")
    for item in definitions:
        _check_column(item, new, parent)
        new.types.setdefault(item.colname, None)
    for item in definitions:
        if item.typeName is not None:
            new.types[item.colname] = volatility.named_type(new.context.db, item.typeName)
        facts = read_definition(
            item, new.problems, new.others, new.context, partial(_refer, new=new, column=item.colname)
        )
        array = item.typeName is not None and item.typeName.arrayBounds
        own = volatility.named_type(new.context.db, item.typeName) if array else facts.get("type_oid")
        new.types[item.colname] = own or new.types[item.colname]
        new.made += facts["made"]
    generated = [item.colname for item in definitions if _kinds(item) & {"CONSTR_GENERATED"}]
    for item in definitions:
        certain.check_definition(item, new.types[item.colname], new.types, generated, new.context)
    for item in elements:
        if kind_of(item) == "Constraint":
            _read_constraint(item, new)


def _advised(tree: Tree, new: _New) -> dict[str, Any]:
    """What advice is about: the columns, those of the primary key marked, and whether there is one."""
    keys: set[str] = {one.name for one in new.made if one.primary}
    copies = False
    for item in tree.tableElts or ():
        copies |= kind_of(item) == "TableLikeClause"
        if kind_of(item) == "Constraint" and enum(item.contype) == "CONSTR_PRIMARY":
            keys.update(parse.strings(item.keys) or ())
    made = [one._replace(primary=one.name in keys) for one in new.made]
    return {"made": made, "lacks_key": not keys and not copies and tree.inhRelations is None}


def _definitions(tree: Tree) -> list[Tree]:
    return [item for item in tree.tableElts or () if kind_of(item) == "ColumnDef"]


def _kinds(definition: Tree) -> set[str]:
    return {enum(item.contype) for item in definition.constraints or ()}


def _check_names(tree: Tree) -> None:
    """Refused where a column or a constraint is there twice, and for two primary keys."""
    definitions = _definitions(tree)
    certain_constraints.check_once([item.colname for item in definitions], "the table")
    own = [item for item in tree.tableElts or () if kind_of(item) == "Constraint"]
    inner = [one for item in definitions for one in item.constraints or ()]
    certain_constraints.check_once([one.conname for one in (*own, *inner) if one.conname], "the constraints")
    if sum(enum(one.contype) == "CONSTR_PRIMARY" for one in (*own, *inner)) > 1:
        raise certain.fails("the table has two primary keys")


def _check_unique_keys(tree: Tree, display: str) -> None:
    """Refused where a partitioned table has a unique key without its partition key."""
    unique = ("CONSTR_PRIMARY", "CONSTR_UNIQUE")
    keys = [[item.colname] for item in _definitions(tree) if _kinds(item) & set(unique)]
    own = [item for item in tree.tableElts or () if kind_of(item) == "Constraint" and enum(item.contype) in unique]
    keys += [list(parse.strings(item.keys) or []) for item in own]
    parts = [part.name for part in tree.partspec.partParams]
    for key in keys:
        if None in parts:
            raise certain.fails(f"{display} is partitioned by an expression: it can have no unique key")
        certain_constraints.check_has_partition_key(key, parts, display)


def _check_column(item: Tree, new: _New, parent: Relation | None) -> None:
    """Only a partition's column leaves its type away, and is its parent's."""
    if parent is None and item.typeName is None:
        raise Refused("not-understood", f"column {item.colname} has no type")
    if item.colname in SYSTEM_COLUMNS:
        raise Refused("certain-to-fail", f"{item.colname} is a column that every table has")
    if parent is not None and (problem := existing(item.colname, parent, new.context)["problem"]) is not None:
        raise Refused("foreign-code", problem)


def _read_constraint(item: Tree, new: _New) -> None:
    kind = enum(item.contype)
    if kind == "CONSTR_CHECK":
        only(item, *_COMMON, "raw_expr", "skip_validation", "is_no_inherit")
        new.context.expressions.prove(item.raw_expr, new.problems, "the check")
    elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        only(item, *_COMMON, "keys", "including", "options", "nulls_not_distinct")
        _check_columns([*(parse.strings(item.keys) or []), *(parse.strings(item.including) or [])], new)
        certain_constraints.check_once(parse.strings(item.keys) or [], "the key")
        if options(item.options).keys() - {"fillfactor"}:
            raise Refused("not-understood", "options of the constraint's index are not understood")
        certain.check_fillfactor(item.options, "btree")
    elif kind == "CONSTR_EXCLUSION":
        _read_exclusion(item, new)
    elif kind == "CONSTR_FOREIGN":
        only(
            item, *_COMMON, "pktable", "fk_attrs", "pk_attrs", "fk_matchtype", "fk_upd_action", "fk_del_action",
            "fk_del_set_cols", "skip_validation",
        )  # fmt: skip
        _check_columns(parse.strings(item.fk_attrs) or [], new)
        _refer(item, new)
    else:
        raise Refused("not-understood", f"a constraint of kind {kind} is not understood")


def _check_columns(names: Sequence[str], new: _New) -> None:
    for name in names:
        if name not in new.types:
            raise Refused("exists", f"there is no column {name}")


def _refer(item: Tree, new: _New, column: str | None = None) -> None:
    """A foreign key: rows are compared by the operators of the referenced key, in both directions."""
    only(item.pktable, "schemaname", "relname", "inh", "relpersistence")
    if new.is_meant_by(item.pktable):
        item.pktable.schemaname = new.schema
        return
    referenced = new.context.names.resolve(item.pktable, ("r", "p"))
    columns = referenced.columns(new.context.db)
    names = parse.strings(item.pk_attrs) or []
    if not names:
        keys = [one for one in referenced.constraints(new.context.db).values() if one["type"] == "p"]
        if not keys:
            raise Refused("certain-to-fail", f"{referenced.display} has no primary key")
        names = [row["name"] for row in columns.values() if row["number"] in keys[0]["columns"]]
    for name in names:
        if (problem := existing(name, referenced, new.context)["problem"]) is not None:
            raise Refused("foreign-code", problem)
    for row in new.context.db.query(sql.USER_MADE_KEY, referenced.oid):
        raise Refused("foreign-code", row["problem"])
    own = parse.strings(item.fk_attrs) or ([column] if column is not None else [])
    types = [new.types.get(name) for name in own]
    certain_constraints.check_reference(parse.strings(item.pk_attrs) or [], types, referenced, new.context)
    for name in parse.strings(item.fk_attrs) or ():
        if (problem := new.problems.get(name)) is not None:
            raise Refused("foreign-code", problem)
    new.others |= new.context.with_parts(referenced, locks.SHARE_ROW_EXCLUSIVE)
    new.referenced.add(referenced.oid)


def _read_exclusion(item: Tree, new: _New) -> None:
    only(item, *_COMMON, "exclusions", "access_method", "where_clause", "options")
    if item.access_method not in ("btree", "hash", "gist", "spgist") or options(item.options).keys() - {"fillfactor"}:
        raise Refused("not-understood", "this exclusion constraint is not understood")
    db, expressions = new.context.db, new.context.expressions
    expressions.prove(item.where_clause, new.problems, "the predicate")
    for element, operator in item.exclusions:
        only(element, "name", "expr", "collation", "ordering", "nulls_ordering")
        names = parse.strings(operator) if isinstance(operator, tuple) else None
        if kind_of(element) != "IndexElem" or not names or len(names) > 1:
            raise Refused("foreign-code", "an exclusion constraint uses an operator that is not built in")
        if (problem := expressions.catalogue.operator_problem(names[0])) is not None:
            raise Refused("foreign-code", problem)
        expressions.prove_collation(element.collation, "the exclusion")
        if element.expr is not None:
            expressions.prove(element.expr, new.problems, "the exclusion")
            # Its type is not known here, so no type may have a class that somebody added.
            added = db.query(sql.ADDED_OPCLASS, item.access_method)
            problem = f"operator class {added[0]['name']} of {item.access_method} is not built in" if added else None
        else:
            _check_columns([element.name], new)
            found = db.query(index_queries.DEFAULT_OPCLASS, new.types[element.name] or 0, item.access_method)
            problem = None if found else f"{element.name} has no built-in operator class for {item.access_method}"
        if problem is not None:
            raise Refused("foreign-code", problem)


def _read_partition_key(node: Tree, new: _New) -> None:
    only(node, "strategy", "partParams")
    method = "hash" if enum(node.strategy).endswith("HASH") else "btree"
    expressions = new.context.expressions
    for item in node.partParams:
        only(item, "name", "expr", "collation", "opclass")
        expressions.prove_collation(item.collation, "the partition key")
        opclass = parse.strings(item.opclass) or []
        if len(opclass) > 2 or (len(opclass) == 2 and opclass[0] != "pg_catalog"):
            raise Refused("foreign-code", f"operator class {'.'.join(opclass)} is not built in")
        if opclass and not new.context.db.query(index_queries.OPCLASS, opclass[-1], method):
            raise Refused("foreign-code", f"operator class {opclass[-1]} of {method} is not built in")
        if item.expr is None:
            _check_columns([item.name], new)
        else:
            proved = expressions.prove(item.expr, new.problems, "the partition key")
            if proved.volatile or not proved.immutable:
                raise Refused("certain-to-fail", "a partition key must be immutable")
            volatility.check_immutable(new.context.db, item.expr, new.types, "a partition key")


def _read_like(item: Tree, new: _New) -> None:
    """LIKE: what is copied from the source table is proved as if it were written here."""
    only(item, "relation", "options")
    only(item.relation, "schemaname", "relname", "inh", "relpersistence")
    context = new.context
    source = context.names.resolve(item.relation, ("r", "p"))
    new.others.setdefault(source.display, locks.ACCESS_SHARE)
    included = item.options & _LIKE_KNOWN
    if item.options != _LIKE_ALL:
        # INCLUDING ALL EXCLUDING … leaves bits set that nothing stands for and no text can say again.
        item.options = included
    for row in source.columns(context.db).values():
        if (problem := user_code.type_problem(context.db, context.expressions.catalogue, row["type_oid"])) is not None:
            raise Refused("foreign-code", f"column {row['name']} of {source.display}: {problem}")
        if row["collation_oid"] >= 16384:
            raise Refused("foreign-code", f"column {row['name']} of {source.display}: the collation is not built in")
        new.types[row["name"]] = row["type_oid"]
    for row in context.db.query(sql.LIKE_USES, source.oid, included):
        _check_use(row, f"{row['what']} of {source.display}", context)
    for row in context.db.query(sql.LIKE_EXPRESSIONS, source.oid, included):
        if row["expressions"]:
            for target in parse.parse_one(f"select {row['expressions']}").targetList:
                context.expressions.prove(target.val, new.problems, f"{row['what']} of {source.display}")


def _check_use(row: dict[str, Any], what: str, context: Context) -> None:
    """Refused where a copied expression uses anything but sequences, and types and functions that are proved."""
    problem: str | None = f"uses {row['object']}"
    if row["class"] == "pg_type":
        problem = user_code.type_problem(context.db, context.expressions.catalogue, row["oid"])
    elif row["class"] == "pg_proc":
        catalogue = context.expressions.catalogue
        problem = user_code.function_problem(context.db, catalogue, row["function_schema"], row["function_name"])
    elif row["class"] == "pg_class" and row["relkind"] == "S":
        problem = None
    if problem is not None:
        raise Refused("foreign-code", f"{what}: {problem}")


def _attach_later(tree: Tree, parent: Relation, display: str) -> tuple[str, ...]:
    """The steps that block no reader of the parent, where the partition has nothing of its own."""
    if tree.tableElts or tree.options or tree.partspec is not None:
        return ()
    attach = parse.parse_one(f"alter table {parent.display} attach partition {display} default")
    attach.cmds[0].def_.bound = tree.partbound
    unlogged = "unlogged " if tree.relation.relpersistence == "u" else ""
    return (
        f"create {unlogged}table {display} (like {parent.display} including defaults including constraints)",
        parse.deparse(attach),
    )
