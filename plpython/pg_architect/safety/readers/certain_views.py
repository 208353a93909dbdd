"""What the server would refuse about the columns of a view, or of a table that is made of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pg_architect.core.db import Row
from pg_architect.safety import parse, volatility
from pg_architect.safety.context import Context
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers.certain import fails
from pg_architect.safety.readers.certain_constraints import check_once
from pg_architect.safety.readers.index_names import figured
from pg_architect.safety.relation import Relation

TEXT = 25
# These have no name of their own.
_NAMELESS = frozenset({"A_Const", "A_Expr", "BoolExpr", "NullTest", "BooleanTest"})


def check_names(query: Tree, given: Sequence[str] | None, what: str) -> None:
    """Refused where two columns have one name, or more names are ``given`` than there are columns."""
    targets = _targets(query)
    if not _has_star(targets):
        if len(given or ()) > len(targets):
            raise fails(f"{what} has {len(targets)} columns, and {len(given or ())} names are given")
        check_once([name for name in _names(targets, given) if name is not None], what)
    elif not given:
        check_once([name for name in map(_name, targets) if name is not None], what)


def check_replaced(query: Tree, given: Sequence[str] | None, there: Relation, context: Context) -> None:
    """Refused where CREATE OR REPLACE VIEW would drop a column, rename one, or change its type."""
    targets = _targets(query)
    if _has_star(targets):
        return
    columns = there.columns(context.db)
    if len(targets) < len(columns):
        raise fails(f"{there.display} has {len(columns)} columns: replacing it cannot leave any away")
    for name, (old, row), target in zip(_names(targets, given), columns.items(), targets, strict=False):
        if name is not None and name != old:
            raise fails(f"column {old} of {there.display} would be called {name}: replacing it cannot rename columns")
        _check_type(target, row, query, there, context)


def _check_type(target: Tree, row: Row, query: Tree, there: Relation, context: Context) -> None:
    value = target.val
    found: int | None = TEXT
    if not (kind_of(value) == "A_Const" and not value.isnull and kind_of(value.val) == "String"):
        found = volatility.type_of(context.db, value, _types(query, context))
    if found is not None and volatility.known_type(context.db, row["type_oid"]) and found != row["type_oid"]:
        detail = f"column {row['name']} of {there.display} is {row['type']}: replacing it cannot change its type"
        raise fails(detail)


def _types(query: Tree, context: Context) -> Mapping[str, int | None]:
    """The types of the columns of the only table that is read; nothing where there are several, or other things."""
    sources = [] if query.larg is not None else list(query.fromClause or ())
    if len(sources) != 1 or kind_of(sources[0]) != "RangeVar" or query.withClause is not None:
        return {}
    node = sources[0]
    if node.schemaname is None or (node.alias is not None and node.alias.colnames):
        return {}
    relation = context.names.of(context.names.find(node.schemaname, node.relname))
    return {name: row["type_oid"] for name, row in relation.columns(context.db).items()}


def _targets(query: Tree) -> list[Tree]:
    while query.larg is not None:
        query = query.larg
    if query.valuesLists:
        return [
            parse.ast.ResTarget(name=f"column{number}", val=value)
            for number, value in enumerate(query.valuesLists[0], 1)
        ]
    return list(query.targetList or ())


def _has_star(targets: Sequence[Tree]) -> bool:
    return any(
        kind_of(target.val) in ("ColumnRef", "A_Indirection")
        and kind_of((getattr(target.val, "fields", None) or target.val.indirection)[-1]) == "A_Star"
        for target in targets
    )


def _names(targets: Sequence[Tree], given: Sequence[str] | None) -> list[str | None]:
    own = [_name(target) for target in targets]
    return [*(given or ()), *own[len(given or ()) :]]


def _name(target: Tree) -> str | None:
    """The name of an output column; None where it is not known."""
    if target.name is not None:
        return str(target.name)
    value = target.val
    if kind_of(value) == "ColumnRef":
        fields = parse.strings(value.fields)
        return fields[-1] if fields else None
    name = figured(value)
    return "?column?" if name is None and kind_of(value) in _NAMELESS else name
