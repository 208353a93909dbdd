"""What a refused statement changes, if somebody executes it all the same: no judgement of it is at hand.

What is listed here certainly changes nothing that a later statement is judged by, or what it changes is noted in the
overlay. All else leaves the rest of the script unproved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pg_architect.core.identifier import NAME_BYTES
from pg_architect.safety import effects_on_tables as on_tables
from pg_architect.safety import parse, rows_only
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Reason, Refused
from pg_architect.safety.overlay import Overlay
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers.fields import enum
from pg_architect.safety.relation import Names

# The server refuses these itself, and a statement that fails changes nothing: psql goes on with the next one, or with
# ON_ERROR_STOP with none. (What that does to a transaction is followed in ``script``.)
_FAILS = frozenset({"certain-to-fail", "exists", "name-taken", "server-syntax"})
# Not what the gate does not find or does not know: the session may have another search_path, and a temporary table or
# an operator class of a user may do.
_NOT_CERTAIN = ("ambiguous", "temporary", "built in", "built-in", "search_path")
_ROUTINES = frozenset({"OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE"})
_CODE = frozenset({"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"})
# Who sees which rows, and which triggers fire: subcommands of ALTER TABLE, by the end or the beginning of their names.
_SWITCHES = (
    "AT_EnableTrig",
    "AT_DisableTrig",
    "AT_EnableAlways",
    "AT_EnableReplica",
    "AT_EnableRule",
    "AT_DisableRule",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused statement, with what is known before it; ``names`` finds what it means."""

    overlay: Overlay
    names: Names
    tree: Tree
    reason: Reason


Effect: TypeAlias = Callable[[Refusal], "set[str] | None"]


def certainly_fails(reason: Reason) -> bool:
    """Whether the server refuses the statement, too."""
    return reason.rule in _FAILS and not any(word in reason.detail for word in _NOT_CERTAIN)


def note(overlay: Overlay, tree: Tree, reason: Reason) -> set[str] | None:
    """Note the effects of a refused statement, and return what it locks against writers; None if they are not known."""
    if kind_of(tree) not in _EFFECTS:
        return None
    try:
        return _EFFECTS[kind_of(tree)](Refusal(overlay, Context.of(overlay).names, tree, reason))
    except (Refused, AttributeError, LookupError, TypeError, ValueError):
        # What is not foreseen is not followed.
        return None


def _nothing(_refusal: Refusal) -> set[str]:
    """Rights and comments: who may do something does not change what it does."""
    return set()


def _make_routine(refusal: Refusal) -> set[str] | None:
    """Nothing calls it yet, but by its name; it may hold on to types and tables, which cannot be dropped then."""
    return _routines(refusal, [parse.strings(refusal.tree.funcname) or []])


def _routines(refusal: Refusal, found: list[list[str]]) -> set[str] | None:
    if not all(found):
        return None
    refusal.overlay.functions |= {names[-1] for names in found}
    refusal.overlay.dependents_changed = True
    return set()


def _trigger(refusal: Refusal) -> set[str] | None:
    return _code_of(refusal, refusal.tree.relation.schemaname, refusal.tree.relation.relname)


def _policy(refusal: Refusal) -> set[str] | None:
    return _code_of(refusal, refusal.tree.table.schemaname, refusal.tree.table.relname)


def _code_of(refusal: Refusal, schema: str | None, name: str) -> set[str] | None:
    """Triggers, rules and policies: what reads or writes this table is not known any more; what it is made of is.

    They hold on to columns, functions and other tables, which cannot be dropped then. Partitions have them from their
    parents, which is not followed.
    """
    overlay, oid = refusal.overlay, refusal.names.find(schema, name)
    table = on_tables.table(overlay, oid)
    overlay.dependents_changed = True
    if table.row is None or table.row["kind"] != "r" or table.row["is_partition"]:
        return None
    table.runs_code = True
    return {str(table.row["display"])}


