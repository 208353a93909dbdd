"""How a statement uses the columns of its relations: pure over a parse tree with qualified relation names.

Only what is certain is reported. A column of a subquery, a CTE or a function is opaque, and so is whatever an OR or
a NOT surrounds; such uses still tell which column a parameter is compared with (``usable`` is false for them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pg_architect.safety import parse
from pg_architect.telemetry.name_resolution import (
    Column,
    Relation,
    Scope,
    output_expression,
    reads_table_of,
    resolved_column,
)

EQUALITY = "equality"
RANGE = "range"
ORDER = "order"
JOIN = "join"
GROUP = "group"
PREFIX_LIKE = "prefix_like"
IN_LIST = "in_list"
NULL_TEST = "null_test"

_MIRRORED = {"=": "=", "<": ">", ">": "<", "<=": ">=", ">=": "<=", "<>": "<>"}


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """One use of one column; ``block`` numbers the query block, ``instance`` the table's appearance in it."""

    relation_oid: int
    column: str
    use: str
    operator: str = ""
    parameter: int | None = None
    literal: str | None = None  # also "null" and "not null" for a null test
    descending: bool = False
    nulls_first: bool | None = None
    usable: bool = True  # an index on the plain column could serve it
    arithmetic: tuple[int, ...] = ()  # parameters inside an expression that the column is compared with
    is_array: bool = False  # the parameter is an array (= any($1))
    block: int = 0
    instance: str = ""
    other: tuple[int, str] | None = None  # the other side of a join


@dataclass(frozen=True, slots=True)
class Block:
    """One query block: whether its row count tells how many rows its conditions select."""

    number: int
    aggregated: bool
    limited: bool
    instances: tuple[tuple[str, int], ...]  # alias, relation


@dataclass(frozen=True, slots=True)
class Uses:
    columns: tuple[ColumnUse, ...]
    places: Mapping[int, str]  # parameter: condition, limit, offset, output, unit or other
    blocks: tuple[Block, ...]


def column_uses(tree: Any, relations: Mapping[tuple[str, str], Relation]) -> Uses:
    """The uses in a SELECT whose relations are qualified; ``relations`` maps (schema, name) to what they are."""
    walker = _Walker(relations)
    walker.select(tree, None, frozenset())
    return Uses(tuple(dict.fromkeys(walker.uses)), dict(sorted(walker.places.items())), tuple(walker.blocks))


def parameters_in(node: Any) -> Iterator[int]:
    """Numbers of the parameters below a node, in order of appearance."""
    if isinstance(node, (tuple, list)):
        for item in node:
            yield from parameters_in(item)
    elif isinstance(node, parse.ast.ParamRef):
        yield node.number
    elif isinstance(node, parse.ast.Node):
        for name in node:
            yield from parameters_in(getattr(node, name))


def has_aggregate(select: Any) -> bool:
    """Whether the rows returned are not the rows selected: grouping, DISTINCT, HAVING or a bare aggregate call."""
    if select.groupClause or select.distinctClause or select.havingClause:
        return True
    return any(_calls_aggregate(target) for target in select.targetList or ())


# Built-in aggregates by name; a user's own aggregate is user code and never gets this far.
_AGGREGATE_NAMES = (
    "count sum avg min max array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg bool_and bool_or "
    "every bit_and bit_or bit_xor xmlagg stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop "
    "covar_samp regr_slope regr_intercept regr_count regr_r2 regr_avgx regr_avgy regr_sxx regr_syy regr_sxy "
    "percentile_cont percentile_disc mode range_agg range_intersect_agg any_value"
)
_AGGREGATES = frozenset(_AGGREGATE_NAMES.split())


def _calls_aggregate(node: Any) -> bool:
    if isinstance(node, (tuple, list)):
        return any(_calls_aggregate(item) for item in node)
    if not isinstance(node, parse.ast.Node) or isinstance(node, (parse.ast.SubLink, parse.ast.SelectStmt)):
        return False
    if isinstance(node, parse.ast.FuncCall) and node.over is None and node.funcname[-1].sval in _AGGREGATES:
        return True
    return any(_calls_aggregate(getattr(node, name)) for name in node)


