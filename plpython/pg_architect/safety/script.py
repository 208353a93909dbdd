"""A migration script, judged statement by statement; each as if those before it had been executed.

Nothing is executed. What earlier statements change is followed in an overlay of the catalogue (``overlay``,
``effects``), what transactions and timeouts mean in ``transaction``. Where that is not known the verdict is
needs_approval at least, with the rule depends-on-earlier-statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pg_architect.core import settings
from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import effects, gate, parse
from pg_architect.safety.judgement import NEEDS_APPROVAL, NOTE, REFUSE, Judgement, Reason, Refused, refusal, strictest
from pg_architect.safety.overlay import DEPENDS, FIRST_NEW, Overlay
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.split import Piece, split
from pg_architect.safety.transaction import Transaction

_RISK = {"allow": "low", NEEDS_APPROVAL: "medium", REFUSE: "high"}
# What these warn of cannot happen to a table that nobody knows and nothing is in.
_OF_OTHERS = frozenset(
    [
        "constraint-weakened",
        "data-loss",
        "drop-breaks-clients",
        "index-dropped",
        "lock-queue",
        "no-way-back",
        "rename-breaks-clients",
        "replica-identity",
        "required-column",
        "several-objects-locked",
        "table-rewritten",
        "table-too-busy",
    ]
)
# Refusals for what is there or is not.
_OF_THE_MOMENT = frozenset({"certain-to-fail", "duplicate-index", "exists", "name-taken", "object-kind"})


@dataclass(slots=True)
class Script:
    """What is known between two statements. ``lost`` is the first statement of which too little is known."""

    db: Database
    overlay: Overlay
    transaction: Transaction
    limit: float
    lost: int | None = None
    judged: list[Judgement] = field(default_factory=list)

    def judge(self, piece: Piece) -> Judgement:
        """The verdict on the next statement."""
        number = len(self.judged) + 1
        try:
            tree = gate.to_tree(piece.text)
        except Refused as exc:
            self.lost = self.lost or number
            return refusal("other", exc, {})
        kind = kind_of(tree)
        if kind == "TransactionStmt":
            return self._control(tree, number)
        if kind == "VariableSetStmt":
            return self._set(tree, number)
        return self._change(piece.text, number)

    def _control(self, tree: Tree, number: int) -> Judgement:
        try:
            reasons = self.transaction.control(tree, number)
        except Refused as exc:
            self.lost = self.lost or number
            self.transaction.end()
            return refusal("transaction_control", exc, {})
        return _plain("transaction_control", gate.to_text(tree), reasons)

    def _set(self, tree: Tree, number: int) -> Judgement:
        try:
            text, reasons = self.transaction.set_timeout(tree)
        except Refused as exc:
            self.lost = self.lost or number
            return refusal("variable_set", exc, {})
        return _plain("set_timeout", text, reasons)

    def _change(self, text: str, number: int) -> Judgement:
        self.overlay.begin()
        judged = gate.judge(self.overlay, text)
        if self.overlay.depended is not None:
            judged = self._unproved(judged, text, self.overlay.depended)
        elif self.lost is not None:
            judged = self._after_lost(judged, self.lost)
        if judged.apply_sql is None:
            self.lost = self.lost or number
            return judged
        tree = parse.parse_one(judged.apply_sql)
        judged = self._softened(judged)
        judged = with_reasons(judged, self.transaction.check(tree, judged, self.limit, self._hidden()))
        self.transaction.note(tree, judged, number)
        if not effects.note(self.overlay, tree):
            self.lost = self.lost or number
        return without_numbers(judged)

    def _after_lost(self, judged: Judgement, lost: int) -> Judgement:
        """What can be said after a statement that is not followed: no more than a person may allow."""
        detail = f"statement {lost} cannot be followed: whether it changes what is asked here is not known"
        reason = Reason(DEPENDS, detail, {"statement": lost}, NEEDS_APPROVAL)
        if judged.apply_sql is not None or _drops(judged.kind):
            return with_reasons(judged, [reason])
        (refused,) = judged.reasons
        if refused.rule not in _OF_THE_MOMENT and not refused.detail.endswith("does not exist"):
            return with_reasons(judged, [reason])
        # What stood in the way or was missing may have been made or dropped meanwhile.
        return _open(judged.kind, [reason, replace(refused, level=NOTE)])

    def _unproved(self, judged: Judgement, text: str, why: str) -> Judgement:
        """What can be said all the same: the verdict for the catalogue as it is, if there is one, and a person's."""
        reason = Reason(DEPENDS, why, {}, NEEDS_APPROVAL)
        now = gate.judge(self.db, text)
        if now.apply_sql is not None:
            return replace(with_reasons(now, [reason]), unproven=(*now.unproven, why))
        return _open(judged.kind, [replace(reason, level=REFUSE if _drops(judged.kind) else NEEDS_APPROVAL)])

    def _softened(self, judged: Judgement) -> Judgement:
        """Without the warnings that earlier statements have made pointless."""
        relations = set(judged.objects.get("relations", {}))
        pointless: set[str] = set()
        if relations and relations <= self._hidden():
            pointless |= _OF_OTHERS
        if self.transaction.has_lock_timeout:
            pointless.add("lock-queue")
        kept = tuple(reason for reason in judged.reasons if reason.rule not in pointless)
        verdict = strictest([reason.level for reason in kept])
        return replace(judged, reasons=kept, verdict=verdict, risk=_RISK[verdict])

    def _hidden(self) -> set[str]:
        """Tables that the script made, and that hold nothing."""
        return {
            str(table.row["display"])
            for table in self.overlay.tables.values()
            if table.is_new and table.row is not None
        }


