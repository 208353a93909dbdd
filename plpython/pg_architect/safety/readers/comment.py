"""COMMENT ON relations, columns, constraints, schemas, types, domains and statistics objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pg_architect.safety import locks, parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers import sequence, statistics, types
from pg_architect.safety.readers.fields import enum, only
from pg_architect.safety.relation import Relation

_RELATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "OBJECT_TABLE": ("table", ("r", "p")),
    "OBJECT_INDEX": ("index", ("i", "I")),
    "OBJECT_VIEW": ("view", ("v",)),
    "OBJECT_MATVIEW": ("materialized view", ("m",)),
    "OBJECT_SEQUENCE": ("sequence", ("S",)),
}
# Indexes that pg_architect builds are known by their comments.
_OWN_MARK = "pg_architect"


def read(tree: Tree, context: Context) -> Sequence[Operation]:
    """COMMENT; the way back writes the comment that was there."""
    only(tree, "objtype", "object", "comment")
    kind = enum(tree.objtype)
    lock: str | None = locks.SHARE_UPDATE_EXCLUSIVE
    relation: Relation | None = None
    objects: dict[str, Any] = {}
    if kind in _RELATIONS:
        word, kinds = _RELATIONS[kind]
        relation, tree.object = types.resolve(tree.object, kinds, context)
        what, old = f"{word} {relation.display}", relation.row["comment"]
    elif kind == "OBJECT_COLUMN":
        relation, what, old = _column(tree, context)
    elif kind == "OBJECT_TABCONSTRAINT":
        relation, what, old = _constraint(tree, context)
        lock = locks.ACCESS_SHARE
    else:
        what, old, objects = _other(kind, tree, context)
        lock = None
    for text in (tree.comment, old):
        if text is not None and text.strip().lower().startswith(_OWN_MARK):
            raise Refused("own-object", "comments that begin with pg_architect are its own marks")
    literal = "null" if old is None else context.db.query(sql.LITERAL, old)[0]["literal"]
    facts = {"object": what, "had_comment": old is not None, "objects": objects}
    return [Operation("comment", relation, lock, revert=(f"comment on {what} is {literal}",), facts=facts)]


def _split(names: Tree, what: str) -> tuple[tuple[Tree, ...], str]:
    """A list of names without its last, and that."""
    parts = parse.strings(names) if isinstance(names, tuple) else None
    if not parts or not 2 <= len(parts) <= 3:
        raise Refused("names", f"the {what} is named in a way that is not understood")
    return names[:-1], parts[-1]


def _column(tree: Tree, context: Context) -> tuple[Relation, str, str | None]:
    names, column = _split(tree.object, "column")
    relation, names = types.resolve(names, ("r", "p", "v", "m", "c"), context)
    row = relation.columns(context.db).get(column)
    if row is None:
        raise Refused("exists", f"{relation.display} has no column {column}")
    tree.object = (*names, *types.strings(column))
    return relation, f"column {relation.display}.{context.names.display(column)}", row["comment"]


def _constraint(tree: Tree, context: Context) -> tuple[Relation, str, str | None]:
    names, constraint = _split(tree.object, "constraint")
    relation, names = types.resolve(names, ("r", "p"), context)
    row = relation.constraints(context.db).get(constraint)
    if row is None:
        raise Refused("exists", f"{relation.display} has no constraint {constraint}")
    tree.object = (*names, *types.strings(constraint))
    return relation, f"constraint {context.names.display(constraint)} on {relation.display}", row["comment"]


def _other(kind: str, tree: Tree, context: Context) -> tuple[str, str | None, dict[str, Any]]:
    """What is no relation: its words, its comment, and what it was found to be."""
    if kind == "OBJECT_SCHEMA" and kind_of(tree.object) == "String":
        row = sequence.find_schema(tree.object.sval, context, keeps_name=True)
        return f"schema {row['display']}", row["comment"], {"schemas": {row["display"]: row["oid"]}}
    if kind in ("OBJECT_TYPE", "OBJECT_DOMAIN") and kind_of(tree.object) == "TypeName":
        is_domain = kind == "OBJECT_DOMAIN"
        kinds = (types.DOMAIN,) if is_domain else (types.ENUM, types.DOMAIN, types.COMPOSITE, types.RANGE)
        row = types.find_node(tree.object, context, kinds)
        word = "domain" if is_domain else "type"
        return f"{word} {row['display']}", row["comment"], {"types": {row["display"]: row["oid"]}}
    if kind == "OBJECT_STATISTIC_EXT":
        row, _ = statistics.find(tree.object, context)
        tree.object = types.strings(row["schema"], row["name"])
        return f"statistics {row['display']}", row["comment"], {"statistics": {row["display"]: row["oid"]}}
    if kind == "OBJECT_DOMCONSTRAINT" and isinstance(tree.object, tuple) and kind_of(tree.object[0]) == "TypeName":
        row = types.find_node(tree.object[0], context, (types.DOMAIN,))
        name = tree.object[1].sval
        found = [one for one in context.db.query(sql.DOMAIN_CONSTRAINTS, row["oid"]) if one["name"] == name]
        if not found:
            raise Refused("exists", f"{row['display']} has no constraint {name}")
        what = f"constraint {context.names.display(name)} on domain {row['display']}"
        return what, found[0]["comment"], {"types": {row["display"]: row["oid"]}}
    raise Refused("not-understood", f"comment on {kind.removeprefix('OBJECT_').lower()} is not understood")