def _drop(refusal: Refusal) -> set[str] | None:
    what, items = enum(refusal.tree.removeType), refusal.tree.objects
    if enum(refusal.tree.behavior) != "DROP_RESTRICT":
        return None
    if what in _ROUTINES:
        return _routines(refusal, [parse.strings(item.objname) or [] for item in items])
    names = (parse.strings(items[0]) or []) if what in _CODE and len(items) == 1 else []
    if len(names) not in (2, 3):
        return None
    return _code_of(refusal, names[0] if len(names) == 3 else None, names[-2])


def _alter_table(refusal: Refusal) -> set[str] | None:
    """Another owner: nothing is known of the table any more. Row-level security and switched triggers: see above."""
    relation = refusal.tree.relation
    kinds = [enum(command.subtype) for command in refusal.tree.cmds]
    if enum(refusal.tree.objtype) != "OBJECT_TABLE":
        return None
    if all(kind.endswith("RowSecurity") or kind.startswith(_SWITCHES) for kind in kinds):
        return _code_of(refusal, relation.schemaname, relation.relname)
    if kinds != ["AT_ChangeOwner"]:
        return None
    table = on_tables.table(refusal.overlay, refusal.names.find(relation.schemaname, relation.relname))
    if table.row is None or table.row["kind"] != "r":
        return None
    display = str(table.row["display"])
    table.forget()
    return {display}


def _same_index(refusal: Refusal) -> set[str] | None:
    """The server takes it: one more of an index that is known."""
    tree, overlay = refusal.tree, refusal.overlay
    if refusal.reason.rule != "duplicate-index":
        return None
    table = on_tables.table(overlay, refusal.names.find(tree.relation.schemaname, tree.relation.relname))
    same = [one for one in table.indexes or () if one["oid"] == refusal.reason.evidence.get("index_oid")]
    if table.row is None or not same:
        return None
    schema = str(table.row["schema"])
    name = tree.idxname or _free_name(overlay, schema, [table.row["name"], *(one.name for one in tree.indexParams)])
    if name is None or on_tables.relation_oid(overlay, schema, name) is not None:
        return None
    copied = ("method", "has_expressions", "is_partial", "columns")
    facts = {key: same[0][key] for key in copied} | {"is_unique": bool(tree.unique)}
    on_tables.add_index(overlay, table, name, schema=schema, text=None, **facts)
    return set() if tree.concurrent else {str(table.row["display"])}


def _free_name(overlay: Overlay, schema: str, parts: list[str | None]) -> str | None:
    """The name that the server gives; None where it shortens it."""
    base = "_".join([*(part or "expr" for part in parts), "idx"])
    for name in (base, *(f"{base}{number}" for number in range(1, 100))):
        if len(name.encode()) > NAME_BYTES:
            return None
        if on_tables.relation_oid(overlay, schema, name) is None:
            return name
    return None


def _rows(refusal: Refusal) -> set[str] | None:
    """Rows only: sizes stay estimates. A table that was empty is not."""
    return rows_only.note(refusal.overlay, refusal.names, refusal.tree)


_EFFECTS: Mapping[str, Effect] = {
    "AlterDefaultPrivilegesStmt": _nothing,
    "CommentStmt": _nothing,
    "GrantRoleStmt": _nothing,
    "GrantStmt": _nothing,
    "CreateFunctionStmt": _make_routine,
    "CreateTrigStmt": _trigger,
    "CreatePolicyStmt": _policy,
    "AlterPolicyStmt": _policy,
    "DropStmt": _drop,
    "AlterTableStmt": _alter_table,
    "IndexStmt": _same_index,
    "CopyStmt": _rows,
    "DeleteStmt": _rows,
    "InsertStmt": _rows,
    "MergeStmt": _rows,
    "SelectStmt": _rows,
    "TruncateStmt": _rows,
    "UpdateStmt": _rows,
}