def judge_script(
    db: Database, script: str | None, *, single_transaction: bool = False
) -> list[tuple[Piece, Judgement]]:
    """The statements of a script with their verdicts, in order; one refusal for what has no statement."""
    try:
        pieces = split(script or "")
    except ArchitectError as exc:
        return [(Piece(1, ""), refusal("other", Refused("script", exc.message), {}))]
    if not pieces:
        return [(Piece(1, ""), refusal("other", Refused("one-statement", "there is no statement in the script"), {}))]
    state = Script(db, Overlay(db), Transaction(single_transaction), settings.load(db)["max_blocked_seconds"])
    for piece in pieces:
        state.judged.append(state.judge(piece))
    began = state.transaction.began
    if began is not None:
        detail = "no commit follows: at the end of the script everything since is rolled back"
        judged = state.judged[began - 1]
        state.judged[began - 1] = with_reasons(judged, [Reason("uncommitted-transaction", detail, {}, REFUSE)])
    return list(zip(pieces, state.judged, strict=True))


def judge_rows(db: Database, script: str | None, single_transaction: bool | None) -> list[Row]:
    """The rows of ``architect.judge_script``."""
    judged = judge_script(db, script, single_transaction=bool(single_transaction))
    return [
        {"number": number, "line": piece.line, "statement": piece.text, **_row(judgement)}
        for number, (piece, judgement) in enumerate(judged, 1)
    ]


def _row(judgement: Judgement) -> Row:
    """The columns of ``architect.judge_statement``."""
    row = judgement.to_json()
    seconds = row.pop("estimated_seconds")
    return {
        **row,
        "objects": json.dumps(row["objects"]),
        "reasons": json.dumps(row["reasons"]),
        "estimated_duration": None if seconds is None else f"{seconds:.6f} seconds",
    }


def with_reasons(judged: Judgement, more: Sequence[Reason]) -> Judgement:
    """A judgement with further reasons, and the verdict that follows."""
    if not more:
        return judged
    verdict = strictest([judged.verdict, *(reason.level for reason in more)])
    return replace(judged, reasons=(*judged.reasons, *more), verdict=verdict, risk=_RISK[verdict])


def without_numbers(judged: Judgement) -> Judgement:
    """Without the numbers of objects that do not exist yet: they mean nothing outside."""
    return replace(judged, objects=_scrubbed(judged.objects))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _scrubbed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(one) for one in value]
    return None if isinstance(value, int) and value >= FIRST_NEW else value


def _drops(kind: str) -> bool:
    """Whether it takes away what nothing brings back."""
    return kind.startswith("drop_") and not kind.startswith("drop_index")


def _open(kind: str, reasons: Sequence[Reason]) -> Judgement:
    """The judgement of a statement of which nothing is known but the reasons."""
    verdict = strictest([reason.level for reason in reasons])
    return Judgement(verdict, _RISK[verdict], kind, tuple(reasons), unproven=(reasons[0].detail,))


def _plain(kind: str, text: str, reasons: Sequence[Reason]) -> Judgement:
    """The judgement of a statement that changes no object."""
    verdict = strictest([reason.level for reason in reasons])
    return Judgement(verdict, _RISK[verdict], kind, tuple(reasons), apply_sql=text, undo="not_needed")
