"""Driving the executor's session, with both sessions made up."""

from __future__ import annotations

from typing import Any

import pytest

from pg_architect.core.errors import ArchitectError
from pg_architect.improvement import procedures


class Asked:
    """Answers every query and statement with the same row."""

    def __init__(self, **row: Any) -> None:
        self.row = row

    def query(self, _sql: str, *_params: object) -> list[dict[str, Any]]:
        return [self.row]

    def run(self, _sql: str, _deadline: float, *_params: object) -> list[dict[str, Any]]:
        return [self.row]

    def commit(self) -> None:
        """Nothing to do."""


def test_a_caller_that_holds_a_snapshot_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A concurrent build would wait for its own caller until its timeout, and leave an invalid index."""
    monkeypatch.setattr(procedures, "load", lambda _db: {})
    db: Any = Asked(pid=1)
    session: Any = Asked(held="t")
    with pytest.raises(ArchitectError, match="holds a snapshot that a concurrent build would wait for") as caught:
        procedures._drive_by_loopback(db, session, 1, 0.0)
    assert caught.value.hint
