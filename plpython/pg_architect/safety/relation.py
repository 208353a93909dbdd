"""The relations that a statement names: found as the server would, with what the catalogue says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pg_architect.core.db import Database, Row
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.catalogue import OWN_SCHEMA, SYSTEM_SCHEMAS, Role
from pg_architect.safety.judgement import Reason, Refused
from pg_architect.safety.parse import Tree

KINDS: Mapping[str, str] = {
    "r": "table",
    "p": "partitioned table",
    "i": "index",
    "I": "partitioned index",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "f": "foreign table",
    "c": "composite type",
    "t": "TOAST table",
}
TABLES = ("r", "p")
INDEXES = ("i", "I")


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a user. ``row`` holds what relation_queries.RELATION reads: identity, size, what hangs on it."""

    oid: int
    schema: str
    name: str
    kind: str
    display: str
    row: Row = field(compare=False, hash=False)

    @property
    def bytes(self) -> int:
        """Its size at the last VACUUM or ANALYZE, or from the rows written since where it never had one."""
        return int(self.row["bytes"])

    @property
    def rows(self) -> float:
        """Its rows, estimated."""
        return float(self.row["rows"])

    @property
    def is_empty(self) -> bool:
        """Whether it certainly holds no row: not even a page."""
        return bool(self.row["is_empty"])

    def columns(self, db: Database) -> Mapping[str, Row]:
        """Its columns by name, with what relation_queries.COLUMNS reads."""
        return {row["name"]: row for row in db.query(sql.COLUMNS, self.oid)}

    def constraints(self, db: Database) -> Mapping[str, Row]:
        """Its constraints by name, with what relation_queries.CONSTRAINTS reads."""
        return {row["name"]: row for row in db.query(sql.CONSTRAINTS, self.oid)}

    def indexes(self, db: Database) -> Sequence[Row]:
        """Its indexes, with what relation_queries.INDEXES reads."""
        return db.query(sql.INDEXES, self.oid)


