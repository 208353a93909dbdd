"""Code that is stored with a table and runs when the table is worked on: index expressions, checks, partition keys.

Nothing of it stands in the statement, and yet CREATE INDEX, VALIDATE, ANALYZE or ATTACH PARTITION call it.
"""

from __future__ import annotations

from pg_architect.safety import catalogue_queries, deep, user_code
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.relation import Relation

# These evaluate what is stored also where they only write to the catalogue, or say nothing of a scan.
_EVALUATING = frozenset(
    {
        "alter_column_type",
        "analyze",
        "attach_index",
        "attach_partition",
        "cluster",
        "create_partition",
        "reindex",
        "reindex_concurrently",
        "vacuum",
        "vacuum_full",
        "validate_constraint",
    }
)
_TABLES = ("r", "p", "m")


def check(operation: Operation, context: Context) -> None:
    """Refused where the operation would run stored code that is not built in."""
    if operation.facts.get("whole_database"):
        _check_all(context)
    if not operation.scans and operation.kind not in _EVALUATING:
        return
    for relation in dict.fromkeys((operation.target, operation.worked)):
        if relation is not None and relation.kind in _TABLES:
            _check_table(relation, context)
    for oid in operation.facts.get("objects", {}).get("types", {}).values():
        problem = user_code.type_problem(context.db, context.expressions.catalogue, int(oid))
        if problem is not None:
            raise Refused("foreign-code", problem)


def _check_table(relation: Relation, context: Context) -> None:
    problem = deep.stored_code_problem(context.expressions.catalogue, relation.oid, has_family=relation.kind != "m")
    if problem is not None:
        raise Refused("foreign-code", f"it runs what is stored with the table: {problem}")


def _check_all(context: Context) -> None:
    tables = [str(row["oid"]) for row in context.db.query(sql.ALL_TABLES)]
    for row in context.db.query(catalogue_queries.USER_CODE_OF_TABLES, tables):
        raise Refused("foreign-code", f"it runs what is stored with tables of this database: {row['problem']}")
