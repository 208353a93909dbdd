"""What kind of statement a captured text is, what part of it reads, and whether planning that is harmless.

Planning goes on with a role that may only read, so an UPDATE or DELETE is looked at through the query that finds its
rows: ``update t set a = 1 where b = $1`` becomes ``select 1 from t where b = $1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pg_architect.core.db import Database, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import harmless, parse
from pg_architect.safety.catalogue import Catalogue

OUR_SCHEMA = "architect"
_KINDS = {
    "SelectStmt": "select",
    "InsertStmt": "insert",
    "UpdateStmt": "update",
    "DeleteStmt": "delete",
    "MergeStmt": "merge",
}


@dataclass(frozen=True, slots=True)
class Sort:
    kind: str
    text: str | None  # None where it may hold secrets
    fingerprint: str | None
    reason: str | None  # why it is never planned, if that is certain from the text alone
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Named:
    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Proved:
    """The reading part of a statement, qualified, or the reason why it is not planned.

    ``relations``: those of the reading part; where there is none, all. ``written``: what the statement writes to.
    """

    relations: tuple[Named, ...]
    text: str | None
    reason: str | None
    written: Named | None = None

    @property
    def named(self) -> tuple[Named, ...]:
        """All relations, the written one first."""
        return tuple(dict.fromkeys((*((self.written,) if self.written else ()), *self.relations)))


def classify(text: str | None) -> Sort:
    """The kind of a normalised text; the text of utility statements is not kept (they may hold passwords).

    What is executed by its name stands under the text of its PREPARE: it is the prepared statement that counts.
    """
    try:
        repaired = parse.repair_normalised(text or "")
        tree = parse.parse_one(repaired)
        if parse.kind_of(tree) == "PrepareStmt":
            tree = tree.query
            text = repaired = parse.deparse(tree)
        fingerprint = parse.fingerprint(repaired)
    except ArchitectError as exc:
        # It may be a utility statement of a newer grammar: not kept either.
        return Sort("unparsed", None, None, f"it could not be parsed: {exc.message}", False)
    kind = _KINDS.get(parse.kind_of(tree), "utility")
    if kind == "select" and tree.intoClause is not None:
        kind = "utility"
    is_ours = _is_ours(tree)
    if kind == "utility":
        return Sort(kind, None, fingerprint, "a utility statement has no plan", is_ours)
    return Sort(kind, text, fingerprint, None, is_ours)


def _is_ours(tree: Any) -> bool:
    for node in parse.walk(tree):
        kind = parse.kind_of(node)
        if kind == "RangeVar" and node.schemaname == OUR_SCHEMA:
            return True
        if kind == "FuncCall" and len(node.funcname) > 1 and node.funcname[-2].sval == OUR_SCHEMA:
            return True
        if kind == "CreateExtensionStmt" and node.extname == "pg_architect":
            return True
    return False


def reading_part(tree: Any) -> tuple[Any | None, str | None]:
    """The query that finds the rows of a statement, as a tree of its own, or why there is none."""
    kind = parse.kind_of(tree)
    if kind == "SelectStmt":
        tree.lockingClause = None  # FOR UPDATE needs the right to write; the plan below it is the same
        return tree, None
    if kind == "InsertStmt":
        query = tree.selectStmt
        if query is None or (query.valuesLists and not tree.withClause) or not _reads(query):
            return None, "it inserts rows without reading a table, so that there is nothing for an index to make faster"
        if tree.withClause and not query.withClause:
            query.withClause = tree.withClause
        return query, None
    if kind in ("UpdateStmt", "DeleteStmt"):
        others = tree.fromClause if kind == "UpdateStmt" else tree.usingClause
        query = parse.parse_one("select 1")
        query.fromClause = (tree.relation, *(others or ()))
        query.whereClause = tree.whereClause
        query.withClause = tree.withClause
        return query, None
    if kind == "MergeStmt":
        return None, "it is a MERGE, of which the reading part is not planned yet"
    return None, "a utility statement has no plan"


def written_columns(text: str) -> frozenset[str]:
    """The columns that an UPDATE sets."""
    tree = parse.parse_one(parse.repair_normalised(text))
    if parse.kind_of(tree) != "UpdateStmt":
        return frozenset()
    return frozenset(target.name for target in tree.targetList)


def _reads(query: Any) -> bool:
    return any(parse.kind_of(node) == "RangeVar" for node in parse.walk(query))


def _renumber(tree: Any) -> None:
    """Number the parameters from 1 without gaps: the server gives no type to one that does not occur."""
    numbers: dict[int, int] = {}
    for node in parse.walk(tree):
        if parse.kind_of(node) == "ParamRef":
            node.number = numbers.setdefault(node.number, len(numbers) + 1)


class Prover:
    """Proves statements one after another, reading the catalogue once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._catalogue = Catalogue(db)

    def prove(self, text: str, role: str) -> Proved:
        # The whole statement first: most are plain queries, and a proof parses for itself.
        whole = harmless.prove_harmless(self._db, text, role, self._catalogue)
        if whole.harmless:
            return Proved(tuple(Named(r.oid, r.schema, r.name) for r in whole.relations), whole.qualified_text, None)
        return self._prove_part(text, role)

    def _prove_part(self, text: str, role: str) -> Proved:
        named: list[tuple[str | None, str]] = []
        written: Named | None = None
        try:
            tree = parse.parse_one(parse.repair_normalised(text))
            named = _named_relations(tree)
            written = next(iter(self._resolve(_written_relation(tree), role)), None)
            query, reason = reading_part(tree)
            if query is None:
                return Proved(self._resolve(named, role), None, reason, written)
            # Parameters keep their numbers in a whole statement: the replay and the reader know them by these.
            if parse.kind_of(tree) != "SelectStmt":
                _renumber(query)
            proof = harmless.prove_harmless(self._db, parse.deparse(query), role, self._catalogue)
        except ArchitectError as exc:
            if not handled(exc):
                raise
            return Proved(self._resolve(named, role), None, exc.message, written)
        relations = tuple(Named(r.oid, r.schema, r.name) for r in proof.relations)
        if not proof.harmless:
            return Proved(relations or self._resolve(named, role), None, proof.reason, written)
        return Proved(relations, proof.qualified_text, None, written)

    def _resolve(self, named: Sequence[tuple[str | None, str]], role: str) -> tuple[Named, ...]:
        """The relations that these names mean to a role; those that are gone are left out."""
        owner = self._catalogue.role(role)
        found: dict[int, Named] = {}
        if owner is None:
            return ()
        for schema, name in named:
            match = self._catalogue.find(schema, name, owner)
            if not isinstance(match, str):
                found[match.oid] = Named(match.oid, match.schema, name)
        return tuple(found.values())


def _written_relation(tree: Any) -> list[tuple[str | None, str]]:
    if _KINDS.get(parse.kind_of(tree), "select") == "select":
        return []
    return [(tree.relation.schemaname, tree.relation.relname)]


def _named_relations(tree: Any) -> list[tuple[str | None, str]]:
    nodes = list(parse.walk(tree))
    ctes = {node.ctename for node in nodes if parse.kind_of(node) == "CommonTableExpr"}
    names = [(n.schemaname, n.relname) for n in nodes if parse.kind_of(n) == "RangeVar"]
    return list(dict.fromkeys(pair for pair in names if pair[0] is not None or pair[1] not in ctes))
