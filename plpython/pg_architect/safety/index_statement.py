"""The two statements that pg_architect executes, read from their trees: nothing here knows the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import shortened
from pg_architect.safety import parse
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of

MAX_KEYS = 8
# What a partial index may compare by; IN is an equality with several constants.
OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Key:
    """A key column; ``nulls_first`` is what applies, given or by default (first when descending)."""

    column: str
    descending: bool
    nulls_first: bool

    @property
    def option(self) -> int:
        """The column's bits in pg_index.indoption."""
        return (1 if self.descending else 0) | (2 if self.nulls_first else 0)


@dataclass(frozen=True, slots=True, order=True)
class Constant:
    """A constant of a predicate: ``kind`` is number, text or boolean, ``type_name`` its cast's type, if it has one."""

    kind: str
    text: str
    type_name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """``column operator constants``; operator is one of OPERATORS, IN, IS NULL or IS NOT NULL."""

    column: str
    operator: str
    constants: tuple[Constant, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateIndex:
    name: str
    schema: str | None
    table: str
    keys: tuple[Key, ...]
    included: tuple[str, ...]
    predicate: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class DropIndex:
    schema: str
    name: str


def definition(statement: str) -> str:
    """What a CREATE INDEX makes: its text without the index's name and CONCURRENTLY. Other text stands for itself."""
    try:
        tree = parse.parse_one(statement)
    except ArchitectError:
        return statement
    if kind_of(tree) == "IndexStmt":
        tree.idxname = None
        tree.concurrent = False
    return parse.deparse(tree)


def renamed(statement: str, name: str) -> str:
    """A CREATE INDEX statement with another name for its index."""
    tree = parse.parse_one(statement)
    tree.idxname = name
    return parse.deparse(tree)


def read_statement(tree: Tree) -> CreateIndex | DropIndex:
    """Read CREATE or DROP INDEX CONCURRENTLY; Refused for everything else."""
    if kind_of(tree) == "IndexStmt":
        return _read_create(tree)
    if kind_of(tree) == "DropStmt" and tree.removeType.name == "OBJECT_INDEX":
        return _read_drop(tree)
    raise Refused("not understood", "not understood: only create index concurrently and drop index concurrently are")


def _read_drop(tree: Tree) -> DropIndex:
    if not tree.concurrent:
        raise Refused("concurrently", "drop index blocks reads and writes: use drop index concurrently")
    if tree.missing_ok:
        raise Refused("if exists", "if exists would hide that the index is missing")
    if tree.behavior.name != "DROP_RESTRICT":
        raise Refused("cascade", "cascade would drop more than the index")
    names = [parse.strings(item) for item in tree.objects]
    if len(names) != 1 or names[0] is None or len(names[0]) != 2:
        raise Refused("one index", "exactly one index is dropped, named with its schema")
    schema, name = names[0]
    return DropIndex(schema, name)


# Fields of an IndexStmt that are set by more than the plain form, and what they stand for.
_EXTRAS = {
    "unique": "unique is a constraint on the data",
    "if_not_exists": "if not exists would hide an invalid index of that name",
    "tableSpace": "a tablespace is not supported yet",
    "options": "storage parameters are not supported yet",
    "excludeOpNames": "an exclusion constraint is not an index",
    "nulls_not_distinct": "nulls not distinct is a constraint on the data",
    "primary": "a primary key is a constraint on the data",
    "isconstraint": "a constraint is not an index",
    "iswithoutoverlaps": "a constraint is not an index",
    "deferrable": "a constraint is not an index",
    "initdeferred": "a constraint is not an index",
    "idxcomment": "a comment is not supported",
    "transformed": "the statement is not plain",
    "reset_default_tblspc": "the statement is not plain",
    "oldNumber": "the statement is not plain",
    "oldCreateSubid": "the statement is not plain",
    "oldFirstRelfilelocatorSubid": "the statement is not plain",
}
_PLAIN = frozenset(
    {"idxname", "relation", "accessMethod", "indexParams", "indexIncludingParams", "whereClause", "concurrent"}
)


def _read_create(tree: Tree) -> CreateIndex:
    for name in tree.__slots__:
        if name not in _PLAIN and getattr(tree, name):
            raise Refused("plain index", _EXTRAS.get(name, f"{name} is not supported"))
    _check_frame(tree)
    keys = tuple(_read_key(item) for item in tree.indexParams or ())
    if not 1 <= len(keys) <= MAX_KEYS:
        raise Refused("columns", f"an index has 1 to {MAX_KEYS} key columns, not {len(keys)}")
    included = tuple(_read_key(item).column for item in tree.indexIncludingParams or ())
    columns = [key.column for key in keys] + list(included)
    if len(set(columns)) < len(columns):
        raise Refused("columns", "a column occurs twice")
    if len(included) > MAX_KEYS:
        raise Refused("columns", f"at most {MAX_KEYS} columns are included, not {len(included)}")
    predicate = read_predicate(tree.whereClause) if tree.whereClause is not None else ()
    return CreateIndex(tree.idxname, tree.relation.schemaname, tree.relation.relname, keys, included, predicate)


def _check_frame(tree: Tree) -> None:
    """Everything but the columns and the predicate."""
    if not tree.concurrent:
        detail = "create index blocks writes for as long as it builds: use create index concurrently"
        _refuse_with_instead(tree, "concurrently", detail)
    if not tree.idxname:
        _refuse_with_instead(tree, "index name", "the index needs a name: it has to be found again to be reverted")
    relation = tree.relation
    if not relation.inh:
        raise Refused("plain index", "only is for partitioned tables, which are not supported yet")
    if relation.catalogname is not None or relation.relpersistence != "p" or relation.alias is not None:
        raise Refused("plain index", "the table's name is not plain")
    if tree.accessMethod != "btree":
        raise Refused("access method", f"access method {tree.accessMethod} is not supported yet: only btree is")


def _refuse_with_instead(tree: Tree, rule: str, detail: str) -> NoReturn:
    """Refuse, and offer the same index built concurrently, under a name."""
    try:
        tree.concurrent = True
        if not tree.idxname:
            keys = [param.name or "expression" for param in tree.indexParams]
            tree.idxname = shortened("_".join([tree.relation.relname, *keys, "idx"]))
        raise Refused(rule, detail, instead=parse.deparse(tree))
    except ArchitectError as exc:
        raise Refused(rule, detail) from exc


def _read_key(item: Tree) -> Key:
    if item.expr is not None or not item.name:
        raise Refused("plain columns", "indexes on expressions are not supported yet")
    if item.collation is not None:
        raise Refused("plain columns", f"column {item.name}: a collation of its own is not supported yet")
    if item.opclass is not None or item.opclassopts is not None:
        raise Refused("plain columns", f"column {item.name}: an operator class is not supported yet")
    descending = item.ordering.name == "SORTBY_DESC"
    if item.ordering.name not in ("SORTBY_DEFAULT", "SORTBY_ASC", "SORTBY_DESC"):
        raise Refused("plain columns", f"column {item.name}: its order is not plain")
    nulls = item.nulls_ordering.name
    return Key(item.name, descending, descending if nulls == "SORTBY_NULLS_DEFAULT" else nulls == "SORTBY_NULLS_FIRST")


def read_predicate(node: Tree) -> tuple[Condition, ...]:
    """Read a conjunction of comparisons of columns with constants; Refused for anything else."""
    if kind_of(node) == "BoolExpr" and node.boolop.name == "AND_EXPR":
        return tuple(condition for part in node.args for condition in read_predicate(part))
    if kind_of(node) == "NullTest" and not node.argisrow:
        negated = node.nulltesttype.name == "IS_NOT_NULL"
        return (Condition(_read_column(node.arg), "IS NOT NULL" if negated else "IS NULL"),)
    if kind_of(node) != "A_Expr" or node.kind.name not in ("AEXPR_OP", "AEXPR_IN"):
        raise _not_plain()
    names = parse.strings(node.name) or []
    if len(names) != 1 or names[0] not in OPERATORS:
        raise _not_plain()
    column = _read_column(node.lexpr)
    if node.kind.name == "AEXPR_OP":
        return (Condition(column, names[0], (_read_constant(node.rexpr),)),)
    if names[0] != "=":
        raise Refused("predicate", "not in is not supported in a predicate")
    # Ordered, because two lists of the same constants mean the same.
    return (Condition(column, "IN", tuple(sorted({_read_constant(item) for item in node.rexpr}))),)


def with_types(node: Tree | None, types: Mapping[str, str | None]) -> None:
    """Give every text constant of a predicate the type that goes with its column, where it has none."""
    if node is None or kind_of(node) == "NullTest":
        return
    if kind_of(node) == "BoolExpr":
        for part in node.args:
            with_types(part, types)
        return
    type_name = types[_read_column(node.lexpr)]
    if isinstance(node.rexpr, tuple):
        node.rexpr = tuple(_typed(item, type_name) for item in node.rexpr)
    else:
        node.rexpr = _typed(node.rexpr, type_name)


_GRAMMAR_TYPES = frozenset({"time", "timestamp"})


def _typed(constant: Tree, type_name: str | None) -> Tree:
    if type_name is None or kind_of(constant) != "A_Const" or kind_of(constant.val) != "String":
        return constant
    # These names are the grammar's own, which is written back and means pg_catalog's. Numbers as texts stay refused.
    schema = "pg_catalog." if type_name in _GRAMMAR_TYPES else ""
    (target,) = parse.parse_one(f'select null::{schema}"{type_name}"').targetList
    target.val.arg = constant
    return target.val


def _read_column(node: Tree) -> str:
    fields = parse.strings(node.fields) if kind_of(node) == "ColumnRef" else None
    if fields is None or len(fields) != 1:
        raise _not_plain()
    return fields[0]


def _read_constant(node: Tree) -> Constant:
    type_name = None
    if kind_of(node) == "TypeCast":
        type_name = _read_type(node.typeName)
        node = node.arg
    if kind_of(node) != "A_Const" or node.isnull:
        raise _not_plain()
    value = node.val
    kind = kind_of(value)
    if kind == "String":
        return Constant("text", value.sval, type_name)
    if kind == "Boolean":
        return Constant("boolean", "true" if value.boolval else "false", type_name)
    if kind == "Integer":
        return Constant("number", str(value.ival), type_name)
    if kind == "Float" and set(value.fval) <= set("0123456789.eE+-"):
        return Constant("number", value.fval, type_name)
    raise _not_plain()


def _read_type(node: Tree) -> str:
    names = parse.strings(node.names) or []
    if (
        node.setof
        or node.pct_type
        or node.typmods
        or node.arrayBounds
        or len(names) not in (1, 2)
        or (len(names) == 2 and names[0] != "pg_catalog")
    ):
        raise Refused("predicate", "a constant of the predicate is cast to a type that is not built in")
    return names[-1]


def _not_plain() -> Refused:
    return Refused(
        "predicate",
        "a predicate compares columns with constants by = <> < <= > >=, in or is [not] null, joined by and",
    )


def same_predicate(wanted: tuple[Condition, ...], existing: str | None) -> bool:
    """Whether an index's predicate, as pg_get_expr prints it, is the wanted one; False where that cannot be told."""
    if existing is None:
        return not wanted
    try:
        tree = parse.parse_one(f"select from t where {existing}")
        return frozenset(read_predicate(_without_casts(tree.whereClause))) == frozenset(wanted)
    except (ArchitectError, Refused):
        return False


def _without_casts(node: Tree) -> Tree:
    """The tree without the casts that the server prints, and with ``= any (array[…])`` as IN."""
    kind = kind_of(node)
    if kind == "TypeCast":
        return _without_casts(node.arg)
    if kind == "BoolExpr":
        node.args = tuple(_without_casts(item) for item in node.args)
    elif kind == "NullTest":
        node.arg = _without_casts(node.arg)
    elif kind == "A_Expr":
        node.lexpr = _without_casts(node.lexpr)
        right = node.rexpr
        if node.kind.name == "AEXPR_OP_ANY":
            right = _without_casts(right)
            if kind_of(right) == "A_ArrayExpr":
                node.kind = parse.enums.A_Expr_Kind.AEXPR_IN
                node.rexpr = tuple(_without_casts(item) for item in right.elements or ())
        elif not isinstance(right, tuple):
            node.rexpr = _without_casts(right)
    return node
