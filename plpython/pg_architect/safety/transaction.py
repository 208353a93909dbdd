"""What the statements of a script mean together: transactions, the locks that they hold, timeouts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pg_architect.safety import parse
from pg_architect.safety.judgement import ALLOW, NEEDS_APPROVAL, NOTE, REFUSE, Judgement, Reason, Refused
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers.fields import enum

# The rules that need more than one statement, with what a person can do.
_TIMEOUTS = ("lock_timeout", "statement_timeout")
_DURATION = re.compile(r"\s*(\d+)(?:\.\d+)?\s*(?:us|ms|s|min|h|d)?\s*")


@dataclass(slots=True)
class Transaction:
    """The state between two statements of a script. ``began`` is the number of the BEGIN, None outside.

    With ``is_single`` the script itself is one transaction. ``locked`` says for each table since which statement it
    is locked against writers, ``not_valid`` and ``labels`` what this transaction added. ``places`` says where each
    statement stands, by its number. ``failed`` is the first statement that is certain to fail: it ends the transaction,
    which cannot be committed.
    """

    is_single: bool = False
    began: int | None = None
    locked: dict[str, int] = field(default_factory=dict)
    not_valid: dict[tuple[str, str], int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)
    failed: int | None = None
    timeout: bool = False
    local_timeout: bool | None = None

    @property
    def is_open(self) -> bool:
        """Whether what is done now is committed together with something else."""
        return self.is_single or self.began is not None

    @property
    def has_lock_timeout(self) -> bool:
        """Whether waiting for a lock ends by itself."""
        return self.timeout if self.local_timeout is None else self.local_timeout

    def at(self, number: int) -> str:
        """The statement, as a person finds it."""
        return f"the statement of {self.places.get(number, f'line ? (number {number})')}"

    def end(self) -> None:
        """What was held is held no longer."""
        self.began, self.local_timeout, self.failed = None, None, None
        self.locked, self.not_valid, self.labels = {}, {}, {}

    def control(self, tree: Tree, number: int) -> list[Reason]:
        """BEGIN and COMMIT; Refused for all else that controls transactions, whose effects are not followed."""
        kind = enum(tree.kind).removeprefix("TRANS_STMT_")
        if kind not in ("BEGIN", "START", "COMMIT") or tree.options or tree.chain:
            what = kind.lower().replace("_", " ")
            raise Refused(
                "nested-transaction-control", f"{what} of this form is not followed: only begin and commit are"
            )
        if kind == "COMMIT":
            was_open, self.is_single = self.is_open, False
            nested = self.began is None
            self.end()
            if not was_open or nested:
                detail = "it ends no transaction that a begin of this script began"
                return [Reason("nested-transaction-control", detail, {}, NEEDS_APPROVAL)]
            return []
        if self.is_open:
            where = "the script" if self.began is None else self.at(self.began)
            detail = f"a transaction is open already ({where}): the next commit ends both"
            return [Reason("nested-transaction-control", detail, {}, NEEDS_APPROVAL)]
        self.end()
        self.began = number
        return []

    def set_timeout(self, tree: Tree) -> tuple[str, list[Reason]]:
        """SET of a timeout to a constant: the text that does it; Refused for every other SET."""
        value = _constant(tree)
        if enum(tree.kind) != "VAR_SET_VALUE" or tree.name not in _TIMEOUTS or value is None:
            raise Refused("not-understood", "only lock_timeout and statement_timeout may be set, to a constant")
        is_on = int(value[1]) > 0 or "." in value[0]
        reasons = []
        if tree.is_local and not self.is_open:
            reasons.append(Reason("not-in-transaction", "set local does nothing outside a transaction"))
        elif tree.name == "lock_timeout" and tree.is_local:
            self.local_timeout = is_on
        elif tree.name == "lock_timeout":
            self.timeout, self.local_timeout = is_on, None
        return parse.deparse(tree), reasons

    def check(self, tree: Tree, judged: Judgement, limit: float, hidden: Iterable[str]) -> list[Reason]:
        """What follows for a statement from those before it; ``hidden`` are tables that nobody else knows yet."""
        if not self.is_open:
            return []
        reasons = []
        if judged.needs_own_transaction:
            detail = f"{judged.kind} cannot run inside a transaction"
            reasons.append(Reason("concurrent-in-transaction", detail, {}, REFUSE))
        for node in parse.walk(tree):
            if kind_of(node) == "String" and node.sval in self.labels:
                detail = f"'{node.sval}' was added to its type by {self.at(self.labels[node.sval])}, not yet committed"
                reasons.append(Reason("enum-in-transaction", detail, {"label": node.sval}, NEEDS_APPROVAL))
        reasons += self._validates(tree, judged, limit)
        if not reasons:
            reasons += self._holds(judged, limit, set(hidden))
        return reasons

    def _validates(self, tree: Tree, judged: Judgement, limit: float) -> Iterable[Reason]:
        for table, constraint, _ in _constraints(tree, "AT_ValidateConstraint"):
            if (table, constraint) in self.not_valid:
                since = self.not_valid[table, constraint]
                detail = (
                    f"{self.at(since)} added {constraint} in this transaction and locks {table} until its end: what "
                    "reads the table now keeps everybody waiting"
                )
                level = _long(judged, limit, REFUSE)
                yield Reason("validate-in-same-transaction", detail, {"statement": since}, level)

    def _holds(self, judged: Judgement, limit: float, hidden: set[str]) -> Iterable[Reason]:
        """Strong locks that are held while this statement works, or waits for another one."""
        held = {name: since for name, since in self.locked.items() if name not in hidden}
        asked = strongly_locked(judged) - hidden
        works = judged.scans or judged.rewrites
        waits = asked - held.keys()
        if not held or not (works or waits):
            return
        names = ", ".join(f"{name} ({self.at(since)})" for name, since in held.items())
        does = f"works on the data of {', '.join(sorted(_relations(judged)))}" if works else "waits for its lock"
        detail = f"it {does} while writers of {names} wait until this transaction ends"
        level = _long(judged, limit, NEEDS_APPROVAL) if works else NOTE
        yield Reason("several-locks-in-transaction", detail, {"held": sorted(held)}, level)

    def note(self, tree: Tree, judged: Judgement, number: int) -> None:
        """Remember what a statement holds until the transaction ends."""
        if not self.is_open:
            return
        for name in strongly_locked(judged):
            self.locked.setdefault(name, number)
        for table, constraint, item in _constraints(tree, "AT_AddConstraint"):
            if item.skip_validation:
                self.not_valid[table, constraint] = number
        if kind_of(tree) == "AlterEnumStmt" and tree.newVal and not tree.oldVal:
            self.labels[tree.newVal] = number


def strongly_locked(judged: Judgement) -> set[str]:
    """The relations that the statement locks against writers; where it names others, they are counted too."""
    return _relations(judged) if judged.blocks_writes else set()


def _relations(judged: Judgement) -> set[str]:
    return {str(name) for name in judged.objects.get("relations", {})}


def _long(judged: Judgement, limit: float, level: str) -> str:
    """The level for work that takes longer than the limit or nobody knows how long; a note for less."""
    seconds = judged.estimate.seconds if judged.estimate is not None else None
    return level if seconds is None or seconds > limit else NOTE


def _constraints(tree: Tree, subtype: str) -> Iterable[tuple[str, str, Any]]:
    """The table, the constraint and its definition, for each such subcommand."""
    commands: Sequence[Tree] = tree.cmds if kind_of(tree) == "AlterTableStmt" else []
    for command in commands:
        if enum(command.subtype) == subtype:
            name = command.name or getattr(command.def_, "conname", None) or ""
            yield f"{tree.relation.schemaname}.{tree.relation.relname}", name, command.def_


def _constant(tree: Tree) -> tuple[str, str] | None:
    """The text of a duration, and its digits before a point; None for anything else."""
    args: Sequence[Tree] = tree.args or ()
    if len(args) != 1 or kind_of(args[0]) != "A_Const" or args[0].isnull:
        return None
    value = args[0].val
    text = str(value.ival) if kind_of(value) == "Integer" else getattr(value, "sval", None)
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return (match.group(), match.group(1)) if match else None


__all__ = ["ALLOW", "Transaction", "strongly_locked"]
