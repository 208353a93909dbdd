"""Table locks: their order of strength, and whom they block (PostgreSQL manual, 13.3.1, table 13.2)."""

from __future__ import annotations

ACCESS_SHARE = "AccessShareLock"
ROW_EXCLUSIVE = "RowExclusiveLock"
SHARE_UPDATE_EXCLUSIVE = "ShareUpdateExclusiveLock"
SHARE = "ShareLock"
SHARE_ROW_EXCLUSIVE = "ShareRowExclusiveLock"
EXCLUSIVE = "ExclusiveLock"
ACCESS_EXCLUSIVE = "AccessExclusiveLock"

MODES = (
    ACCESS_SHARE, "RowShareLock", ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE,
    ACCESS_EXCLUSIVE,
)  # fmt: skip


def strength(mode: str | None) -> int:
    """Its place in the order, 0 for no lock; a stronger one conflicts with all that a weaker one does, and more."""
    return 0 if mode is None else MODES.index(mode) + 1


def blocks_reads(mode: str | None) -> bool:
    """Whether a SELECT has to wait."""
    return mode == ACCESS_EXCLUSIVE


def blocks_writes(mode: str | None) -> bool:
    """Whether an INSERT, UPDATE or DELETE has to wait."""
    return mode is not None and strength(mode) >= strength(SHARE)
