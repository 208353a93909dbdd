"""A second session that watches a replay, and cancels a run that takes too long or that others have to wait for.

A backend cannot bound a statement that runs inside a procedure: statement_timeout counts the whole CALL. A run holds
the lock of a query; whoever wants to alter the table waits behind it, and everybody else behind them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pg_architect.core.db import Database
from pg_architect.core.errors import OBJECT_NOT_IN_PREREQUISITE_STATE, QUERY_CANCELED, ArchitectError

POLL_SECONDS = 0.1
# How long two workers that start together wait for each other.
TOGETHER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What a replay has to know of the session that watches it."""

    db: Database
    proposal_id: int

    def interruption(self) -> str | None:
        """Why the run that was just canceled had to end; None if it was not the watch that canceled it."""
        reason: str | None = self._committed("select architect._replay_interruption($1) as value")
        return reason

    def obstacle(self, statement_id: int) -> str | None:
        """Say whose runs follow; returns why they must not."""
        reason: str | None = self._despite_cancel("select architect._begin_statement($1, $2) as value", statement_id)
        return reason

    def end(self) -> None:
        self._despite_cancel("select architect._end_replay($1) as value")

    def _despite_cancel(self, sql: str, *params: object) -> Any:
        """A run can end by itself just before the cancel comes, which then hits what follows."""
        try:
            return self._committed(sql, *params)
        except ArchitectError as exc:
            self.db.rollback()
            if exc.sqlstate != QUERY_CANCELED or self.interruption() is None:
                raise
            return self._committed(sql, *params)

    def _committed(self, sql: str, *params: object) -> Any:
        rows = self.db.query(sql, self.proposal_id, *params)
        self.db.commit()
        return rows[0]["value"]


@contextlib.contextmanager
def watched(db: Database, proposal_id: int, seconds: float, *, required: bool) -> Iterator[Watch]:
    """Announce a replay of this session that has ``seconds``.

    With ``required`` another session must watch: raises ArchitectError 55000 if none does.
    """
    if not announce(db, proposal_id, seconds, TOGETHER_SECONDS if required else 0.0) and required:
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"no other session watches the replay of proposal {proposal_id}",
            hint="Call again; with pg_cron, a job that calls architect._watch has to run beside this one.",
        )
    watch = Watch(db, proposal_id)
    yield watch
    watch.end()


def announce(db: Database, proposal_id: int, seconds: float, patience: float) -> bool:
    """Let it be known that this session replays for ``seconds``; whether, within ``patience``, another one watches."""
    deadline = time.monotonic() + patience
    while True:
        is_watched = db.query("select architect._begin_replay($1, $2) as watched", proposal_id, seconds)[0]["watched"]
        db.commit()
        if is_watched or time.monotonic() > deadline:
            return bool(is_watched)
        db.query("select pg_sleep($1::float8)", POLL_SECONDS)
        db.commit()
