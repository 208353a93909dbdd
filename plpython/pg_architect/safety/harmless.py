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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pg_architect.core import errors
from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import shown
from pg_architect.safety import deep, parse
from pg_architect.safety.built_in import WRITES, check_node
from pg_architect.safety.catalogue import SYSTEM_COLUMNS, Catalogue, Role, Table
from pg_architect.safety.deep_nodes import NodeCheck, function_columns
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
    ``relations`` of a statement that is not harmless are those that could be resolved. ``behind`` are those that its
    views read.
    """

    kind: str
    harmless: bool
    reason: str | None
    relations: tuple[Relation, ...]
    qualified_text: str | None
    parameter_count: int
    behind: tuple[Relation, ...] = ()


def prove_harmless(
    db: Database, statement: str, role: str, catalogue: Catalogue | None = None, *, may_read: bool = False
) -> Proof:
    """Prove that ``statement``, captured from ``role``, runs only built-in code; share ``catalogue`` over many.

    ``may_read``: whether the role's rights are taken for granted, as where somebody else will run the statement.

    A deep catalogue also takes what is proved by looking inside: views, partitions, functions in SQL. That is good for
    a judgement, not for planning what somebody else has written with lent rights.

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
    proving = _Proving(catalogue, owner, may_read)
    reason, text = None, None
    try:
        text = proving.run(tree)
    except Unproved as exc:
        reason = str(exc)
    except RecursionError:
        reason = "it is nested too deeply"
    return Proof(kind, reason is None, reason, _relations(proving.tables), text, parameters, _relations(proving.behind))


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
    # An answer for people: nothing is planned because of it.
    name = role if role is not None else str(asking["name"])
    proof = prove_harmless(db, statement or "", name, Catalogue(db, deep=True))
    return [
        {
            "kind": proof.kind,
            "harmless": proof.harmless,
            "reason": proof.reason,
            "relations": [shown(relation.schema, relation.name) for relation in proof.relations],
            "parameters": proof.parameter_count,
        }
    ]


def _relations(tables: Iterable[Table]) -> tuple[Relation, ...]:
    return tuple(dict.fromkeys(Relation(table.oid, table.schema, table.name) for table in tables))


def _kind(tree: Tree) -> str:
    if kind_of(tree) == "SelectStmt":
        return "utility" if tree.intoClause is not None else "select"
    return WRITES.get(kind_of(tree), "utility")


@dataclass(slots=True)
class _Proving:
    """One proof in progress; ``tables`` grows as relations are resolved, so that a refusal can name them.

    ``role`` is None for a stored query, which names everything with its schema and reads with rights of its own.
    """

    catalogue: Catalogue
    role: Role | None
    may_read: bool = False
    tables: list[Table] = field(default_factory=list)
    behind: list[Table] = field(default_factory=list)
    refused: str | None = None

    def run(self, tree: Tree) -> str:
        """Return the text to plan; raises Unproved with the reason."""
        deeper = self.catalogue.deep
        scope = read_scope(tree, self._resolve, function_columns(self.catalogue) if deeper else None)
        check = self._node_check(scope)
        for node in parse.walk(tree):
            check(node)
        # Relations are all resolved before the first is refused, so that the proof can name them.
        if self.refused is not None:
            raise Unproved(self.refused)
        problem = self.catalogue.server_problem() or (deep.path_problem(self.catalogue) if deeper else None)
        if problem is not None:
            raise Unproved(problem)
        for table in self.tables:
            self._check_table(table)
        self._check_columns(scope)
        for node, table in scope.tables:
            node.schemaname = table.schema
        try:
            return parse.deparse(tree)
        except ArchitectError as exc:
            raise Unproved(exc.message) from exc

    def _node_check(self, scope: Scope) -> Callable[[Tree], None]:
        if self.catalogue.deep:
            return NodeCheck(self.catalogue, self.role, scope).check
        return lambda node: check_node(node, self.catalogue)

    def _check_table(self, table: Table) -> None:
        problem = table.problem
        if self.catalogue.deep:
            found = deep.look_behind(self.catalogue, table, self._prove_stored)
            problem = found.problem
            self.behind.extend(found.reached)
        if problem is not None:
            raise Unproved(problem)

    def _prove_stored(self, text: str) -> list[Table]:
        """Prove a stored query by the same rules; the tables that it reads, at any depth."""
        try:
            tree = parse.parse_one(text)
        except ArchitectError as exc:
            raise Unproved(exc.message) from exc
        if _kind(tree) != "select":
            raise Unproved("it is no query")
        inner = _Proving(self.catalogue, None)
        inner.run(tree)
        return [*inner.tables, *inner.behind]

    def _resolve(self, node: Tree) -> Table | None:
        """The table that a RangeVar means; None, and a note of the reason, if it cannot be told."""
        if node.catalogname is not None:
            self.refused = self.refused or "it names a database"
            return None
        if self.role is None and node.schemaname is None:
            self.refused = self.refused or f"it names {node.relname} without a schema"
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
                problem = self._column_problem(table, name)
                if problem is not None:
                    raise Unproved(problem)
            read = None if whole else sorted(used[table.oid])
            if self.role is not None and not self.may_read and not self.catalogue.may_read(self.role, table, read):
                raise Unproved(f"role {self.role.name} may not read {table.display}")

    def _column_problem(self, table: Table, name: str) -> str | None:
        column = table.columns.get(name)
        if column is None or not self.catalogue.deep:
            return None if column is None else column.problem
        return deep.column_problem(self.catalogue, table, name)


def _tables_of(fields: tuple[str, ...], scope: Scope) -> list[Table]:
    """The tables that a column reference may reach; Unproved if it may be something else than a column.

    ``t`` alone may be a whole row, whose casts belong to the table's owner, and ``t.f`` means ``f(t)`` where t has no
    column f.
    """
    *qualifier, name = fields
    if not qualifier:
        if name in scope.rows_of_tables:
            raise Unproved(f"{name} may mean a whole row")
        return [item.table for item in scope.ranges if item.table is not None]
    if len(qualifier) > 2:
        raise Unproved("it names a database")
    candidates = scope.candidates(fields)
    if not candidates:
        raise Unproved(f"{'.'.join(qualifier)} is not a table of the statement")
    for item in candidates:
        if not _has_column(item, name):
            raise Unproved(f"{'.'.join(fields)} may not be a column")
    return [item.table for item in candidates if item.table is not None]


def _has_column(item: Range, name: str) -> bool:
    return name in item.columns or (item.table is not None and name in SYSTEM_COLUMNS)
