"""What the readers and the rules share while one statement is judged: the database, the names, the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pg_architect.core import settings as core_settings
from pg_architect.core.db import Database, Row
from pg_architect.safety import estimate, locks, relation_queries, user_code
from pg_architect.safety.catalogue import Catalogue
from pg_architect.safety.expression import Expressions
from pg_architect.safety.judgement import Estimate, Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.relation import Names, Relation


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that is known besides the statement. ``version`` is the server's, as 150004.

    ``added`` are columns that earlier subcommands of the same statement add, by the table's OID; ``commands`` are all
    subcommands of the ALTER TABLE, which the server does in an order of its own.
    """

    db: Database
    names: Names
    expressions: Expressions
    settings: Mapping[str, float]
    version: int
    added: dict[int, dict[str, Row]] = field(default_factory=dict)
    commands: list[Tree] = field(default_factory=list)

    @classmethod
    def of(cls, db: Database) -> Context:
        """The context for the session's user."""
        catalogue = Catalogue(db)
        (row,) = db.query(
            "select session_user::text as name, pg_catalog.current_setting('server_version_num')::int as version"
        )
        role = catalogue.role(str(row["name"]))
        if role is None:
            raise Refused("exists", "the session's role does not exist any more")
        names = Names(db, role)
        return cls(db, names, Expressions(db, catalogue, role), core_settings.load(db), row["version"])

    def columns(self, relation: Relation) -> Mapping[str, Row]:
        """The columns of a relation by name, those included that the statement has added to it so far."""
        found = dict(relation.columns(self.db))
        for name, row in found.items():
            # What the query alone cannot tell: a domain or composite type may be made of built-in code all the same.
            if row["problem"] and user_code.type_problem(self.db, self.expressions.catalogue, row["type_oid"]) is None:
                found[name] = {**row, "problem": None}
        return {**found, **self.added.get(relation.oid, {})}

    def with_partitions(self, operation: Operation) -> Operation:
        """The operation with its lock on the partitions of a partitioned target, too."""
        if operation.target is None or operation.target.kind != "p" or operation.lock is None:
            return operation
        return replace(operation, others={**self.with_parts(operation.target, operation.lock), **operation.others})

    def with_parts(self, relation: Relation, lock: str) -> dict[str, str]:
        """This lock on a relation and on all of its partitions."""
        if relation.kind != "p":
            return {relation.display: lock}
        rows = self.db.query(relation_queries.PARTITIONS, relation.oid)
        return dict.fromkeys((relation.display, *(row["display"] for row in rows)), lock)

    def partners(self, relation: Relation, lock: str) -> dict[str, str]:
        """This lock on every table that a foreign key connects with the relation."""
        rows = self.db.query(relation_queries.FOREIGN_KEY_PARTNERS, relation.oid)
        return dict.fromkeys((row["display"] for row in rows), lock)

    @property
    def limit_seconds(self) -> float:
        """How long a change may block readers or writers."""
        return self.settings["max_blocked_seconds"]

    def estimate(self, operation: Operation) -> Estimate:
        """Space and duration of an operation."""
        return estimate.of(operation, self.settings)

    def blocked_seconds(self, operation: Operation) -> float | None:
        """For how long writers or readers wait: 0 if they do not, None if it cannot be known."""
        if not locks.blocks_writes(operation.strongest) or not operation.scans:
            return 0.0
        return self.estimate(operation).seconds
