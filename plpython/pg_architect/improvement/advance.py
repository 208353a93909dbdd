"""The executor's half of a deployment: do what `deployment.step` says, in the executor's own session.

A concurrent build cannot run inside a procedure. It is handed back as ``next_sql`` to whoever holds the connection,
or, in a pg_cron worker, put up as a job of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pg_architect.core.db import Database
from pg_architect.core.settings import load
from pg_architect.experiment import measure, writes
from pg_architect.experiment.replay import ReplayStatement
from pg_architect.improvement import cron
from pg_architect.improvement.admission import Action
from pg_architect.safety.sandbox import Author

Outcome = tuple[str | None, str | None]


def advance(db: Database, proposal_id: int, failure: str | None, via: str) -> Outcome:
    """Go on with a proposal until a statement has to be run outside, or there is nothing more to do.

    ``via`` is ``caller`` (the statement is returned) or ``pg_cron`` (it is scheduled). Returns (next_sql, stop), where
    ``stop`` is JSON with sqlstate, message and hint when it stopped for a reason.
    """
    if via == "pg_cron":
        _advance_in_worker(db, proposal_id)
        return None, None
    action = _go_on(db, proposal_id, failure)
    if action["action"] == "run":
        return action["sql"], None
    return None, json.dumps(action) if "message" in action else None


def _advance_in_worker(db: Database, proposal_id: int) -> None:
    outcome = cron.outcome_of_statement(db, proposal_id)
    if outcome == cron.RUNNING:
        return
    action = _go_on(db, proposal_id, outcome)
    if action["action"] == "run":
        cron.schedule_statement(db, proposal_id, action["sql"])
    else:
        cron.forget(db, proposal_id)
    db.commit()


def _go_on(db: Database, proposal_id: int, failure: str | None) -> Action:
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
            case "tag":
                db.query(action["sql"])
            case "measure":
                _measure(db, proposal_id, action)
        db.commit()


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


def _measure(db: Database, proposal_id: int, action: Action) -> None:
    settings = load(db)
    after = _observe_writes(db, action, settings)
    decision = measure.measure(
        db,
        proposal_id,
        action["index_oid"],
        action["relation_oid"],
        [
            ReplayStatement(
                statement_id=one["statement_id"],
                text=one["text"],
                parameter_types=tuple(one["parameter_types"]),
                parameter_sets=tuple(tuple(values) for values in one["parameter_sets"]),
                calls=one["calls"],
                mean_ms=one["mean_ms"],
                author=Author(one["role_oid"], tuple(one["relation_oids"])),
                reason=one["reason"],
            )
            for one in action["statements"]
        ],
        writes.from_json(action["baseline"]),
        after,
        {one["query_id"]: one["label"] for one in action["writers"]},
        settings,
        action["calls_seconds"],
    )
    db.query(
        "select architect._conclude($1, $2, $3, $4, $5)",
        proposal_id,
        decision.measurement_id,
        decision.verdict,
        decision.keep,
        decision.explanation,
    )
