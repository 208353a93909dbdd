"""ALTER TYPE on a composite type: its attributes."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.safety import locks
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers.fields import only, restrict_only
from pg_architect.safety.relation import Relation


def read_add(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ADD ATTRIBUTE of a proved type."""
    only(command, "subtype", "def_", "behavior")
    restrict_only(command)
    definition = command.def_
    only(definition, "colname", "typeName", "collClause", "is_local")
    _check_unused(relation, context)
    if definition.colname in context.columns(relation):
        raise Refused("certain-to-fail", f"{relation.display} already has an attribute {definition.colname}")
    context.expressions.prove_type(definition.typeName, f"attribute {definition.colname}")
    context.expressions.prove_collation(definition.collClause, f"attribute {definition.colname}")
    revert = f"alter type {relation.display} drop attribute {context.names.display(definition.colname)}"
    facts = {"column": definition.colname}
    return [Operation("add_attribute", relation, locks.ACCESS_EXCLUSIVE, revert=(revert,), facts=facts)]


def read_drop(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DROP ATTRIBUTE, without CASCADE."""
    only(command, "subtype", "name", "behavior", "missing_ok")
    restrict_only(command)
    _check_unused(relation, context)
    if command.name not in context.columns(relation):
        if command.missing_ok:
            return [Operation("drop_attribute", relation, locks.ACCESS_EXCLUSIVE, undo="not_needed")]
        raise Refused("exists", f"{relation.display} has no attribute {command.name}")
    facts = {"column": command.name}
    return [Operation("drop_attribute", relation, locks.ACCESS_EXCLUSIVE, undo="none", facts=facts)]


def _check_unused(relation: Relation, context: Context) -> None:
    rows = context.db.query(sql.COLUMNS_OF_COMPOSITE, relation.oid)
    if rows:
        raise Refused("certain-to-fail", f"{rows[0]['column']} is of type {relation.display}: the server refuses")
