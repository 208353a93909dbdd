"""The proof that planning and running a captured statement executes nothing but built-in code.

Captured text is hostile: EXPLAIN alone calls functions that are marked immutable, whoever wrote them. So a statement
may be planned for somebody else only after every node of its tree is on a list, every function, operator, type and
collation that it reaches is PostgreSQL's own, and the tables that it reads carry no user code that the planner
evaluates. What is not proved is refused, with the first reason in plain words.

The proof holds for ``qualified_text`` under ``search_path = pg_catalog, pg_temp``; whoever plans it pins that. It is
about code and not about cost: a harmless
statement may still run for hours, so it runs under a timeout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pg_architect.core import errors
from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import shown
from pg_architect.safety import parse
from pg_architect.safety.catalogue import SYSTEM_COLUMNS, Catalogue, Role, Table
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.scope import Range, Scope, Unproved, read_scope


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a statement is harmless, and what it reads (a write: what it writes to).

    ``kind`` is select, insert, update, delete, merge, utility or unparsable. ``reason`` is None exactly if
    ``harmless``. ``qualified_text`` is the text to plan, with every relation's schema; None if not harmless.
    ``relations`` of a statement that is not harmless are those that could be resolved.
    """

    kind: str
    harmless: bool
    reason: str | None
    relations: tuple[Relation, ...]
    qualified_text: str | None
    parameter_count: int


_WRITES = {"InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "merge"}

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
    **dict.fromkeys(_WRITES, "it writes in a WITH query"),
}

_DECIMAL = re.compile(r"[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?")


def prove_harmless(db: Database, statement: str, role: str, catalogue: Catalogue | None = None) -> Proof:
    """Prove that ``statement``, captured from ``role``, runs only built-in code; share ``catalogue`` over many.

    Never raises for what the statement says; an error of the server (a cancel above all) passes through.
    """
    catalogue = catalogue or Catalogue(db)
    try:
        tree = parse.parse_one(statement)
    except ArchitectError as exc:
        return Proof("unparsable", False, exc.message, (), None, 0)
    parameters = max((node.number for node in parse.walk(tree) if kind_of(node) == "ParamRef"), default=0)
    kind = _kind(tree)
    if kind == "utility":
        return Proof(kind, False, "only queries can be planned", (), None, parameters)
    owner = catalogue.role(role)
    if owner is None:
        return Proof(kind, False, f"role {role} does not exist any more", (), None, parameters)
    if kind != "select":
        target = catalogue.find(tree.relation.schemaname, tree.relation.relname, owner)
        found = () if isinstance(target, str) else (Relation(target.oid, target.schema, tree.relation.relname),)
        return Proof(
            kind,
            False,
            f"it writes ({kind}): only queries are planned and replayed as a whole",
            found,
            None,
            parameters,
        )
    proving = _Proving(catalogue, owner)
    reason, text = None, None
    try:
        text = proving.run(tree)
    except Unproved as exc:
        reason = str(exc)
    except RecursionError:
        reason = "it is nested too deeply"
    read = tuple(dict.fromkeys(Relation(table.oid, table.schema, table.name) for table in proving.tables))
    return Proof(kind, reason is None, reason, read, text, parameters)


def explain_proof(db: Database, statement: str | None, role: str | None) -> list[Row]:
    """The rows of ``architect.prove_harmless``: one, for the session's own role or, with the right, another."""
    asking = db.query(
        "select session_user::text as name, pg_catalog.pg_has_role(session_user, 'pg_read_all_stats', 'USAGE') as all"
    )[0]
    if role is not None and role != asking["name"] and not asking["all"]:
        raise ArchitectError(
            errors.INSUFFICIENT_PRIVILEGE,
            f"permission denied to ask for role {role}",
            hint="Only a member of pg_read_all_stats may ask for another role than its own.",
        )
    proof = prove_harmless(db, statement or "", role if role is not None else str(asking["name"]))
    return [
        {
            "kind": proof.kind,
            "harmless": proof.harmless,
            "reason": proof.reason,
            "relations": [shown(relation.schema, relation.name) for relation in proof.relations],
            "parameters": proof.parameter_count,
        }
    ]


def _kind(tree: Tree) -> str:
    if kind_of(tree) == "SelectStmt":
        return "utility" if tree.intoClause is not None else "select"
    return _WRITES.get(kind_of(tree), "utility")


