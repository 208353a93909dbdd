"""Whether one node of a tree reaches nothing but PostgreSQL's own functions, operators, types and collations.

The proof holds under ``search_path = pg_catalog, pg_temp``, where a name without a schema is pg_catalog's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pg_architect.safety import parse
from pg_architect.safety.catalogue import Catalogue
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.scope import Unproved

WRITES = {"InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "merge"}

# Every node class that may occur at any depth. Those with fields that need a look have a check in _CHECKS below.
_ALLOWED_NAMES = (
    "SelectStmt ResTarget ColumnRef A_Star A_Const Integer Float Boolean String BitString ParamRef A_Expr BoolExpr"
    " NullTest BooleanTest FuncCall TypeCast TypeName SubLink CaseExpr CaseWhen CoalesceExpr MinMaxExpr JoinExpr"
    " RangeVar RangeSubselect Alias SortBy WindowDef WithClause CommonTableExpr GroupingSet GroupingFunc A_ArrayExpr"
    " A_Indirection A_Indices RowExpr CollateClause SQLValueFunction"
)
_ALLOWED = frozenset(_ALLOWED_NAMES.split())
_REFUSED = {
    "LockingClause": "it locks rows (FOR UPDATE or FOR SHARE)",
    "IntoClause": "it creates a table (SELECT INTO)",
    "RangeFunction": "a function in FROM is not supported yet",
    "RangeTableSample": "TABLESAMPLE is not supported yet",
    **dict.fromkeys(WRITES, "it writes in a WITH query"),
}

_DECIMAL = re.compile(r"-?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?")


def check_node(node: Tree, catalogue: Catalogue) -> None:
    """Raise Unproved with the reason if ``node`` by itself may reach code of a user; its children are not looked at."""
    kind = kind_of(node)
    if kind not in _ALLOWED:
        raise Unproved(_REFUSED.get(kind, f"it contains a construct that is not supported yet ({kind})"))
    check = _CHECKS.get(kind)
    if check is not None:
        check(node, catalogue)


def _check_number(node: Tree, _: Catalogue) -> None:
    # Newer grammars than the server's know 0x1F and 1_000, which older ones read as two tokens.
    if not _DECIMAL.fullmatch(node.fval):
        raise Unproved(f"number {node.fval} is not decimal")


def _check_parameter(node: Tree, _: Catalogue) -> None:
    if node.number < 1:
        raise Unproved("it has a parameter without a number")


def built_in_name(names: tuple[Tree, ...] | None, what: str) -> str:
    """The last part of a name that can only mean something in pg_catalog."""
    parts = parse.strings(names)
    if not parts or len(parts) > 2 or (len(parts) == 2 and parts[0] != "pg_catalog"):
        raise Unproved(f"{what} {'.'.join(parts or ['?'])} is not built in")
    return parts[-1]


def _require(problem: str | None) -> None:
    if problem is not None:
        raise Unproved(problem)


def _check_function(node: Tree, catalogue: Catalogue) -> None:
    # pglast also accepts extract($1 from x), as pg_stat_statements prints it; the server needs the ordinary form.
    node.funcformat = parse.enums.CoercionForm.COERCE_EXPLICIT_CALL
    _require(catalogue.function_problem(built_in_name(node.funcname, "function")))


# The names that the grammar gives these kinds are no operators; what they stand for is always checked.
_NAMED_KINDS = frozenset({"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"})


def _check_expression(node: Tree, catalogue: Catalogue) -> None:
    if node.kind.name not in _NAMED_KINDS:
        _require(catalogue.operator_problem(built_in_name(node.name, "operator")))


def _check_sublink(node: Tree, catalogue: Catalogue) -> None:
    if node.operName is not None:
        _require(catalogue.operator_problem(built_in_name(node.operName, "operator")))


def _check_sort(node: Tree, catalogue: Catalogue) -> None:
    if node.useOp is not None:
        _require(catalogue.operator_problem(built_in_name(node.useOp, "operator")))


def _check_type(node: Tree, catalogue: Catalogue) -> None:
    if node.setof or node.pct_type:
        raise Unproved("it names the type of a column or a set")
    _require(catalogue.type_problem(built_in_name(node.names, "type")))


def _check_collation(node: Tree, catalogue: Catalogue) -> None:
    name = built_in_name(node.collname, "collation")
    if not catalogue.collation_exists(name):
        raise Unproved(f"collation {name} is not built in")


def _check_indirection(node: Tree, _: Catalogue) -> None:
    # (x).f calls f(x) where x has no field f.
    if any(kind_of(item) != "A_Indices" for item in node.indirection):
        raise Unproved("it selects a field of a value")


def _check_target(node: Tree, _: Catalogue) -> None:
    if node.indirection is not None:
        raise Unproved("it assigns to a part of a value")


_CHECKS: Mapping[str, Callable[[Tree, Catalogue], None]] = {
    "Float": _check_number,
    "ParamRef": _check_parameter,
    "FuncCall": _check_function,
    "A_Expr": _check_expression,
    "SubLink": _check_sublink,
    "SortBy": _check_sort,
    "TypeName": _check_type,
    "CollateClause": _check_collation,
    "A_Indirection": _check_indirection,
    "ResTarget": _check_target,
}
