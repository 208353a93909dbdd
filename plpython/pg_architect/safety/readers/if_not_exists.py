"""What IF NOT EXISTS would hide: that what has the name already is something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pg_architect.core.db import Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers.column_type import modifier
from pg_architect.safety.readers.fields import type_text
from pg_architect.safety.relation import Relation


def check_index(tree: Tree, relation: Relation, context: Context, is_same: Callable[[int], bool | None]) -> None:
    """Refused where the table's index of that name is another one; ``is_same`` compares plain ones by its OID."""
    index = next((one for one in relation.indexes(context.db) if one["name"] == tree.idxname), None)
    if index is None:
        return
    difference = _difference(tree, index, context.columns(relation))
    if difference is None:
        same = is_same(index["oid"])
        if same is None and (index["has_expressions"] or index["is_partial"]):
            same = _resembles(tree, str(context.db.query(sql.INDEX_TEXT, index["oid"])[0]["text"]))
        difference = "defined in another way" if same is False else None
    if difference is not None:
        raise hides(f"index {index['display']} is there and is {difference}")


def hides(what: str) -> Refused:
    """The refusal."""
    return Refused("if-not-exists-hides", f"if not exists would report success, but {what}")


def _difference(tree: Tree, index: Row, columns: Mapping[str, Row]) -> str | None:
    if bool(tree.unique) != index["is_unique"]:
        return "unique" if index["is_unique"] else "not unique"
    if tree.accessMethod != index["method"]:
        return f"a {index['method']} index"
    if (tree.whereClause is not None) != index["is_partial"]:
        return "partial" if index["is_partial"] else "not partial"
    keys = [*tree.indexParams, *(tree.indexIncludingParams or ())]
    numbers = [columns[item.name]["number"] if item.name in columns else 0 for item in keys]
    return None if numbers == index["columns"] else "on other columns"


def _resembles(tree: Tree, definition: str) -> bool:
    """Whether expressions and predicate name the same columns and functions; the server writes the rest anew."""
    try:
        there = parse.parse_one(definition)
    except ArchitectError:
        return True
    return all(_names(one) == _names(other) for one, other in zip(_parts(tree), _parts(there), strict=True))


def _parts(tree: Tree) -> tuple[list[Tree], list[Tree]]:
    predicate = [] if tree.whereClause is None else [tree.whereClause]
    return [item.expr for item in tree.indexParams if item.expr is not None], predicate


def _names(nodes: Sequence[Tree]) -> set[tuple[str, str]]:
    found = set()
    for node in nodes:
        for item in parse.walk(node):
            field = {"ColumnRef": "fields", "FuncCall": "funcname"}.get(kind_of(item))
            if field is not None:
                found.add((field, (parse.strings(getattr(item, field)) or [""])[-1]))
    return found


def check_columns(
    definitions: Sequence[Tree], types: Mapping[str, int | None], there: Relation, context: Context
) -> None:
    """Refused where the table that is there has other columns than those of CREATE TABLE."""
    columns = there.columns(context.db)
    if list(types) != list(columns) and set(types) != set(columns):
        odd = sorted(set(types) ^ set(columns))
        raise hides(f"{there.display} is there with other columns: {', '.join(odd[:5])}")
    for item in definitions:
        if item.typeName is not None:
            check_column(item, types[item.colname], columns[item.colname], there)


def check_column(item: Tree, type_oid: int | None, row: Row, relation: Relation) -> None:
    """Refused where the column that is there has another type than the definition says."""
    if not type_oid or not row["type_oid"] or not row["number"]:
        return
    wanted = modifier(item.typeName)
    is_array = bool(item.typeName.arrayBounds)
    other = not is_array and (type_oid != row["type_oid"] or wanted not in (None, row["typmod"]))
    if other or is_array != str(row["type"]).endswith("[]"):
        there, meant = f"{relation.display}.{item.colname} is there as {row['type']}", type_text(item.typeName)
        raise hides(f"{there} and not as {meant}")
