"""The gate: a verdict on any statement, refusal by default.

text → one tree → (reader of its kind) operations on resolved objects → rules → the strictest of what they say. What
runs later is ``apply_sql``, the text deparsed from the tree that was judged, under ``search_path = pg_catalog,
pg_temp``; ``objects`` holds what its names meant, to be compared before it runs. Nothing is executed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from pg_architect.core import errors
from pg_architect.core.db import Database, DatabaseError, Row, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import NAME_BYTES
from pg_architect.safety import locks, parse, readers, rules, stored_code
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import (
    NEEDS_APPROVAL,
    REFUSE,
    UNDO,
    Estimate,
    Judgement,
    Reason,
    Refused,
    refusal,
    strictest,
)
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree

_RISK = {"allow": "low", NEEDS_APPROVAL: "medium", REFUSE: "high"}


def judge(db: Database, statement: str | None) -> Judgement:
    """Judge one statement. Never raises for what it says; a cancel passes through."""
    objects: dict[str, Any] = {}
    kind = "other"
    try:
        tree = to_tree(statement)
        kind = readers.kind_of(tree)
        _check_literals(db, statement)
        reader = readers.reader(tree)
        context = Context.of(db)
        objects["relations"] = context.names.used
        operations = reader(tree, context)
        apply_sql = to_text(tree)
        _check_server_parses(db, tree, apply_sql)
        return _conclude(operations, context, objects, apply_sql)
    except Refused as exc:
        return refusal(kind, exc, objects)
    except DatabaseError as exc:
        if not handled(exc):
            raise
        busy = "somebody has locked what has to be looked at: try again later"
        if exc.sqlstate == errors.LOCK_NOT_AVAILABLE:
            return refusal(kind, Refused("table-too-busy", busy), objects)
        return refusal(kind, Refused("judging-failed", f"the server said: {exc.message}"), objects)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as exc:
        # A statement that no reader foresaw: what is not understood is refused, and the reason names the gap.
        return refusal(kind, Refused("judging-failed", f"{type(exc).__name__}: {exc}"), objects)


def judge_rows(db: Database, statement: str | None) -> list[Row]:
    """The rows of ``architect.judge_statement``: always one."""
    row = without_locks(db, statement).to_json()
    seconds = row.pop("estimated_seconds")
    del row["gate_version"]
    return [
        {
            **row,
            "objects": json.dumps(row["objects"]),
            "reasons": json.dumps(row["reasons"]),
            "estimated_duration": None if seconds is None else f"{seconds:.6f} seconds",
        }
    ]


class _Done(Exception):  # noqa: N818  not an error: how a subtransaction is left so that it is undone
    """The judgement is made."""


def without_locks(db: Database, statement: str | None) -> Judgement:
    """``judge``, and none of the locks that reading definitions took is left to the caller's transaction."""
    made: list[Judgement] = []
    with contextlib.suppress(_Done), db.subtransaction():
        made.append(judge(db, statement))
        raise _Done
    return made[0]


def to_tree(statement: str | None) -> Tree:
    """The tree of the only statement in the text; Refused for everything else."""
    if statement is None:
        raise Refused("one-statement", "there is no statement")
    try:
        tree = parse.parse_one(statement)
        for token in parse.tokens(statement):
            # The parser cuts longer names off, so that two different ones could become the same.
            if token.name == "IDENT" and len(token.text.strip('"').replace('""', '"').encode()) > NAME_BYTES:
                raise Refused("names", f"name {token.text} is longer than {NAME_BYTES} bytes")
            if token.name == "UIDENT":
                raise Refused("names", f"name {token.text} is written with Unicode escapes: write it plainly")
    except ArchitectError as exc:
        raise Refused("one-statement", exc.message) from exc
    return tree


def _check_literals(db: Database, statement: str | None) -> None:
    """Refused where this session would read a plain string with a backslash otherwise than the standard says."""
    plain = any(
        token.name == "SCONST" and token.text.startswith("'") and "\\" in token.text
        for token in parse.tokens(statement or "")
    )
    if plain and db.query("show standard_conforming_strings")[0]["standard_conforming_strings"] != "on":
        raise Refused("names", "standard_conforming_strings is off: write strings with a backslash as E'…'")


def to_text(tree: Tree) -> str:
    """The tree as text that means the same; Refused where that cannot be had."""
    try:
        return parse.deparse(tree)
    except ArchitectError as exc:
        raise Refused("written-back", exc.message) from exc


