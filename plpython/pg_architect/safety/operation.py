"""What a statement does, in elementary operations: the readers make them, the rules judge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pg_architect.safety import locks
from pg_architect.safety.relation import Relation

# What an operation does while it holds its lock.
BRIEF = "brief"  # writes a few rows of the catalogue
SCAN = "scan"  # reads the whole table
BUILD = "build"  # reads the whole table and builds indexes
REWRITE = "rewrite"  # writes the whole table and its indexes anew


@dataclass(frozen=True, slots=True)
class Operation:
    """One elementary change.

    ``target`` is the relation that is locked by ``lock``, None for an object that is no relation or is new;
    ``others`` are locks on further relations by their displayed names. ``work`` says what is done to ``target``;
    ``worked`` names another relation on which the work is done. ``revert`` are the statements that undo it, ``undo``
    how well (see judgement.UNDO). ``safer`` are steps to the same end that block nobody for long. ``facts`` are what
    the rules ask about this kind.
    """

    kind: str
    target: Relation | None = None
    lock: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    work: str = BRIEF
    worked: Relation | None = None
    own_transaction: bool = False
    undo: str = "exact"
    revert: tuple[str, ...] = ()
    safer: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scans(self) -> bool:
        return self.work != BRIEF

    @property
    def rewrites(self) -> bool:
        return self.work == REWRITE

    @property
    def subject(self) -> Relation | None:
        """The relation that the work is done on."""
        return self.worked or self.target

    @property
    def strongest(self) -> str | None:
        """The strongest of all its locks."""
        return max((self.lock, *self.others.values()), key=locks.strength)
