"""Causes of slow statements, with the facts that support them, from the plans that were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pg_architect.telemetry.examination import Examination, Examined, PlanNode

# A scan is called a cause when it reads this many rows for each one it hands on: below that the rows are needed.
WASTE_RATIO = 10


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a statement is slow: ``share`` is its part of database time (0 to 1)."""

    statement_id: int
    share: float
    cause: str
    description: str


def diagnose(seen: Examination, settings: Mapping[str, float]) -> list[Cause]:
    """Sequential scans that discard most of what they read, heaviest statement first."""
    heavy = [one for one in seen.examined if one.captured.share >= settings["min_share"]]
    return [cause for one in heavy for cause in _wasteful_scans(one)]


def _wasteful_scans(one: Examined) -> Iterator[Cause]:
    told: set[str] = set()
    for plan in one.plans:
        for node in plan.nodes:
            relation = node.relation_name
            if relation is None or relation in told or not _is_wasteful(node):
                continue
            told.add(relation)
            yield Cause(
                one.captured.statement_id,
                one.captured.share,
                "sequential_scan",
                f"reads all {node.rows_read:,.0f} rows of {node.schema_name}.{relation} to use about"
                f" {max(node.rows, 1):,.0f}; {one.captured.calls:,} calls, {one.captured.mean_ms:,.1f} ms each,"
                f" {one.captured.share:.0%} of database time",
            )


def _is_wasteful(node: PlanNode) -> bool:
    return (
        node.node_type == "Seq Scan"
        and node.has_filter
        and node.rows_read is not None
        and node.rows_read >= WASTE_RATIO * max(node.rows, 1.0)
    )
