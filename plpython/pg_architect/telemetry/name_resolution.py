"""Which column of which relation a name in a query means: pure over a parse tree with qualified relation names.

Only what is certain is resolved. A column of a subquery, a CTE or a function is opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pg_architect.safety import parse


@dataclass(frozen=True, slots=True)
class Relation:
    """What the analysis must know of a relation: its columns, to resolve unqualified names."""

    oid: int
    columns: frozenset[str]


@dataclass(slots=True)
class Scope:
    """The names that a query block sees: its own FROM list, then those around it; a source that is None is opaque."""

    parent: Scope | None
    block: int
    sources: dict[str, Relation | None] = field(default_factory=dict)
    ctes: frozenset[str] = frozenset()

    def resolve(self, names: Sequence[str]) -> tuple[Scope, str, Relation, str] | None:
        """The scope, alias, relation and column that a (qualified) name means, if it is a relation's column."""
        column = names[-1]
        scope: Scope | None = self
        while scope is not None:
            if len(names) > 1:
                if names[-2] in scope.sources:
                    relation = scope.sources[names[-2]]
                    return (scope, names[-2], relation, column) if relation and column in relation.columns else None
            else:
                owners = [(a, r) for a, r in scope.sources.items() if r is not None and column in r.columns]
                if len(owners) == 1 and None not in scope.sources.values():
                    return scope, owners[0][0], owners[0][1], column
                if owners or None in scope.sources.values():
                    # A subquery or function might own the name as well: take it only if nothing else can.
                    return (scope, owners[0][0], owners[0][1], column) if len(owners) == 1 else None
            scope = scope.parent
        return None


@dataclass(frozen=True, slots=True)
class Column:
    scope: Scope
    alias: str
    relation: Relation
    name: str
    plain: bool  # no cast around it


def resolved_column(node: Any, scope: Scope) -> Column | None:
    """The column that an expression is, but for casts and collations around it."""
    plain = True
    while isinstance(node, (parse.ast.TypeCast, parse.ast.CollateClause)):
        node, plain = node.arg, False
    if not isinstance(node, parse.ast.ColumnRef):
        return None
    if not all(isinstance(item, parse.ast.String) for item in node.fields):
        return None
    found = scope.resolve([item.sval for item in node.fields])
    return None if found is None else Column(*found, plain)


def reads_table_of(node: Any, column: Column) -> bool:
    """Whether an expression reads the same appearance of the table that a column belongs to."""
    if isinstance(node, (tuple, list)):
        return any(reads_table_of(item, column) for item in node)
    if isinstance(node, parse.ast.ColumnRef):
        found = resolved_column(node, column.scope)
        return found is not None and (found.scope, found.alias) == (column.scope, column.alias)
    return isinstance(node, parse.ast.Node) and any(reads_table_of(getattr(node, name), column) for name in node)


def output_expression(node: Any, select: Any) -> Any:
    """What an ORDER BY or GROUP BY item stands for: an output column by number or name, else itself."""
    targets = select.targetList or ()
    if isinstance(node, parse.ast.A_Const) and isinstance(node.val, parse.ast.Integer):
        return targets[node.val.ival - 1].val if 0 < node.val.ival <= len(targets) else node
    if isinstance(node, parse.ast.ColumnRef) and len(node.fields) == 1:
        name = getattr(node.fields[0], "sval", None)
        return next((t.val for t in targets if t.name is not None and t.name == name), node)
    return node
