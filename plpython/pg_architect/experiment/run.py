"""One run of one statement, in the backend, with the rights of the planner's role."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pg_architect.core import errors
from pg_architect.core.db import Database, row_json
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import parse
from pg_architect.safety.sandbox import confined

# What makes two plans the same: their shape, not their figures.
SHAPE = (
    "Node Type",
    "Parent Relationship",
    "Relation Name",
    "Alias",
    "Index Name",
    "Join Type",
    "Strategy",
    "Partial Mode",
    "Parallel Aware",
    "Scan Direction",
    "CTE Name",
    "Subplan Name",
)
IO_TIMES = ("I/O Read Time", "Shared I/O Read Time", "Local I/O Read Time", "Temp I/O Read Time")


def run_once(db: Database, statement: str, types: Sequence[str], values: Sequence[str | None]) -> str:
    """Run a SELECT once and return, as JSON, what it used: see the keys below; times in milliseconds.

    The statement is planned three times. The first fills the catalogue caches that the A/B switch has just emptied, the
    second tells the CPU time of planning, which is taken off the third, the run itself. Refused (42501) unless the text
    is one SELECT; the caller has proved that it is harmless.
    """
    tree = parse.parse_one(statement)
    if parse.kind_of(tree) != "SelectStmt" or tree.intoClause is not None:
        raise ArchitectError(
            errors.INSUFFICIENT_PRIVILEGE, "only a SELECT can be replayed", hint="Pass one statement that only reads."
        )
    # Rows hidden by a policy would make the statement look cheap: with row_security off the server refuses instead.
    db.query("select set_config('search_path', 'pg_catalog, pg_temp', true), set_config('row_security', 'off', true)")
    return confined(db, lambda: _measured(db, statement, types, _native(db, types, values)))


def _measured(db: Database, statement: str, types: Sequence[str], values: Sequence[Any]) -> str:
    plain = f"explain (format json) {statement}"
    db.query_typed(plain, types, values)
    planning_cpu = _cpu_ms(db, plain, types, values)[0]
    cpu, plan = _cpu_ms(
        db, f"explain (analyze, buffers, timing off, summary on, format json) {statement}", types, values
    )
    top = plan["Plan"]
    workers = sum(node.get("Workers Launched", 0) for node in _nodes(top))
    io = sum(top.get(name, 0.0) for name in IO_TIMES)
    return json.dumps(
        {
            "elapsed_ms": plan["Execution Time"],
            "planning_ms": plan["Planning Time"],
            "buffers": top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0),
            "cpu_ms": _execution_cpu(cpu - planning_cpu, plan["Execution Time"], workers, io),
            "workers": workers,
            "plan_hash": plan_hash(top),
            "rows": round(top["Actual Rows"] * top["Actual Loops"]),
            "io_ms": io,
        }
    )


def plan_hash(plan: Mapping[str, Any]) -> str:
    """A digest of the plan's shape: nodes, relations, indexes and join order, without costs and row counts."""
    return hashlib.sha256(json.dumps(_shape(plan)).encode()).hexdigest()[:16]


def _native(db: Database, types: Sequence[str], values: Sequence[str | None]) -> list[Any]:
    """The values as PL/Python wants them: given as text it takes 'false' for true, and splits an array into letters."""
    if not values:
        return []
    names = db.query(
        "select to_regtype(t)::text as name from unnest($1::text[]) with ordinality as u (t, i) order by i", types
    )
    casts = ", ".join(f"${i}::text::{row['name']} as p{i}" for i, row in enumerate(names, 1))
    row = db.query_typed(f"select {casts}", ["text"] * len(values), values)[0]
    return [row[f"p{i}"] for i in range(1, len(values) + 1)]


def _cpu_ms(db: Database, sql: str, types: Sequence[str], values: Sequence[Any]) -> tuple[float, Mapping[str, Any]]:
    # clock_gettime(CLOCK_PROCESS_CPUTIME_ID): the same account as getrusage's user + system time, in nanoseconds.
    begun = time.process_time_ns()
    rows = db.query_typed(sql, types, values)
    spent = (time.process_time_ns() - begun) / 1e6
    return spent, row_json(rows[0]["QUERY PLAN"])[0]


def _execution_cpu(backend_ms: float, execution_ms: float, workers: int, io_ms: float) -> float:
    """CPU of the execution alone; never 0, because ratios are taken of it.

    Of a backend on its own it can be no more than the execution took: that bound is the better figure for very short
    statements, where the difference of two CPU times is mostly EXPLAIN's own output.
    """
    if workers:
        return max(execution_ms - io_ms / (workers + 1), 0.001)
    return max(min(execution_ms, backend_ms) if backend_ms > 0 else execution_ms, 0.001)


def _shape(plan: Mapping[str, Any]) -> list[Any]:
    return [[plan.get(name) for name in SHAPE], [_shape(child) for child in plan.get("Plans", ())]]


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
