"""What the readers and the rules share while one statement is judged: the database, the names, the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pg_architect.core import settings as core_settings
from pg_architect.core.db import Database, Row
from pg_architect.safety import estimate, locks, relation_queries
from pg_architect.safety.catalogue import Catalogue
from pg_architect.safety.expression import Expressions
from pg_architect.safety.judgement import Estimate, Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.relation import Names, Relation


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that is known besides the statement. ``version`` is the server's, as 150004.

    ``added`` are columns that earlier subcommands of the same statement add, by the table's OID.
    """

    db: Database
    names: Names
    expressions: Expressions
    settings: Mapping[str, float]
    version: int
    added: dict[int, dict[str, Row]] = field(default_factory=dict)

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
        return {**relation.columns(self.db), **self.added.get(relation.oid, {})}

    def with_partitions(self, operation: Operation) -> Operation:
        """The operation with its lock on the partitions of a partitioned target, too."""
        if operation.target is None or operation.target.kind != "p" or operation.lock is None:
            return operation
        rows = self.db.query(relation_queries.PARTITIONS, operation.target.oid)
        partitions = dict.fromkeys((row["display"] for row in rows), operation.lock)
        return replace(operation, others={**partitions, **operation.others})

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
