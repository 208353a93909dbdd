"""What a rule says: one uniform row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """``key`` is stable from snapshot to snapshot; ``share`` is of the statement time, 0 to 1."""

    rule: str
    key: str
    severity: str
    title: str
    statement_id: int | None
    relation_oid: int | None
    share: float | None
    detail: str
    evidence: Mapping[str, Any]
    remedy: str


def severity(share: float) -> str:
    """By the share of statement time: a fifth is what a DBA looks at first, below a twentieth it can wait."""
    if share >= 0.2:
        return "high"
    return "medium" if share >= 0.05 else "low"


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
