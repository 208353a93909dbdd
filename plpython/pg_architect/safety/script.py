"""A migration script, judged statement by statement; each as if those before it had been executed.

Nothing is executed. What earlier statements change is followed in an overlay of the catalogue (``overlay``,
``effects``), what transactions and timeouts mean in ``transaction``. Where that is not known the verdict is
needs_approval at least, with the rule depends-on-earlier-statement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pg_architect.core import settings
from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import effects, gate, parse, refused_effects
from pg_architect.safety.judgement import NEEDS_APPROVAL, NOTE, REFUSE, Judgement, Reason, Refused, refusal, strictest
from pg_architect.safety.overlay import DEPENDS, FIRST_NEW, Overlay
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.split import Piece, has_command, split
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
# Commands of psql that change nothing: without backquotes, which run programs, and without another command.
_IDLE_COMMAND = re.compile(
    r"\\(echo|qecho|warn|timing|pset|set\s+(ON_ERROR_STOP|ECHO|QUIET|VERBOSITY|FETCH_COUNT))\b[^`\\]*"
)


@dataclass(slots=True)
class Script:
    """What is known between two statements. ``lost`` is the first statement of which too little is known.

    Several scripts share what is known, and each has transactions and settings of its own.
    """

    db: Database
    overlay: Overlay
    transaction: Transaction
    limit: float
    lost: int | None = None
    name: str = ""
    single: bool = False
    places: dict[int, str] = field(default_factory=dict)
    judged: list[Judgement] = field(default_factory=list)

    def judge(self, piece: Piece) -> Judgement:
        """The verdict on the next statement."""
        number = len(self.judged) + 1
        if piece.script != self.name:
            self.end()
            self.name, self.transaction = piece.script, Transaction(self.single, places=self.places)
        self.places[number] = self.overlay.place = piece.place
        try:
            tree = gate.to_tree(piece.text)
        except Refused as exc:
            if not _IDLE_COMMAND.fullmatch(piece.text):
                self.lost = self.lost or number
            command = Refused("not-understood", "commands of psql are not SQL: what they do is not seen here")
            return refusal("other", command if has_command(piece.text) else exc, {})
        kind = kind_of(tree)
        if kind == "TransactionStmt":
            return self._control(tree, number)
        if kind == "VariableSetStmt":
            return self._set(tree, number)
        return self._change(piece.text, tree, number)

    def end(self) -> None:
        """The script ends: what was not committed is rolled back."""
        self.lost = self.lost or self.transaction.failed
        began = self.transaction.began
        if began is not None:
            detail = "no commit follows: at the end of the script everything since is rolled back"
            reason = Reason("uncommitted-transaction", detail, {}, REFUSE)
            self.judged[began - 1] = with_reasons(self.judged[began - 1], [reason])
            # What it made is not there for the next script.
            self.lost = self.lost or began

    def _control(self, tree: Tree, number: int) -> Judgement:
        # What a failing statement ends is rolled back by COMMIT: what was made in it is not there.
        self.lost = self.lost or self.transaction.failed
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

    def _change(self, text: str, refused: Tree, number: int) -> Judgement:
        self.overlay.begin()
        read = judged = gate.judge(self.overlay, text)
        if self.overlay.depended is not None:
            judged = self._unproved(judged, text, self.overlay.depended)
        elif self.lost is not None:
            judged = self._after_lost(judged, self.lost)
        if judged.apply_sql is None:
            if self.lost is None:
                self._refused(refused, read, number)
            self.overlay.end()
            return without_numbers(judged)
        tree = parse.parse_one(judged.apply_sql)
        judged = self._softened(judged)
        judged = with_reasons(judged, self.transaction.check(tree, judged, self.limit, self._hidden()))
        self.transaction.note(tree, judged, number)
        if not effects.note(self.overlay, tree):
            self.lost = self.lost or number
        self.overlay.end()
        return without_numbers(judged)

    def _refused(self, tree: Tree, judged: Judgement, number: int) -> None:
        """What is known after a statement that was refused unread, and that a person may execute all the same."""
        (reason,) = judged.reasons
        if self.overlay.depended is None and refused_effects.certainly_fails(reason):
            if self.transaction.is_open:
                self.transaction.failed = self.transaction.failed or number
            return
        depended = self.overlay.depended
        locked = refused_effects.note(self.overlay, tree, reason)
        self.overlay.depended = depended
        if locked is None:
            self.lost = number
        elif self.transaction.is_open:
            for name in locked:
                self.transaction.locked.setdefault(name, number)

    def _after_lost(self, judged: Judgement, lost: int) -> Judgement:
        """What can be said after a statement that is not followed: no more than a person may allow."""
        place = self.places[lost]
        detail = f"the statement of {place} cannot be followed: whether it changes what is asked here is not known"
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
            if table.is_new and table.row is not None and table.row["is_empty"]
        }


def judge_script(
    db: Database, script: str | None, *, single_transaction: bool = False
) -> list[tuple[Piece, Judgement]]:
    """The statements of a script with their verdicts, in order; one row for what has no statement."""
    try:
        pieces = split(script or "")
    except ArchitectError as exc:
        return [(Piece(1, ""), refusal("other", Refused("script", exc.message), {}))]
    if script is None:
        return [(Piece(1, ""), refusal("other", Refused("one-statement", "there is no script"), {}))]
    if not pieces:
        # Nothing to do is done at once, and hurts nobody.
        return [(Piece(1, ""), Judgement("allow", "low", "nothing", (), undo="not_needed"))]
    limit = settings.load(db)["max_blocked_seconds"]
    state = Script(db, Overlay(db), Transaction(single_transaction), limit, name=pieces[0].script)
    state.single, state.transaction.places = single_transaction, state.places
    for piece in pieces:
        state.judged.append(state.judge(piece))
    state.end()
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
