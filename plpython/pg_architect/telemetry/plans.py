"""Plans of statements that were proved harmless.

The ``serve_*`` functions are the inside of the ``_planner_*`` functions: they run with the rights of a role that may
only read. They prepare the text (so that the server types its parameters) and explain it with literal values
(plan_cache_mode is pinned to custom plans); nothing is executed. A plan is reduced to numbers and names before it
leaves: its conditions would show somebody's data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pg_architect.core import errors
from pg_architect.core.db import Database, handled, row_json
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
from pg_architect.safety.sandbox import Author, confined, read_only, refusal, undone

PREPARED_NAME = "architect planner"


@dataclass(frozen=True, slots=True)
class PlanNode:
    node_type: str
    schema_name: str | None
    relation_name: str | None
    index_name: str | None
    rows: float  # estimated, per loop, after the node's filter
    loops: float | None  # estimated; None where the plan does not tell
    has_filter: bool


@dataclass(frozen=True, slots=True)
class Plan:
    cost: float  # of the whole plan, in the planner's units
    rows: float  # estimated, returned
    nodes: tuple[PlanNode, ...]

    def sequential(self, schema: str, name: str) -> PlanNode | None:
        """The node that scans this table from end to end, if there is one."""
        wanted = ("Seq Scan", schema, name)
        return next((n for n in self.nodes if (n.node_type, n.schema_name, n.relation_name) == wanted), None)


@dataclass(frozen=True, slots=True)
class Planned:
    """Plans of one statement, one per parameter set, or why there are none."""

    plans: tuple[Plan, ...]
    reason: str | None = None


def parameter_types(db: Database, text: str, author: Author | None = None) -> tuple[tuple[str, ...], str | None]:
    """The types of the parameters of a proved statement; a reason instead if the server refuses it."""
    try:
        call = f"select {read_only('architect._planner_parameter_types($1::text)')} as types"
        rows = undone(db, lambda: db.query(call, text), author)
    except ArchitectError as exc:
        if not handled(exc):
            raise
        return (), refusal(exc)
    return tuple(rows[0]["types"] or ()), None


def explain(db: Database, text: str, sets: Sequence[Sequence[str | None]], author: Author) -> Planned:
    """Plan a proved statement, once for each parameter set."""
    request = {"statements": [{"id": 0, "text": text, "sets": [list(s) for s in sets]}]}
    try:
        call = f"select {read_only('architect._planner_explain($1::jsonb)')}::text as answer"
        rows = undone(db, lambda: db.query(call, request), author)
    except ArchitectError as exc:
        if not handled(exc):
            raise
        return Planned((), refusal(exc))
    item = row_json(rows[0]["answer"])["statements"][0]
    return Planned(tuple(plan_from(p) for p in item["plans"]), item.get("error"))


def plan_from(data: Mapping[str, Any]) -> Plan:
    return Plan(data["cost"], data["rows"], tuple(PlanNode(*node) for node in data["nodes"]))


def serve_parameter_types(db: Database, statement: str) -> list[str]:
    def types() -> list[str]:
        with prepared(db, statement) as found:
            return found

    return confined(db, types)


def serve_explain(db: Database, request: object) -> str:
    return confined(db, lambda: _explain_all(db, request))


def _explain_all(db: Database, request: object) -> str:
    import json

    answers = []
    for item in row_json(request)["statements"]:
        answer: dict[str, Any] = {"id": item["id"], "plans": []}
        try:
            with prepared(db, item["text"]):
                answer["plans"] = [explained(db, values) for values in item["sets"]]
        except ArchitectError as exc:
            if not handled(exc):
                raise
            answer["error"] = refusal(exc)
        answers.append(answer)
    return json.dumps({"statements": answers})


@contextlib.contextmanager
def prepared(db: Database, statement: str) -> Iterator[list[str]]:
    """Prepare one SELECT under a name of ours; yields the types of its parameters."""
    tree = parse.parse_one(statement)
    if not isinstance(tree, parse.ast.SelectStmt):
        # The caller proved it; this holds the line if a later caller forgets.
        raise ArchitectError(errors.FEATURE_NOT_SUPPORTED, "only a query is planned")
    with db.subtransaction():
        db.query(f'prepare "{PREPARED_NAME}" as {statement}')
    try:
        rows = db.query(
            "select parameter_types::text[] as types from pg_catalog.pg_prepared_statements where name = $1",
            PREPARED_NAME,
        )
        yield list(rows[0]["types"] or [])
    finally:
        # Preparing is not undone by a rollback.
        db.query(f'deallocate "{PREPARED_NAME}"')


def explained(db: Database, values: Sequence[str | None]) -> dict[str, Any]:
    """The plan of the prepared statement for these values, as ``plan_from`` takes it."""
    arguments = f" ({', '.join(literal(v) for v in values)})" if values else ""
    with db.subtransaction():
        rows = db.query(f'explain (format json, verbose) execute "{PREPARED_NAME}"{arguments}')
    plan = row_json(rows[0]["QUERY PLAN"])[0]["Plan"]
    nodes: list[list[Any]] = []
    _collect(plan, 1.0, nodes)
    return {"cost": plan["Total Cost"], "rows": plan["Plan Rows"], "nodes": nodes}


def literal(value: str | None) -> str:
    """A quoted literal that means the same whatever standard_conforming_strings is."""
    if value is None:
        return "null"
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _collect(node: Mapping[str, Any], loops: float | None, found: list[list[Any]]) -> None:
    found.append(
        [
            node["Node Type"],
            node.get("Schema"),
            node.get("Relation Name"),
            node.get("Index Name"),
            float(node["Plan Rows"]),
            loops,
            any(name in node for name in ("Filter", "Join Filter", "Hash Cond", "Merge Cond")),
        ]
    )
    children = node.get("Plans", ())
    outer = next((c for c in children if c.get("Parent Relationship") == "Outer"), None)
    for child in children:
        relationship = child.get("Parent Relationship")
        if relationship == "SubPlan":
            inner = None  # run for as many rows as the filter meets: the plan does not say
        elif relationship == "Inner" and node["Node Type"] == "Nested Loop" and outer is not None and loops is not None:
            repeated = {"Materialize": 1.0, "Memoize": None}.get(child["Node Type"], float(outer["Plan Rows"]))
            inner = None if repeated is None else loops * repeated
        else:
            inner = loops
        _collect(child, inner, found)