@dataclass(slots=True)
class _Proving:
    """One proof in progress; ``tables`` grows as relations are resolved, so that a refusal can name them."""

    catalogue: Catalogue
    role: Role
    tables: list[Table] = field(default_factory=list)
    refused: str | None = None

    def run(self, tree: Tree) -> str:
        """Return the text to plan; raises Unproved with the reason."""
        scope = read_scope(tree, self._resolve)
        for node in parse.walk(tree):
            _check_node(node, self.catalogue)
        # Relations are all resolved before the first is refused, so that the proof can name them.
        if self.refused is not None:
            raise Unproved(self.refused)
        problem = self.catalogue.server_problem()
        if problem is not None:
            raise Unproved(problem)
        for table in self.tables:
            if table.problem is not None:
                raise Unproved(table.problem)
        self._check_columns(scope)
        for node, table in scope.tables:
            node.schemaname = table.schema
        try:
            return parse.deparse(tree)
        except ArchitectError as exc:
            raise Unproved(exc.message) from exc

    def _resolve(self, node: Tree) -> Table | None:
        """The table that a RangeVar means; None, and a note of the reason, if it cannot be told."""
        if node.catalogname is not None:
            self.refused = self.refused or "it names a database"
            return None
        found = self.catalogue.find(node.schemaname, node.relname, self.role)
        if isinstance(found, str):
            self.refused = self.refused or found
            return None
        table = self.catalogue.table(found.oid)
        self.tables.append(table)
        return table

    def _check_columns(self, scope: Scope) -> None:
        """Every column has a type without user code, every reference is a column, and the role may read it."""
        used: dict[int, set[str]] = {table.oid: set() for table in self.tables}
        whole = scope.has_star or scope.has_natural_join
        for fields in scope.column_references:
            for table in _tables_of(fields, scope):
                if fields[-1] in table.columns or fields[-1] in SYSTEM_COLUMNS:
                    used[table.oid].add(fields[-1])
        for table in self.tables:
            used[table.oid] |= scope.joined_columns & set(table.columns)
        for table in self.tables:
            names: Iterable[str] = table.columns if whole else sorted(used[table.oid])
            for name in names:
                column = table.columns.get(name)
                if column is not None and column.problem is not None:
                    raise Unproved(column.problem)
            if not self.catalogue.may_read(self.role, table, None if whole else sorted(used[table.oid])):
                raise Unproved(f"role {self.role.name} may not read {table.display}")


def _tables_of(fields: tuple[str, ...], scope: Scope) -> list[Table]:
    """The tables that a column reference may reach; Unproved if it may be something else than a column.

    ``t`` alone may be a whole row, whose casts belong to the table's owner, and ``t.f`` means ``f(t)`` where t has no
    column f.
    """
    *qualifier, name = fields
    if not qualifier:
        if name in scope.names:
            raise Unproved(f"{name} may mean a whole row")
        return [item.table for item in scope.ranges if item.table is not None]
    if len(qualifier) > 2:
        raise Unproved("it names a database")
    candidates = [item for item in scope.ranges if item.name == qualifier[-1]]
    if len(qualifier) == 2:
        candidates = [item for item in candidates if item.table is not None and item.table.schema == qualifier[0]]
    if not candidates:
        raise Unproved(f"{'.'.join(qualifier)} is not a table of the statement")
    for item in candidates:
        if not _has_column(item, name):
            raise Unproved(f"{'.'.join(fields)} may not be a column")
    return [item.table for item in candidates if item.table is not None]


def _has_column(item: Range, name: str) -> bool:
    return name in item.columns or (item.table is not None and name in SYSTEM_COLUMNS)


def _check_node(node: Tree, catalogue: Catalogue) -> None:
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


def _built_in(names: tuple[Tree, ...] | None, what: str) -> str:
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
    _require(catalogue.function_problem(_built_in(node.funcname, "function")))


# The names that the grammar gives these kinds are no operators; what they stand for is always checked.
_NAMED_KINDS = frozenset({"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"})


def _check_expression(node: Tree, catalogue: Catalogue) -> None:
    if node.kind.name not in _NAMED_KINDS:
        _require(catalogue.operator_problem(_built_in(node.name, "operator")))


def _check_sublink(node: Tree, catalogue: Catalogue) -> None:
    if node.operName is not None:
        _require(catalogue.operator_problem(_built_in(node.operName, "operator")))


def _check_sort(node: Tree, catalogue: Catalogue) -> None:
    if node.useOp is not None:
        _require(catalogue.operator_problem(_built_in(node.useOp, "operator")))


def _check_type(node: Tree, catalogue: Catalogue) -> None:
    if node.setof or node.pct_type:
        raise Unproved("it names the type of a column or a set")
    _require(catalogue.type_problem(_built_in(node.names, "type")))


def _check_collation(node: Tree, catalogue: Catalogue) -> None:
    name = _built_in(node.collname, "collation")
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
