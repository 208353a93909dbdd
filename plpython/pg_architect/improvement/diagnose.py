"""Causes behind the slow statements, ranked, each with the facts of the finding that supports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pg_architect.findings import slow_statement
from pg_architect.findings.finding import Finding


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a statement is slow; ``share`` is its part of database time (0 to 1)."""

    statement_id: int
    share: float
    cause: str
    description: str


def diagnose(findings: Sequence[Finding]) -> list[Cause]:
    """One cause for each slow statement, heaviest first."""
    causes = [_cause(finding) for finding in findings if finding.rule == slow_statement.RULE]
    return sorted(causes, key=lambda cause: -cause.share)


def _cause(finding: Finding) -> Cause:
    searches = finding.evidence["searches"]
    if searches and finding.evidence["columns_without_index"]:
        cause = "missing_index"
    elif searches:
        cause = "index_not_usable"
    else:
        cause = "call_frequency"
    assert finding.statement_id is not None  # noqa: S101  the rule is about statements
    return Cause(
        finding.statement_id,
        finding.share or 0.0,
        cause,
        f"{cause.replace('_', ' ')}: {finding.detail} {finding.remedy}",
    )
