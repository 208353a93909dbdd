"""CREATE SCHEMA, CREATE SEQUENCE and ALTER SEQUENCE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pg_architect.core.db import Row
from pg_architect.safety import index_queries, locks, parse
from pg_architect.safety.catalogue import OWN_SCHEMA, SYSTEM_SCHEMAS
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import certain
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers.fields import only, options, value_text
from pg_architect.safety.readers.types import check_bare, relation_missing, strings
from pg_architect.safety.relation import Relation, check_schema_is_users

_NUMBERS = frozenset({"start", "increment", "minvalue", "maxvalue", "cache"})
_TYPES = frozenset({"int2", "int4", "int8"})


def schema_missing(name: str, context: Context) -> bool:
    """Whether there is no schema of that name."""
    return not context.db.query(sql.SCHEMA, name)


def find_schema(name: str, context: Context, *, keeps_name: bool = False) -> Row:
    """The user's schema of that name, to be dropped or renamed; ``keeps_name``: neither, so that public will do."""
    rows = context.db.query(sql.SCHEMA, name)
    if not rows:
        raise Refused("exists", f"schema {name} does not exist")
    row = rows[0]
    check_schema_is_users(name, row["extension"])
    if not keeps_name and name == "public":
        raise Refused("system-object", "schema public is where others expect it")
    if not keeps_name and row["holds"] is not None:
        raise Refused("extension-member", f"schema {row['display']} holds the extension {row['holds']}")
    return row


def check_new_schema(name: str, context: Context) -> str:
    """The displayed name of a schema to be made; Refused where it is the system's, ours or taken."""
    if name in SYSTEM_SCHEMAS or name.startswith("pg_"):
        raise Refused("system-object", f"the name {name} is the system's")
    if name == OWN_SCHEMA:
        raise Refused("own-object", "the name architect is pg_architect's")
    if not schema_missing(name, context):
        raise Refused("name-taken", f"schema {name} exists")
    return context.names.display(name)


