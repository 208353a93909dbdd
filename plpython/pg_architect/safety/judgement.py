"""What the gate says about a statement: reasons by rule, the strictest of which is the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Goes up whenever the same statement may get another verdict: approvals are bound to it.
GATE_VERSION = "2"

ALLOW, NEEDS_APPROVAL, REFUSE = "allow", "needs_approval", "refuse"
# A reason that only tells something has this level.
NOTE = "note"
_STRICTNESS = {NOTE: 0, ALLOW: 0, NEEDS_APPROVAL: 1, REFUSE: 2}
# How far a change can be taken back, best first: not_needed (nothing to undo), exact (as it was), rebuild (what was
# there has to be computed again), none (something is lost).
UNDO = ("not_needed", "exact", "rebuild", "none")


class Refused(Exception):  # noqa: N818  not an error: the verdict on a statement, with the rule that it breaks
    """A statement that the gate refuses."""

    def __init__(self, rule: str, detail: str, **evidence: Any) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule, what it says about this statement, the facts, and what follows: note, needs_approval or refuse."""

    rule: str
    detail: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    level: str = NOTE


@dataclass(frozen=True, slots=True)
class Estimate:
    """``build_bytes`` is space that the change takes, ``seconds`` its duration; None where they cannot be known."""

    build_bytes: int | None = None
    seconds: float | None = None
    method: str = "nothing is read or written but the catalogue"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's verdict on a statement: allow, needs_approval or refuse.

    ``apply_sql`` and ``revert_sql`` are None, and ``lock`` and what follows say nothing, where it was not understood.
    ``lock`` is the strongest on the target. ``safer_sql`` are the steps to the same end that block nobody.
    """

    verdict: str
    risk: str
    kind: str
    reasons: tuple[Reason, ...]
    objects: Mapping[str, Any] = field(default_factory=dict)
    apply_sql: str | None = None
    revert_sql: str | None = None
    undo: str | None = None
    lock: str | None = None
    blocks_reads: bool = False
    blocks_writes: bool = False
    rewrites: bool = False
    scans: bool = False
    needs_own_transaction: bool = False
    estimate: Estimate | None = None
    safer_sql: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole judgement as JSON data, with the gate's version."""
        estimate = self.estimate or Estimate(method="not understood")
        return {
            "gate_version": GATE_VERSION,
            "verdict": self.verdict,
            "risk": self.risk,
            "kind": self.kind,
            "reasons": [
                {
                    "rule": reason.rule,
                    "level": reason.level,
                    "detail": reason.detail,
                    "evidence": dict(reason.evidence),
                }
                for reason in self.reasons
            ],
            "objects": dict(self.objects),
            "apply_sql": self.apply_sql,
            "revert_sql": self.revert_sql,
            "undo": self.undo,
            "lock": self.lock,
            "blocks_reads": self.blocks_reads,
            "blocks_writes": self.blocks_writes,
            "rewrites": self.rewrites,
            "scans": self.scans,
            "needs_own_transaction": self.needs_own_transaction,
            "estimated_bytes": estimate.build_bytes,
            "estimated_seconds": estimate.seconds,
            "estimated_by": estimate.method,
            "safer_sql": list(self.safer_sql),
            "unproven": list(self.unproven),
        }


def strictest(levels: Sequence[str]) -> str:
    """The verdict that follows from the levels of the reasons; allow where there are none."""
    worst = max(levels, key=_STRICTNESS.__getitem__, default=ALLOW)
    return ALLOW if worst == NOTE else worst


def refusal(kind: str, exc: Refused, objects: Mapping[str, Any]) -> Judgement:
    """The judgement of a statement that was refused before it was understood to the end."""
    safer = exc.evidence.get("instead")
    return Judgement(
        REFUSE,
        "high",
        kind,
        (Reason(exc.rule, exc.detail, exc.evidence, REFUSE),),
        objects,
        safer_sql=(str(safer),) if safer else (),
    )
