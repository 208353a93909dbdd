"""Queries: SELECT, VALUES and TABLE, EXPLAIN, and the queries inside views and tables that are made of one.

All are proved by harmless.prove_harmless to run nothing but built-in code, and take the place of what was written
with the schema of every table in them. The proof is about code and not about cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pg_architect.core.errors import ArchitectError
from pg_architect.safety import expression_queries, locks, parse
from pg_architect.safety.context import Context
from pg_architect.safety.harmless import Proof, prove_harmless
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import create_queries as sql
from pg_architect.safety.readers.fields import only, options, value_text
from pg_architect.safety.relation import Relation

_EXPLAIN_OPTIONS = frozenset(
    {"analyze", "verbose", "costs", "buffers", "timing", "summary", "settings", "wal", "format"}
)


@dataclass(frozen=True, slots=True)
class Query:
    """A proved query: its tree with all names written out, and the tables that it and its views read."""

    tree: Tree
    relations: tuple[Relation, ...]

    @property
    def others(self) -> Mapping[str, str]:
        """The locks that running or storing it takes."""
        return {relation.display: locks.ACCESS_SHARE for relation in self.relations}

    @property
    def largest(self) -> Relation | None:
        """The largest of the tables."""
        return max(self.relations, key=lambda one: one.bytes, default=None)


def prove(tree: Tree, what: str, context: Context) -> Query:
    """Prove a query for the asking role; Refused with the first reason."""
    if kind_of(tree) != "SelectStmt":
        raise Refused("not-understood", f"{what} is no plain query ({kind_of(tree)})")
    try:
        text = parse.deparse(tree)
    except ArchitectError as exc:
        raise Refused("written-back", exc.message) from exc
    role = context.expressions.role
    proof = prove_harmless(context.db, text, role.name, context.expressions.catalogue.deeper(), may_read=True)
    qualified = check_proof(proof, what)
    _check_shadowed(qualified, what, context)
    _note_names(tree, qualified, proof, context)
    read = dict.fromkeys((*proof.relations, *proof.behind))
    return Query(qualified, tuple(context.names.of(relation.oid) for relation in read))


def check_proof(proof: Proof, what: str) -> Tree:
    """The tree of the qualified text; Refused where the proof failed."""
    if not proof.harmless or proof.qualified_text is None:
        raise Refused("foreign-code", f"{what} is not proved: {proof.reason}")
    if proof.parameter_count:
        raise Refused("certain-to-fail", f"{what} has parameters, for which there are no values")
    return parse.parse_one(proof.qualified_text)


def read_select(tree: Tree, context: Context) -> Sequence[Operation]:
    """SELECT, VALUES and TABLE: what runs is the text with all names written out."""
    query = prove(tree, "the query", context)
    for name in tree.__slots__:
        setattr(tree, name, getattr(query.tree, name))
    return [Operation("select", others=query.others, undo="not_needed")]


def read_explain(tree: Tree, context: Context) -> Sequence[Operation]:
    """EXPLAIN of a query, which ANALYZE runs: so it is proved in any case, and nothing but a query is explained."""
    only(tree, "query", "options")
    facts: dict[str, Any] = {"analyze": False}
    for name, value in options(tree.options).items():
        if name not in _EXPLAIN_OPTIONS:
            raise Refused("not-understood", f"option {name} of explain is not understood")
        text = value_text(value)
        if name == "analyze":
            facts["analyze"] = text is None or text.lower() not in ("false", "off", "0")
    query = prove(tree.query, "the explained query", context)
    tree.query = query.tree
    return [Operation("explain", others=query.others, undo="not_needed", facts=facts)]


def _check_shadowed(tree: Tree, what: str, context: Context) -> None:
    """Refused where a built-in name may mean a user's object on the role's own search_path."""
    names: set[tuple[str, str]] = set()
    for node in parse.walk(tree):
        kind = kind_of(node)
        if kind == "FuncCall":
            names |= _bare("function", node.funcname)
        elif kind == "A_Expr":
            names |= _bare("operator", node.name)
        elif kind == "SubLink":
            names |= _bare("operator", node.operName)
        elif kind == "SortBy":
            names |= _bare("operator", node.useOp)
        elif kind == "CollateClause":
            names |= _bare("collation", node.collname)
    role = context.expressions.role
    shadowing = {**expression_queries.SHADOWING, "function": sql.SHADOWING_FUNCTION}
    for kind, name in sorted(names):
        rows = context.db.query(shadowing[kind], name, list(role.search_path))
        if rows:
            raise Refused(
                "shadowed",
                f"{what}: {kind} {name} may mean {rows[0]['display']} on the search_path of role {role.name}: write "
                "pg_catalog's with its schema",
            )


def _bare(kind: str, names: tuple[Tree, ...] | None) -> set[tuple[str, str]]:
    parts = parse.strings(names) or []
    return {(kind, parts[0])} if len(parts) == 1 else set()


def _note_names(tree: Tree, qualified: Tree, proof: Proof, context: Context) -> None:
    """Note what the names without a schema were taken to mean, which both ways of finding them agree upon."""
    before = [node for node in parse.walk(tree) if kind_of(node) == "RangeVar"]
    after = [node for node in parse.walk(qualified) if kind_of(node) == "RangeVar"]
    read = {relation.oid for relation in proof.relations}
    for old, new in zip(before, after, strict=True):
        if old.schemaname is None and new.schemaname is not None and context.names.find(None, old.relname) not in read:
            raise Refused("names", f"{old.relname} may mean several relations: write its schema")
