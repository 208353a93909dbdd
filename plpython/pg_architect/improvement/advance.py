"""The executor's half of a deployment: do what `deployment.step` says, in the executor's own session.

A concurrent build cannot run inside a procedure. It is handed back as ``next_sql`` to whoever holds the connection,
or, in a pg_cron worker, put up as a job of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pg_architect.core.db import Database, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.settings import load
from pg_architect.experiment import live, measure, writes
from pg_architect.experiment.replay import ReplayStatement
from pg_architect.improvement import cron
from pg_architect.improvement.admission import Action

Outcome = tuple[str | None, str | None]


def advance(db: Database, proposal_id: int, failure: str | None, via: str) -> Outcome:
    """Go on with a proposal until a statement has to be run outside, or there is nothing more to do.

    ``via`` is ``holder`` (a session that waits for this one and watches it; the statement is returned), ``hand``
    (nobody does) or ``pg_cron`` (the statement is scheduled, and another job watches). Returns (next_sql, stop),
    where ``stop`` is JSON with sqlstate, message and hint when it stopped for a reason.
    """
    if via == "pg_cron":
        _advance_in_worker(db, proposal_id)
        return None, None
    action = _go_on(db, proposal_id, failure, is_watched=via == "holder")
    if action["action"] == "run":
        return action["sql"], None
    return None, json.dumps(action) if "message" in action else None


def _advance_in_worker(db: Database, proposal_id: int) -> None:
    if db.query("select architect._is_resting($1) as resting", proposal_id)[0]["resting"] is not False:
        cron.forget(db, proposal_id)
        return
    outcome = cron.outcome_of_statement(db, proposal_id)
    if outcome == cron.RUNNING:
        return
    must_be_watched = db.query("select architect._must_be_watched($1) as it", proposal_id)[0]["it"]
    if outcome is None and must_be_watched and not cron.has_watch(db, proposal_id):
        return
    action = _go_on(db, proposal_id, outcome, is_watched=True)
    if action["action"] == "run":
        cron.schedule_statement(db, proposal_id, action["sql"])
        if action["purpose"] == "build":
            cron.schedule_watch(db, proposal_id, 2)
    elif "message" in action:
        cron.forget(db, proposal_id)


def _go_on(db: Database, proposal_id: int, failure: str | None, *, is_watched: bool) -> Action:
    """Do steps until one is ``run`` or ``stop``."""
    while True:
        action: Action = json.loads(db.query("select architect._step($1, $2) as step", proposal_id, failure)[0]["step"])
        db.commit()
        failure = None
        match action["action"]:
            case "run" | "stop":
                return action
            case "baseline":
                _observe_baseline(db, proposal_id, action)
            case "rename":
                failure = _rename(db, action)
            case "measure":
                _measure(db, proposal_id, action, is_watched)
        db.commit()


def _rename(db: Database, action: Action) -> str | None:
    """Rename an index unless its name has become another's; returns what failed. The next step looks again."""
    try:
        for statement in action["statements"]:
            db.query(statement)
        if db.query("select to_regclass($1)::oid::bigint as oid", action["name"])[0]["oid"] != action["index_oid"]:
            db.rollback()
    except ArchitectError as exc:
        if not handled(exc):
            raise
        db.rollback()
        return f"{exc.message} ({exc.sqlstate})"
    return None


def _observe_writes(db: Database, action: Action, settings: Mapping[str, float]) -> writes.WriteSamples:
    return writes.collect(
        db,
        action["relation_oid"],
        [one["query_id"] for one in action["writers"]],
        windows=int(settings["measurement_windows"]),
        seconds_each=settings["measurement_window_seconds"],
    )


def _observe_baseline(db: Database, proposal_id: int, action: Action) -> None:
    seen = _observe_writes(db, action, load(db))
    db.query("select architect._record_baseline($1, $2::jsonb)", proposal_id, writes.to_json(seen))


def _measure(db: Database, proposal_id: int, action: Action, is_watched: bool) -> None:
    settings = load(db)
    if not is_watched:
        db.notice(
            "the index is there; its effect is measured now. No other session watches: if others have to wait for a "
            "query of the measurement, cancel this call, and call it again later"
        )
    calls = live.look(db, [one["statement_id"] for one in action["statements"]])
    after = _observe_writes(db, action, settings)
    decision = measure.measure(
        db,
        proposal_id,
        action["index_oid"],
        action["relation_oid"],
        [
            ReplayStatement(
                statement_id=one["statement_id"],
                parameter_sets=tuple(tuple(values) for values in one["parameter_sets"]),
                calls=one["calls"],
                mean_ms=one["mean_ms"],
                reason=one["reason"],
                calls_seconds=one["calls_seconds"],
            )
            for one in action["statements"]
        ],
        writes.from_json(action["baseline"]),
        after,
        {one["query_id"]: one["label"] for one in action["writers"]},
        settings,
        is_watched=is_watched,
        calls_before=calls,
    )
    db.query(
        "select architect._conclude($1, $2, $3, $4, $5)",
        proposal_id,
        decision.measurement_id,
        decision.verdict,
        decision.keep,
        decision.explanation,
    )