def _check_server_parses(db: Database, tree: Tree, text: str) -> None:
    """The grammar of the parser may be newer than the server's, which has the last word.

    A query would be looked up, too, with rights that are not the asker's: as a view's it is parsed and no more.
    """
    query = tree if parse.kind_of(tree) == "SelectStmt" else getattr(tree, "query", None)
    if parse.kind_of(tree) in ("SelectStmt", "ExplainStmt", "CreateTableAsStmt"):
        text = f"create view v as {to_text(query)}"
    try:
        db.parse(text)
    except DatabaseError as exc:
        if not handled(exc):
            raise
        raise Refused("server-syntax", f"this server does not understand it: {exc.message}") from exc


def _conclude(operations: Sequence[Operation], context: Context, objects: dict[str, Any], apply_sql: str) -> Judgement:
    reasons = [*context.names.notes]
    for operation in operations:
        if operation.facts.get("missing"):  # IF EXISTS, and it does not
            continue
        stored_code.check(operation, context)
        for rule in rules.all_rules():
            reasons.extend(reason for reason in rule.check(operation, context) if reason not in reasons)
    verdict = strictest([reason.level for reason in reasons])
    first = operations[0]
    for operation in operations:
        if operation.target is not None and "relation_oid" not in objects:
            objects |= {
                "relation_oid": operation.target.oid,
                "relation_name": operation.target.display,
                "relation_owner": operation.target.row["owner"],
            }
        objects |= dict(operation.facts.get("objects", {}))
    objects["locks"] = _locks(operations)
    if context.expressions.functions:
        objects["functions"] = context.expressions.functions
    undo = max((operation.undo for operation in operations), key=UNDO.index)
    revert = [text for operation in reversed(operations) for text in operation.revert]
    strongest = max((operation.strongest for operation in operations), key=locks.strength)
    kinds = list(dict.fromkeys(operation.kind for operation in operations))
    return Judgement(
        verdict,
        _RISK[verdict],
        first.kind if len(kinds) == 1 else "+".join(kinds),
        tuple(reasons),
        objects,
        apply_sql,
        ";\n".join(revert) if revert and undo in ("exact", "rebuild") else None,
        undo,
        max((operation.lock for operation in operations), key=locks.strength),
        locks.blocks_reads(strongest),
        locks.blocks_writes(strongest),
        any(operation.rewrites for operation in operations),
        any(operation.scans for operation in operations),
        any(operation.own_transaction for operation in operations),
        _total([context.estimate(operation) for operation in operations]),
        tuple(dict.fromkeys(step for operation in operations for step in operation.safer)),
        _unproven(operations, context),
    )


def _unproven(operations: Sequence[Operation], context: Context) -> tuple[str, ...]:
    """What the verdict takes for granted, because the gate cannot know it."""
    doubts = [f"that {note.evidence['schema']} is the schema that the session means" for note in context.names.notes]
    for operation in operations:
        if operation.scans and context.estimate(operation).seconds is None:
            doubts.append("how long it takes: the table was never analyzed")
        elif operation.scans:
            doubts.append("that the table is as large as at its last ANALYZE, and the assumed rates")
        if operation.kind.startswith("drop_index"):
            doubts.append(
                "that no replica and no rare job needs the index: its scans are counted here, since the last reset"
            )
    return tuple(dict.fromkeys(doubts))


def _locks(operations: Sequence[Operation]) -> dict[str, str]:
    """The strongest lock on each relation by its displayed name."""
    taken: dict[str, str] = {}
    for operation in operations:
        own = {operation.target.display: operation.lock} if operation.target and operation.lock else {}
        for name, lock in (*own.items(), *operation.others.items()):
            taken[name] = max(taken.get(name, lock), lock, key=locks.strength)
    return taken


def _total(estimates: Sequence[Estimate]) -> Estimate:
    working = [one for one in estimates if one.seconds != 0.0 and one != Estimate()] or list(estimates[:1])
    known = [one for one in working if one.seconds is not None]
    return Estimate(
        sum(one.build_bytes or 0 for one in known) if len(known) == len(working) else None,
        sum(one.seconds or 0.0 for one in known) if len(known) == len(working) else None,
        working[0].method,
    )


__all__ = ["Judgement", "Reason", "judge", "judge_rows", "to_text", "to_tree"]
