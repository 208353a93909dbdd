"""The registry of generators: each turns what was observed into changes of the JSON contract.

The cycle does not know which one spoke. A later generator (language model, pattern library) is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pg_architect.advisor import recommend as advisor
from pg_architect.core.db import Database
from pg_architect.core.identifier import shown
from pg_architect.telemetry.examination import Examination

Settings = Mapping[str, float]
# What was seen, how many changes at most, settings, the definitions of changes that must not be proposed again, and of
# those among them that may soon be there.
Generator = Callable[[Database, Examination, int, Settings, Collection[str], Collection[str]], list[dict[str, Any]]]


def rules(
    db: Database, seen: Examination, most: int, settings: Settings, excluded: Collection[str], assumed: Collection[str]
) -> list[dict[str, Any]]:
    """Indexes for the captured workload, by what-if planning; at most ``most`` changes, best first."""
    recommendations = advisor.recommend(db, seen.snapshot_id, most, settings, seen, excluded, assumed)
    return [index_change(one) for one in recommendations]


GENERATORS: Mapping[str, tuple[Generator, frozenset[str]]] = {
    # name: (function, target areas that it serves)
    "rules": (rules, frozenset({"performance", "cost"})),
}


def index_change(one: advisor.IndexRecommendation) -> dict[str, Any]:
    """An index as an object of the contract."""
    is_point = round(one.reduction_low or 0, 1) == round(one.reduction_high or 0, 1)
    columns = ", ".join(map(shown, one.columns)) + (f" where {one.predicate}" if one.predicate else "")
    return {
        "change_type": "create_index",
        "title": f"index {shown(one.schema_name, one.relation_name)} ({columns})",
        "hypothesis": one.hypothesis,
        "why": one.why,
        "apply_sql": one.statement,
        "revert_sql": one.revert_statement,
        "risk_level": one.risk,
        "impact": _impact(one.time_saved_share),
        "target_file": None,
        "prediction": {
            "reduction_percent": one.reduction_percent,
            # All parameter sets saying the same is no interval: it would read as certainty.
            "reduction_low": None if is_point else one.reduction_low,
            "reduction_high": None if is_point else one.reduction_high,
            "basis": one.prediction_basis,
            "time_saved_share": one.time_saved_share,
            "helped": [
                {
                    "statement_id": h.statement_id,
                    "cost_before": h.cost_before,
                    "cost_after": h.cost_after,
                    "share": h.share,
                }
                for h in one.helped
            ],
            "size_bytes": one.size_bytes,
            "size_basis": one.size_basis,
            "build_seconds": one.build_seconds,
            "build_basis": one.build_basis,
            "write_cost": one.write_cost,
            "loses_hot_updates": one.loses_hot_updates,
            "contains_literal": one.contains_literal,
            "risk_reason": one.risk_reason,
        },
    }


def _impact(share: float | None) -> str:
    """Predicted share of database time saved, in words; the limits are those that architect.proposal documents."""
    if share is None:
        return "unknown"
    return "high" if share >= 0.10 else "medium" if share >= 0.02 else "low"
