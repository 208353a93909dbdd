"""Plans with hypothetical indexes (HypoPG), by the planner's role.

``serve`` is the inside of ``architect._planner_what_if``. It creates hypothetical indexes, plans, and drops exactly
those again; whatever else the session has made with HypoPG stays. The statements were proved harmless, which excludes
views: HypoPG crashes the server for a partial hypothetical index on a table that is reached through one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pg_architect.core import errors
from pg_architect.core.db import Database, handled, row_json
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
from pg_architect.safety.sandbox import Author, NotLentError, confined, read_only, refusal, undone
from pg_architect.telemetry import plans
from pg_architect.telemetry.plans import Plan

NO_HYPOPG = "no what-if: hypopg is not installed"


@dataclass(frozen=True, slots=True)
class Question:
    """One statement, its parameter sets, and the sets of indexes (by position) to try it with."""

    statement_id: int
    text: str
    sets: tuple[tuple[str | None, ...], ...]
    configurations: tuple[tuple[int, ...], ...]
    author: Author | None = None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """``answers``: by statement and configuration, one plan and the positions of the indexes it uses per set."""

    answers: Mapping[tuple[int, tuple[int, ...]], tuple[tuple[Plan, frozenset[int]], ...]]
    refused: Mapping[int, str]  # index position: why HypoPG does not take it
    failed: Mapping[int, str]  # statement: why it could not be planned
    reason: str | None = None  # why there is no what-if at all


def missing(db: Database) -> str | None:
    """Why there is no what-if; None if there is. (A closed schema is no reason: pg_read_all_data opens them all.)"""
    return None if _schema(db) else NO_HYPOPG


def ask(db: Database, questions: Sequence[Question], indexes: Sequence[str]) -> WhatIf:
    """Plan each statement under each of its configurations; ``indexes`` are CREATE INDEX statements without a name."""
    if lack := missing(db):
        return WhatIf({}, {}, {}, lack)
    answers: dict[tuple[int, tuple[int, ...]], tuple[tuple[Plan, frozenset[int]], ...]] = {}
    refused: dict[int, str] = {}
    failed: dict[int, str] = {}
    for question in questions:
        # One statement per call: between two calls a cancel takes effect.
        request = {
            "statements": [
                {
                    "id": question.statement_id,
                    "text": question.text,
                    "sets": [list(s) for s in question.sets],
                    "configurations": [list(c) for c in question.configurations],
                }
            ],
            "indexes": list(indexes),
        }
        try:
            answer = row_json(undone(db, lambda request=request: _asked(db, request), question.author))  # type: ignore[misc]
        except NotLentError as exc:
            failed[question.statement_id] = exc.message
            continue
        if answer.get("reason"):
            return WhatIf({}, {}, {}, answer["reason"])
        refused |= {int(position): why for position, why in answer["refused"].items()}
        for item in answer["statements"]:
            if "error" in item:
                failed[item["id"]] = item["error"]
            for found in item["plans"]:
                answers[item["id"], tuple(found["configuration"])] = tuple(
                    (plans.plan_from(plan), frozenset(plan["used"])) for plan in found["plans"]
                )
    return WhatIf(answers, refused, failed)


def _asked(db: Database, request: dict[str, Any]) -> Any:
    call = f"select {read_only('architect._planner_what_if($1::jsonb)')}::text as answer"
    return db.query(call, request)[0]["answer"]


def serve(db: Database, request: object) -> str:
    """Answer ``{statements: [{id, text, sets, configurations?}], indexes: [statement…]}``.

    Without configurations a statement is planned with no index and with all of them.
    """
    return confined(db, lambda: _answer(db, request))


def _answer(db: Database, request: object) -> str:
    asked = row_json(request)
    schema = _schema(db)
    if schema is None:
        return json.dumps({"reason": NO_HYPOPG})
    indexes = [_judged(text) for text in asked["indexes"]]
    refused: dict[int, str] = {}
    answers = []
    for item in asked["statements"]:
        configurations = item.get("configurations") or [[], list(range(len(indexes)))]
        answer: dict[str, Any] = {"id": item["id"], "plans": []}
        try:
            with plans.prepared(db, item["text"]):
                for configuration in configurations:
                    with _hypothetical(db, schema, indexes, configuration, refused) as names:
                        explained = [_explained(db, values, names) for values in item["sets"]]
                    answer["plans"].append({"configuration": configuration, "plans": explained})
        except ArchitectError as exc:
            if not handled(exc):
                raise
            answer["error"] = refusal(exc)
        answers.append(answer)
    return json.dumps({"statements": answers, "refused": refused})


def _schema(db: Database) -> str | None:
    rows = db.query(
        """
        select pg_catalog.quote_ident(n.nspname) as schema
          from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
         where e.extname = 'hypopg'
        """
    )
    return rows[0]["schema"] if rows else None


def _judged(text: str) -> str:
    tree = parse.parse_one(text)
    if parse.kind_of(tree) != "IndexStmt":
        raise ArchitectError(errors.FEATURE_NOT_SUPPORTED, "only a create index statement can be tried")
    return text


@contextlib.contextmanager
def _hypothetical(
    db: Database, schema: str, indexes: Sequence[str], configuration: Sequence[int], refused: dict[int, str]
) -> Iterator[dict[str, int]]:
    """The names of the hypothetical indexes of a configuration, which exist inside the block."""
    created: list[int] = []
    names: dict[str, int] = {}
    try:
        for position in configuration:
            try:
                with db.subtransaction():
                    rows = db.query(
                        f"select indexrelid::bigint as oid, indexname as name from {schema}.hypopg_create_index($1)",
                        indexes[position],
                    )
            except ArchitectError as exc:
                if not handled(exc):
                    raise
                refused[position] = exc.message
                continue
            created.append(rows[0]["oid"])
            names[rows[0]["name"]] = position
        yield names
    finally:
        for oid in created:
            db.query(f"select {schema}.hypopg_drop_index($1::bigint::oid)", oid)


def _explained(db: Database, values: Sequence[str | None], names: Mapping[str, int]) -> dict[str, Any]:
    plan = plans.explained(db, values)
    plan["used"] = sorted({names[node[3]] for node in plan["nodes"] if node[3] in names})
    return plan
