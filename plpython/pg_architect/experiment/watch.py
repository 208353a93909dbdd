"""A second session that watches a replay, and cancels a run that takes too long or that others have to wait for.

A backend cannot bound a statement that runs inside a procedure: statement_timeout counts the whole CALL. A run holds
the lock of a query; whoever wants to alter the table waits behind it, and everybody else behind them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pg_architect.core.db import Database
from pg_architect.core.errors import OBJECT_NOT_IN_PREREQUISITE_STATE, QUERY_CANCELED, ArchitectError

POLL_SECONDS = 0.1
# How long two workers that start together wait for each other.
TOGETHER_SECONDS = 3.0

Interruption = Callable[[], str | None]


@contextlib.contextmanager
def watched(db: Database, proposal_id: int, seconds: float, *, required: bool) -> Iterator[Interruption]:
    """Announce a replay of this session that has ``seconds``; yields what tells why a run was canceled.

    With ``required`` another session must watch: raises ArchitectError 55000 if none does.
    """
    if not announce(db, proposal_id, seconds, TOGETHER_SECONDS if required else 0.0) and required:
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"no other session watches the replay of proposal {proposal_id}",
            hint="Call again; with pg_cron, a job that calls architect._watch has to run beside this one.",
        )
    yield lambda: _interruption(db, proposal_id)
    try:
        db.query("select architect._end_replay($1)", proposal_id)
    except ArchitectError as exc:
        db.rollback()
        if exc.sqlstate != QUERY_CANCELED or _interruption(db, proposal_id) is None:
            raise
        db.query("select architect._end_replay($1)", proposal_id)
    db.commit()


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


def _interruption(db: Database, proposal_id: int) -> str | None:
    reason: str | None = db.query("select architect._replay_interruption($1) as reason", proposal_id)[0]["reason"]
    db.commit()
    return reason