@dataclass(slots=True)
class Names:
    """Finds relations for one role, and remembers for the verdict what each name meant.

    ``notes`` tells for each name without a schema which relation it was taken for.
    """

    db: Database
    role: Role
    notes: list[Reason] = field(default_factory=list)
    used: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resolve(self, node: Tree, kinds: Sequence[str]) -> Relation:
        """The relation that a RangeVar means, with its schema written out; Refused where it may not be changed."""
        if node.catalogname is not None:
            raise Refused("names", "a name with a database in it is not understood")
        if node.relpersistence == "t":
            raise Refused("temporary-object", "temporary objects belong to one session")
        relation = self.of(self.find(node.schemaname, node.relname))
        if relation.kind not in kinds:
            wanted = " or ".join(dict.fromkeys(KINDS[kind] for kind in kinds))
            raise Refused(
                "object-kind", f"{relation.display} is a {KINDS.get(relation.kind, 'relation')}, not a {wanted}"
            )
        node.schemaname = relation.schema
        return relation

    def exists(self, node: Tree) -> bool:
        """Whether a RangeVar means any relation."""
        try:
            self.find(node.schemaname, node.relname)
        except Refused as exc:
            if exc.rule != "exists" or "ambiguous" in exc.detail:
                raise
            return False
        return True

    def find(self, schema: str | None, name: str) -> int:
        """The OID of the relation (of any kind) that a name means for the role."""
        rows = self.db.query(sql.NAMED, name)
        if schema is not None:
            for row in rows:
                if row["schema"] == schema:
                    return int(row["oid"])
            raise Refused("exists", f"relation {schema}.{name} does not exist")
        for path_schema in ("pg_catalog", *self.role.search_path):
            for row in rows:
                if row["schema"] == path_schema:
                    self._note(name, row, f"found by the search_path that role {self.role.name} has by configuration")
                    return int(row["oid"])
        users = [row for row in rows if row["schema"] not in SYSTEM_SCHEMAS and not row["schema"].startswith("pg_")]
        if len(users) == 1:
            path = f"the search_path that role {self.role.name} has by configuration"
            self._note(name, users[0], f"the only relation of that name, though {path} does not lead there")
            return int(users[0]["oid"])
        if users:
            raise Refused("exists", f"{name} is ambiguous: {', '.join(row['schema'] + '.' + name for row in users)}")
        state = "is temporary or does not exist" if rows else "does not exist"
        raise Refused("exists", f"relation {name} {state}")

    def of(self, oid: int) -> Relation:
        """The relation of an OID; Refused if it is not a user's."""
        rows = self.db.query(sql.RELATION, oid)
        if not rows:
            raise Refused("exists", f"relation {oid} does not exist")
        row = rows[0]
        relation = Relation(oid, row["schema"], row["name"], row["kind"], row["display"], row)
        _check_is_users(relation)
        self.used[relation.display] = {"oid": oid, "kind": KINDS.get(relation.kind, relation.kind)}
        return relation

    def check_new(self, node: Tree) -> str:
        """The displayed name of a relation to be made; Refused where the name is taken or nothing may be made."""
        if node.catalogname is not None or node.relpersistence == "t" or node.schemaname in ("pg_temp",):
            raise Refused("temporary-object", "temporary objects belong to one session")
        node.schemaname = self.check_schema(node.schemaname)
        self.check_free(node.schemaname, node.relname)
        return self.display(node.schemaname, node.relname)

    def check_schema(self, schema: str | None) -> str:
        """The schema in which a new object goes, by default the first existing one of the role's search_path."""
        if schema is None:
            for candidate in self.role.search_path:
                if self.db.query(sql.SCHEMA, candidate):
                    schema = candidate
                    break
            else:
                raise Refused("exists", "no schema of the search_path exists: name one")
            detail = f"a new object without a schema goes to {schema}, the first in the role's configured search_path"
            self.notes.append(Reason("schema", detail, {"schema": schema}))
        rows = self.db.query(sql.SCHEMA, schema)
        if not rows:
            raise Refused("exists", f"schema {schema} does not exist")
        check_schema_is_users(schema, rows[0]["extension"])
        return schema

    def check_free(self, schema: str, name: str) -> None:
        """Refused where the schema has a relation or type of that name."""
        if self.db.query(sql.NAME_TAKEN, schema, name):
            raise Refused("name-taken", f"{schema} already has a relation or type named {name}")

    def display(self, *names: str) -> str:
        """The names quoted as the server would, joined by dots."""
        marks = ".".join(["%I"] * len(names))
        arguments = ", ".join(f"${number}::text" for number in range(1, len(names) + 1))
        return str(self.db.query(f"select pg_catalog.format('{marks}', {arguments}) as display", *names)[0]["display"])

    def _note(self, name: str, row: Row, how: str) -> None:
        detail = (
            f"{name} has no schema: it is taken to be {row['schema']}.{name}, {how} (a SET of the session is not "
            "seen); what runs is apply_sql, which names the schema"
        )
        evidence = {"schema": row["schema"], "search_path": list(self.role.search_path)}
        if all(note.detail != detail for note in self.notes):
            self.notes.append(Reason("schema", detail, evidence))


def check_schema_is_users(schema: str, extension: str | None = None) -> None:
    """Refused for the schemas of the system, of this extension and of others, and for temporary ones."""
    if schema in SYSTEM_SCHEMAS or schema.startswith("pg_"):
        raise Refused("system-object", f"schema {schema} belongs to the system")
    if schema == OWN_SCHEMA:
        raise Refused("own-object", "schema architect belongs to pg_architect")
    if extension is not None:
        raise Refused("extension-member", f"schema {schema} belongs to the extension {extension}")


def _check_is_users(relation: Relation) -> None:
    row, name = relation.row, relation.display
    if row["persistence"] == "t":
        raise Refused("temporary-object", f"{name} is temporary")
    if relation.schema == OWN_SCHEMA:
        raise Refused("own-object", f"{name} belongs to pg_architect")
    if relation.schema in SYSTEM_SCHEMAS or relation.schema.startswith("pg_"):
        raise Refused("system-object", f"{name} belongs to the system")
    if row["extension"] is not None:
        raise Refused("extension-member", f"{name} belongs to the extension {row['extension']}")
    if relation.kind == "f":
        raise Refused("object-kind", f"{name} is a foreign table: what reaches another server is not judged")
    if not row["heap"]:
        raise Refused("object-kind", f"{name} is not stored in a heap")