def read_create_schema(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE SCHEMA, empty and owned by whoever makes it."""
    only(tree, "schemaname", "if_not_exists")
    name = tree.schemaname
    if name is None:
        raise Refused("not-understood", "a schema without a name is not understood")
    if tree.if_not_exists and not schema_missing(name, context):
        row = find_schema(name, context, keeps_name=True)
        return [Operation("create_schema", undo="not_needed", facts={"name": row["display"]})]
    display = check_new_schema(name, context)
    return [Operation("create_schema", revert=(f"drop schema {display}",), facts={"name": display})]


def read_create(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE SEQUENCE."""
    only(tree, "sequence", "options", "if_not_exists")
    node = tree.sequence
    only(node, "schemaname", "relname", "inh", "relpersistence")
    wanted = _read_options(tree.options)
    if node.relpersistence == "t":
        return [_temporary(tree, wanted, context)]
    if tree.if_not_exists:
        node.schemaname = context.names.check_schema(node.schemaname)
        if context.db.query(index_queries.RELATION_NAMED, node.schemaname, node.relname):
            relation = context.names.resolve(node, ("S",))
            return [Operation("create_sequence", relation, undo="not_needed", facts={"name": relation.display})]
    display = context.names.check_new(node)
    others: dict[str, str] = {}
    owner = _owner(tree.options, node.schemaname, context, others)
    facts = {"name": display, "options": wanted, "owned_by": owner}
    return [Operation("create_sequence", others=others, revert=(f"drop sequence {display}",), facts=facts)]


def _temporary(tree: Tree, wanted: dict[str, str | None], context: Context) -> Operation:
    """It is gone with the session, which alone sees it: there is nothing to undo."""
    if tree.sequence.schemaname is not None or "owned_by" in options(tree.options):
        raise Refused("temporary-object", "a temporary sequence with a schema or an owner is not understood")
    facts = {"name": context.names.display(tree.sequence.relname), "options": wanted, "temporary": True}
    return Operation("create_sequence", undo="not_needed", facts=facts)


def read_alter(tree: Tree, context: Context) -> Sequence[Operation]:
    """ALTER SEQUENCE: its numbers, where it goes on, whose it is."""
    only(tree, "sequence", "options", "missing_ok")
    only(tree.sequence, "schemaname", "relname", "inh", "relpersistence")
    if tree.missing_ok and relation_missing(tree.sequence, context):
        return [Operation("alter_sequence", undo="not_needed", facts={"missing": True})]
    relation = context.names.resolve(tree.sequence, ("S",))
    wanted = _read_options(tree.options, alters=True)
    old = context.db.query(sql.SEQUENCE, relation.oid)[0]
    certain.check_numbers(wanted, old)
    others: dict[str, str] = {}
    owner = _owner(tree.options, relation.schema, context, others, relation.row["owner"])
    changes_owner = "owned_by" in options(tree.options)
    if changes_owner and old["is_identity"]:
        raise Refused("certain-to-fail", f"{relation.display} belongs to the identity column {old['owned_by']}")
    restarts = "restart" in wanted
    facts: dict[str, Any] = {
        "name": relation.display,
        "options": {name: value for name, value in wanted.items() if name != "restart"},
        "changes": sorted({*wanted, *(("owned_by",) if changes_owner else ())}),
        "restart": restarts,
        "restart_with": wanted.get("restart"),
        "owned_by": owner,
        "was_owned_by": old["owned_by"],
    }
    revert = [] if restarts else _revert(relation, old, bool(set(wanted)), changes_owner)
    return [
        Operation(
            "alter_sequence",
            relation,
            locks.SHARE_ROW_EXCLUSIVE,
            others,
            undo="none" if restarts else "exact",
            revert=tuple(revert),
            facts=facts,
        )
    ]


def _revert(relation: Relation, old: Row, numbers: bool, owner: bool) -> list[str]:
    """All of its numbers at once: a new type or increment changes the limits that go with it."""
    head = f"alter sequence {relation.display}"
    statements = []
    if numbers:
        statements.append(
            f"{head} as {old['type']} increment by {old['increment']} minvalue {old['minimum']}"
            f" maxvalue {old['maximum']} start with {old['start']} cache {old['cache']}"
            f" {'' if old['cycle'] else 'no '}cycle"
        )
    if owner:
        statements.append(f"{head} owned by {old['owned_by'] or 'none'}")
    return statements


def _read_options(items: tuple[Tree, ...] | None, *, alters: bool = False) -> dict[str, str | None]:
    """The options but for the owner, as texts; Refused for those that are not plain numbers or words."""
    found: dict[str, str | None] = {}
    for name, value in options(items).items():
        if name == "owned_by":
            continue
        if name == "as":
            check_bare(value)
            names = parse.strings(value.names) if value is not None else None
            if not names or names[-1] not in _TYPES or names[:-1] not in ([], ["pg_catalog"]):
                raise Refused("certain-to-fail", "a sequence is smallint, integer or bigint")
            if value is not None:
                value.names = strings("pg_catalog", names[-1])
            found[name] = names[-1]
        elif name in _NUMBERS or name == "cycle" or (alters and name == "restart"):
            found[name] = value_text(value)
        else:
            raise Refused("not-understood", f"option {name} of a sequence is not understood here")
    if not alters:
        certain.check_numbers(found)
    return found


def _owner(
    items: tuple[Tree, ...] | None, schema: str, context: Context, others: dict[str, str], role: str | None = None
) -> str | None:
    """The column of OWNED BY, which gets its schema written out; None for none, or without the option."""
    for item in items or ():
        if item.defname != "owned_by":
            continue
        parts = parse.strings(item.arg) if isinstance(item.arg, tuple) else None
        if parts == ["none"]:
            return None
        if not parts or not 2 <= len(parts) <= 3:
            raise Refused("names", "the owner is not a column of a table")
        node = parse.ast.RangeVar(
            schemaname=parts[0] if len(parts) == 3 else None, relname=parts[-2], inh=True, relpersistence="p"
        )
        table = context.names.resolve(node, ("r", "p"))
        if role not in (None, table.row["owner"]):
            raise Refused("certain-to-fail", f"{table.display} has another owner than the sequence")
        if table.schema != schema:
            raise Refused("certain-to-fail", f"{table.display} is in another schema than the sequence")
        columns: Mapping[str, Row] = table.columns(context.db)
        if parts[-1] not in columns:
            raise Refused("exists", f"{table.display} has no column {parts[-1]}")
        item.arg = strings(table.schema, table.name, parts[-1])
        others[table.display] = locks.ACCESS_SHARE
        return context.names.display(table.schema, table.name, parts[-1])
    return None
