"""The name that the server gives to an index without one (FigureIndexColname, ChooseIndexName and makeObjectName)."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.core.identifier import NAME_BYTES, shortened
from pg_architect.safety import index_queries as sql
from pg_architect.safety import parse
from pg_architect.safety.context import Context
from pg_architect.safety.parse import Tree, kind_of

# A name of strength 1 gives way to what a cast or a CASE has inside (FigureColnameInternal in parse_target.c).
_STRONG, _WEAK = 2, 1
_FIXED = {"A_ArrayExpr": "array", "RowExpr": "row", "CoalesceExpr": "coalesce", "GroupingFunc": "grouping"}


def choose(table: str, schema: str, items: Sequence[Tree], context: Context) -> str:
    """The first free name for an index over these keys and included columns."""
    addition = _addition(_column_names(items))
    for number in range(1000):
        name = _object_name(table, addition, f"idx{number or ''}")
        if not context.db.query(sql.RELATION_NAMED, schema, name):
            break
    return name


def _column_names(items: Sequence[Tree]) -> list[str]:
    """Names of the index's columns, each once."""
    names: list[str] = []
    for item in items:
        base = item.name or (figured(item.expr) if item.expr is not None else None) or "expr"
        name, number = base, 0
        while name in names:
            number += 1
            name = shortened(base, NAME_BYTES - len(str(number))) + str(number)
        names.append(name)
    return names


def figured(node: Tree) -> str | None:
    """The name that an expression gives to a column; None where it has none, or one that is not known."""
    return _figured(node)[1]


def _figured(node: Tree | None) -> tuple[int, str | None]:
    kind = kind_of(node) if node is not None else ""
    if node is None:
        return 0, None
    if kind in _NAMED:
        return _STRONG, (parse.strings(getattr(node, _NAMED[kind])) or ["expr"])[-1]
    if kind in _FIXED:
        return _STRONG, _FIXED[kind]
    if kind == "MinMaxExpr":
        return _STRONG, "greatest" if node.op.name == "IS_GREATEST" else "least"
    if kind == "A_Expr":
        return (_STRONG, "nullif") if node.kind.name == "AEXPR_NULLIF" else (0, None)
    if kind in ("CollateClause", "A_Indirection"):
        return _figured(node.arg)
    if kind in ("TypeCast", "CaseExpr"):
        strength, name = _figured(node.arg if kind == "TypeCast" else node.defresult)
        if strength > _WEAK:
            return strength, name
        return _WEAK, "case" if kind == "CaseExpr" else (parse.strings(node.typeName.names) or ["expr"])[-1]
    return 0, None


_NAMED = {"ColumnRef": "fields", "FuncCall": "funcname"}


def _addition(names: Sequence[str]) -> str:
    text = ""
    for name in names:
        text += f"_{name}" if text else name
        if len(text.encode()) > NAME_BYTES:
            break
    return text


def _object_name(first: str, second: str, label: str) -> str:
    """Both cut as far as it takes, the longer one first."""
    room = NAME_BYTES - len(label) - 2
    lengths = [len(first.encode()), len(second.encode())]
    while sum(lengths) > room:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    return f"{shortened(first, lengths[0])}_{shortened(second, lengths[1])}_{label}"