_UNIT_FUNCTIONS = ("extract", "date_part", "date_trunc")  # whose first argument is a word like 'day'


class _Walker:
    def __init__(self, relations: Mapping[tuple[str, str], Relation]) -> None:
        self.relations = relations
        self.uses: list[ColumnUse] = []
        self.places: dict[int, str] = {}
        self.blocks: list[Block] = []

    # query blocks

    def select(self, node: Any, parent: Scope | None, ctes: frozenset[str]) -> None:
        if node.withClause:
            for cte in node.withClause.ctes:
                if isinstance(cte.ctequery, parse.ast.SelectStmt):
                    known = ctes | {cte.ctename} if node.withClause.recursive else ctes
                    self.select(cte.ctequery, parent, known)
                else:
                    self.mention(cte.ctequery, "other")
                ctes = ctes | {cte.ctename}
        if node.larg is not None:
            self.select(node.larg, parent, ctes)
            self.select(node.rarg, parent, ctes)
            self.limits(node)
            return
        scope = Scope(parent, len(self.blocks), ctes=ctes)
        self.blocks.append(Block(scope.block, False, False, ()))  # keeps the number; filled in below
        conditions: list[Any] = []
        for item in node.fromClause or ():
            self.from_item(item, scope, conditions)
        self.blocks[scope.block] = Block(
            scope.block,
            has_aggregate(node),
            node.limitCount is not None,
            tuple((alias, relation.oid) for alias, relation in scope.sources.items() if relation is not None),
        )
        for condition in conditions:
            self.condition(condition, scope)
        self.condition(node.whereClause, scope)
        self.output(node, scope)
        self.limits(node)

    def output(self, node: Any, scope: Scope) -> None:
        grouped = has_aggregate(node)
        for target in node.targetList or ():
            self.expression(target, scope, "output")
        self.expression(node.valuesLists, scope, "output")
        self.expression(node.havingClause, scope, "other")
        self.expression(node.windowClause, scope, "other")
        for item in node.groupClause or ():
            if (column := resolved_column(output_expression(item, node), scope)) and column.scope is scope:
                self.add(column, GROUP)
            self.expression(item, scope, "other")
        first: str | None = None
        ordered = not grouped
        for item in node.sortClause or ():
            found = resolved_column(output_expression(item.node, node), scope)
            # An index gives the order of one table's columns; the rest of a mixed list has to be sorted anyway.
            plain = found is not None and found.scope is scope and found.plain
            if ordered and found and plain and first in (None, found.alias):
                first = found.alias
                nulls = {1: True, 2: False}.get(int(item.sortby_nulls))
                descending = item.sortby_dir == parse.enums.SortByDir.SORTBY_DESC
                self.add(found, ORDER, descending=descending, nulls_first=nulls)
            else:
                ordered = False
            self.expression(item.node, scope, "other")

    def limits(self, node: Any) -> None:
        self.mention(node.limitCount, "limit")
        self.mention(node.limitOffset, "offset")

    def from_item(self, item: Any, scope: Scope, conditions: list[Any]) -> None:
        ast = parse.ast
        if isinstance(item, ast.RangeVar):
            alias = item.alias.aliasname if item.alias else item.relname
            known = None if item.schemaname is None else self.relations.get((item.schemaname, item.relname))
            if item.alias and item.alias.colnames:
                known = None  # renamed columns: not worth following
            scope.sources[alias] = known
        elif isinstance(item, ast.JoinExpr):
            self.from_item(item.larg, scope, conditions)
            left = list(scope.sources.items())
            self.from_item(item.rarg, scope, conditions)
            right = [pair for pair in scope.sources.items() if pair not in left]
            if item.quals is not None:
                conditions.append(item.quals)
            for name in item.usingClause or ():
                self.using(name.sval, left, right, scope)
        elif isinstance(item, ast.RangeSubselect):
            scope.sources[item.alias.aliasname if item.alias else f"?{len(scope.sources)}"] = None
            self.select(item.subquery, scope if item.lateral else scope.parent, scope.ctes)
        else:
            alias = getattr(getattr(item, "alias", None), "aliasname", None)
            scope.sources[alias or f"?{len(scope.sources)}"] = None
            self.expression(item, scope, "other")

    def using(self, name: str, left: Sequence[Any], right: Sequence[Any], scope: Scope) -> None:
        ends = [
            next((Column(scope, a, r, name, True) for a, r in side if r is not None and name in r.columns), None)
            for side in (left, right)
        ]
        if ends[0] and ends[1]:
            self.join(ends[0], ends[1], True)

    # conditions

    def condition(self, node: Any, scope: Scope, usable: bool = True) -> None:
        ast, enums = parse.ast, parse.enums
        if node is None:
            return
        if isinstance(node, ast.BoolExpr):
            inner = usable and node.boolop == enums.BoolExprType.AND_EXPR
            if node.boolop == enums.BoolExprType.NOT_EXPR and (column := resolved_column(node.args[0], scope)):
                self.add(column, EQUALITY, operator="=", literal="false", usable=usable)
                return
            for item in node.args:
                self.condition(item, scope, inner)
        elif isinstance(node, ast.A_Expr):
            self.comparison(node, scope, usable)
        elif isinstance(node, ast.NullTest):
            wanted = "null" if node.nulltesttype == enums.NullTestType.IS_NULL else "not null"
            if column := resolved_column(node.arg, scope):
                self.add(column, NULL_TEST, literal=wanted, usable=usable and column.plain)
            else:
                self.expression(node.arg, scope, "other")
        elif isinstance(node, ast.SubLink):
            self.sublink(node, scope, usable)
        elif column := resolved_column(node, scope):
            self.add(column, EQUALITY, operator="=", literal="true", usable=usable and column.plain)
        else:
            self.expression(node, scope, "other")

    def comparison(self, node: Any, scope: Scope, usable: bool) -> None:
        kinds = parse.enums.A_Expr_Kind
        operator = node.name[-1].sval
        match node.kind:
            case kinds.AEXPR_OP | kinds.AEXPR_NOT_DISTINCT:
                self.plain_comparison(node.lexpr, operator, node.rexpr, scope, usable and node.kind == kinds.AEXPR_OP)
            case kinds.AEXPR_BETWEEN | kinds.AEXPR_BETWEEN_SYM:
                low, high = node.rexpr
                self.plain_comparison(node.lexpr, ">=", low, scope, usable)
                self.plain_comparison(node.lexpr, "<=", high, scope, usable)
            case kinds.AEXPR_IN:
                for item in node.rexpr:
                    self.against(node.lexpr, item, scope, IN_LIST, operator, usable and operator == "=")
            case kinds.AEXPR_OP_ANY if operator == "=":
                items = node.rexpr.elements if isinstance(node.rexpr, parse.ast.A_ArrayExpr) else None
                for item in items or (node.rexpr,):
                    self.against(node.lexpr, item, scope, IN_LIST, "=", usable, is_array=items is None)
            case kinds.AEXPR_LIKE if operator == "~~":
                self.against(node.lexpr, node.rexpr, scope, PREFIX_LIKE, operator, usable)
            case _:
                self.against(node.lexpr, node.rexpr, scope, RANGE, operator, False)

    def plain_comparison(self, left: Any, operator: str, right: Any, scope: Scope, usable: bool) -> None:
        ast = parse.ast
        if isinstance(left, ast.RowExpr) and isinstance(right, ast.RowExpr) and operator == "=":
            for one, other in zip(left.args, right.args, strict=False):
                self.plain_comparison(one, operator, other, scope, usable)
            return
        here, there = resolved_column(left, scope), resolved_column(right, scope)
        if here and there:
            self.join(here, there, usable and operator == "=")
        elif here:
            self.against(left, right, scope, EQUALITY if operator == "=" else RANGE, operator, usable)
        elif there and operator in _MIRRORED:
            mirrored = _MIRRORED[operator]
            self.against(right, left, scope, EQUALITY if operator == "=" else RANGE, mirrored, usable)
        else:
            self.expression((left, right), scope, "other")

    def against(
        self, left: Any, right: Any, scope: Scope, use: str, operator: str, usable: bool, is_array: bool = False
    ) -> None:
        """A column compared with something that is no column of its own."""
        column = resolved_column(left, scope)
        if column is None:
            self.expression((left, right), scope, "other")
            return
        usable = usable and column.plain and (use != RANGE or operator in _MIRRORED) and operator != "<>"
        value = right
        while isinstance(value, parse.ast.TypeCast):
            value = value.arg
        if isinstance(value, parse.ast.ParamRef):
            self.places[value.number] = "condition"
            self.add(column, use, operator=operator, parameter=value.number, usable=usable, is_array=is_array)
        elif isinstance(value, parse.ast.A_Const):
            self.add(column, use, operator=operator, literal=_constant(value), usable=usable)
        else:
            inside = tuple(dict.fromkeys(parameters_in(value)))
            mixed = reads_table_of(value, column)
            simple = not _has_subquery(value)
            self.add(column, use, operator=operator, usable=usable and not mixed, arithmetic=inside if simple else ())
            self.expression(right, scope, "condition" if simple else "other")

    def join(self, one: Column, other: Column, usable: bool) -> None:
        if (one.scope, one.alias) == (other.scope, other.alias):
            return
        for here, there in ((one, other), (other, one)):
            use = ColumnUse(here.relation.oid, here.name, JOIN, "=", usable=usable and here.plain)
            self.put(replace(use, other=(there.relation.oid, there.name)), here)

    def sublink(self, node: Any, scope: Scope, usable: bool) -> None:
        enums = parse.enums
        if node.subLinkType == enums.SubLinkType.ANY_SUBLINK and not node.operName:
            targets = node.subselect.targetList or ()
            if (column := resolved_column(node.testexpr, scope)) and len(targets) == 1:
                self.add(column, JOIN, operator="=", usable=usable and column.plain)
        elif node.testexpr is not None:
            self.expression(node.testexpr, scope, "other")
        self.select(node.subselect, scope, scope.ctes)

    # the rest

    def expression(self, node: Any, scope: Scope, place: str) -> None:
        """Note the parameters below a node and analyse its subqueries."""
        if isinstance(node, (tuple, list)):
            for item in node:
                self.expression(item, scope, place)
        elif isinstance(node, parse.ast.SubLink):
            self.sublink(node, scope, False)
        elif isinstance(node, parse.ast.SelectStmt):
            self.select(node, scope, scope.ctes)
        elif isinstance(node, parse.ast.ParamRef):
            self.places.setdefault(node.number, place)
        elif isinstance(node, parse.ast.FuncCall) and node.funcname[-1].sval in _UNIT_FUNCTIONS:
            self.mention(node.args[:1], "unit")
            self.expression(node.args, scope, place)
        elif isinstance(node, parse.ast.CaseWhen):
            self.condition(node.expr, scope, False)
            self.expression(node.result, scope, place)
        elif isinstance(node, parse.ast.A_Expr) and place != "condition":
            self.comparison(node, scope, False) if _is_comparison(node) else self.children(node, scope, place)
        elif isinstance(node, parse.ast.Node):
            self.children(node, scope, place)

    def children(self, node: Any, scope: Scope, place: str) -> None:
        for name in node:
            self.expression(getattr(node, name), scope, place)

    def mention(self, node: Any, place: str) -> None:
        for number in parameters_in(node):
            self.places.setdefault(number, place)

    def add(self, column: Column, use: str, **details: Any) -> None:
        self.put(ColumnUse(column.relation.oid, column.name, use, **details), column)

    def put(self, use: ColumnUse, column: Column) -> None:
        self.uses.append(replace(use, block=column.scope.block, instance=column.alias))


def _is_comparison(node: Any) -> bool:
    return node.kind != parse.enums.A_Expr_Kind.AEXPR_OP or node.name[-1].sval in _MIRRORED


def _has_subquery(node: Any) -> bool:
    if isinstance(node, (tuple, list)):
        return any(_has_subquery(item) for item in node)
    if isinstance(node, parse.ast.SubLink):
        return True
    return isinstance(node, parse.ast.Node) and any(_has_subquery(getattr(node, name)) for name in node)


def _constant(node: Any) -> str | None:
    if node.isnull or node.val is None:
        return None
    value = node.val
    for name in ("ival", "fval", "sval", "bsval", "boolval"):
        if hasattr(value, name):
            raw = getattr(value, name)
            return str(raw).lower() if isinstance(raw, bool) else str(raw)
    return None
