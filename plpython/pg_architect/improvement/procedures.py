"""The procedures that people call. They commit, so they run as the caller; state changes through definer functions."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from pg_architect.core.db import Database, Row, handled, row_json
from pg_architect.core.errors import (
    INVALID_PARAMETER_VALUE,
    INVALID_TRANSACTION_TERMINATION,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    ArchitectError,
)
from pg_architect.core.settings import load
from pg_architect.improvement import admission, advance, executor, journal
from pg_architect.improvement.contract import AREAS

DECISION_POLL_SECONDS = 1.0


def improve(
    db: Database,
    dry_run: bool | None,
    max_changes_per_run: int | None,
    require_human_approval: bool | None,
    target_area: str | None,
    debug: bool | None,
    wait: str | None,
) -> tuple[int, str]:
    """One run of the cycle; returns (run_id, next step in words)."""
    _must_own_the_transaction(db, "architect.sp_autonomous_improvement")
    _check_limits(max_changes_per_run, target_area)
    deadline = _deadline(db, wait) if wait is not None else None
    is_dry = dry_run is not False
    if require_human_approval is False:
        db.notice("require_human_approval => false changes nothing: the policy asks for approval in any case")
    run_id: int = db.query(
        "select architect._begin_run($1, $2::integer, $3, $4) as run_id",
        is_dry,
        max_changes_per_run,
        require_human_approval is not False,
        target_area,
    )[0]["run_id"]
    db.commit()
    try:
        thought = row_json(db.query("select architect._think($1) as result", run_id)[0]["result"])
        db.commit()
        if not is_dry:
            for proposal_id in thought["accepted"]:
                db.query("select architect._submit($1)", proposal_id)
        next_step = _next_step(db, run_id, thought, is_dry)
        db.query("select architect._end_run($1, 'completed', $2, null)", run_id, next_step)
        db.commit()
    except ArchitectError as exc:
        db.rollback()
        db.query(
            "select architect._end_run($1, $2, null, $3)", run_id, "failed" if handled(exc) else "canceled", exc.message
        )
        db.commit()
        raise
    if debug:
        db.notice(f"run {run_id} took: {journal.timings(db, run_id)}")
    if deadline is not None and not is_dry:
        for proposal_id in thought["accepted"]:
            next_step = _deploy_when_approved(db, proposal_id, deadline) or next_step
    db.notice(f"next step: {next_step}")
    return run_id, next_step


def _check_limits(max_changes_per_run: int | None, target_area: str | None) -> None:
    if max_changes_per_run is None or not 1 <= max_changes_per_run <= 100:
        raise ArchitectError(
            INVALID_PARAMETER_VALUE,
            f"max_changes_per_run cannot be {max_changes_per_run}",
            hint="Give a number from 1 to 100.",
        )
    if target_area is not None and target_area not in AREAS:
        raise ArchitectError(
            INVALID_PARAMETER_VALUE,
            f'there is no target area "{target_area[:63]}"',
            hint=f"Use one of {', '.join(AREAS)}, or null to let expected value decide.",
        )


def deploy(db: Database, proposal_id: int | None, wait: str | None) -> tuple[str | None, str]:
    """Deploy, measure, keep or revert an approved proposal; returns (verdict, next step). Goes on after a crash."""
    _must_own_the_transaction(db, "architect.sp_deploy_approved")
    proposal_id = _existing(db, proposal_id)
    if wait is None:
        raise ArchitectError(
            INVALID_PARAMETER_VALUE,
            "a deployment needs somebody who waits for its verdict",
            hint=f"Call: call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes');",
        )
    deadline = _deadline(db, wait)
    return _deploy(db, proposal_id, deadline)


def rollback(db: Database, proposal_id: int | None, reason: str | None, wait: str | None) -> tuple[str, str]:
    """Undo a change that was kept; returns (state, next step)."""
    _must_own_the_transaction(db, "architect.sp_rollback")
    proposal_id = _existing(db, proposal_id)
    if not (reason or "").strip():
        raise ArchitectError(
            INVALID_PARAMETER_VALUE,
            "a rollback needs a reason",
            hint="The reason is kept with the proposal, for whoever sees it next.",
        )
    deadline = _deadline(db, wait or "10 minutes")
    is_gone = _state(db, proposal_id) == "kept" and not _has_index(db, proposal_id)
    db.query("select architect._begin_rollback($1, $2)", proposal_id, reason)
    db.commit()
    by_hand = _drive(db, proposal_id, deadline)
    state = _state(db, proposal_id)
    if by_hand:
        return state, f"{by_hand}; then call architect.sp_rollback({proposal_id}, 'as before');"
    if is_gone and state == "reverted":
        db.notice(f"the index of proposal {proposal_id} was gone already: there was nothing to drop")
    return state, f"select * from architect.improvement_history where improvement_id = {proposal_id};"


def _deploy(db: Database, proposal_id: int, deadline: float) -> tuple[str | None, str]:
    """Go on with it; returns (verdict, next step)."""
    if by_hand := _drive(db, proposal_id, deadline):
        verdict = None
        if _state(db, proposal_id) == "reverting":  # what is to be run by hand is the drop, and this is why
            verdict = _tell_verdict(db, proposal_id)["verdict"]
        return verdict, f"{by_hand}; then call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes');"
    return _report(db, proposal_id)


def _drive(db: Database, proposal_id: int, deadline: float) -> str | None:
    """Let an executor go on with the proposal until it stops; which one is chosen by what works here.

    Returns what the caller has to run by hand, where nothing works.
    """
    db.query("select architect._must_be_deployable($1)", proposal_id)
    state = _state(db, proposal_id)
    db.commit()
    if state in ("kept", "reverted"):
        return None
    try:
        with executor.loopback(db) as session:
            _drive_by_loopback(db, session, proposal_id, deadline)
            return None
    except executor.UnreachableError as exc:
        unreachable = exc
    if db.query("select architect._cron_is_usable() as usable")[0]["usable"]:
        _drive_by_cron(db, proposal_id, deadline)
        return None
    return _drive_by_hand(db, proposal_id, unreachable)


def _drive_by_loopback(db: Database, session: executor.Loopback, proposal_id: int, deadline: float) -> None:
    settings = load(db)
    own_pid = db.query("select pg_backend_pid() as pid")[0]["pid"]
    db.commit()
    if session.run("select architect._holds_snapshot($1::int) as held", deadline, str(own_pid))[0]["held"] == "t":
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the calling session holds a snapshot that a concurrent build would wait for",
            hint="Call the procedure by itself: not from a function, a cursor loop or a transaction block.",
        )
    session.set("pg_architect.watcher", str(own_pid), deadline)
    session.set("lock_timeout", f"{settings['build_lock_timeout']:.0f}s", deadline)
    failure = None
    while True:
        # The measurement has a budget of its own; this is for when the holder, who watches it, is gone.
        session.set("statement_timeout", f"{_longest_measurement(settings):.0f}s", deadline)
        row = session.run(
            "call architect._advance($1, $2, 'holder')",
            deadline,
            str(proposal_id),
            failure,
            watch=lambda: _interrupt_replay(db, proposal_id),
        )[0]
        _raise_if_stopped(row["stop"])
        if row["next_sql"] is None:
            return
        db.notice(f"executor: {row['next_sql']}")
        session.set("statement_timeout", f"{settings['build_timeout']:.0f}s", deadline)
        try:
            session.run(row["next_sql"], deadline)
            failure = None
        except executor.StatementError as exc:
            failure = f"{exc.message} ({exc.sqlstate})"


def _interrupt_replay(db: Database, proposal_id: int) -> str | None:
    """Cancel a run that must end; why the executor's session had to be ended, if so."""
    why: str | None = db.query("select architect._executor_interrupt($1) as why", proposal_id)[0]["why"]
    return why


def _longest_measurement(settings: Mapping[str, float]) -> float:
    """Seconds after which a measurement has certainly overrun its budgets."""
    windows = 2 * settings["measurement_windows"] * settings["measurement_window_seconds"]
    return 2 * settings["replay_time_limit"] + windows + 60


def _drive_by_cron(db: Database, proposal_id: int, deadline: float) -> None:
    db.query("select architect._executor_start($1)", proposal_id)
    db.commit()
    db.notice("pg_cron carries this out; its workers start at the next full minute")
    while time.monotonic() < deadline:
        db.query("select pg_sleep(0.5)")
        if db.query("select architect._is_resting($1) as resting", proposal_id)[0]["resting"]:
            return
        db.commit()
    db.notice("pg_cron goes on with it; architect.proposals shows how far it is")


def _drive_by_hand(db: Database, proposal_id: int, unreachable: ArchitectError) -> str | None:
    """No executor: a superuser's own session takes the steps; the statements are printed, to be run by hand."""
    if not db.query("select rolsuper from pg_roles where rolname = current_user")[0]["rolsuper"]:
        unreachable.hint = (
            "architect.check_health() prints how to enable an executor; without one a superuser has to call this "
            "procedure, which then prints the statement to run by hand and measures its effect."
        )
        raise unreachable
    next_sql, stop = advance.advance(db, proposal_id, None, "hand")
    _raise_if_stopped(stop)
    if next_sql is None:
        return None
    db.notice("no executor is available: the next step has a statement to run by hand, then the call to repeat")
    return f"run, outside a transaction block: {next_sql}"


def _deploy_when_approved(db: Database, proposal_id: int, deadline: float) -> str | None:
    """Wait for the decision, and deploy what is approved; None when the wait is over without one."""
    db.notice(f"waiting for a decision about proposal {proposal_id}")
    while time.monotonic() < deadline:
        state = _state(db, proposal_id)
        db.commit()
        if state == "approved":
            return _deploy(db, proposal_id, deadline)[1]
        if state != "awaiting_approval":
            return f"proposal {proposal_id} is {state.replace('_', ' ')}"
        db.query("select pg_sleep($1::float8)", DECISION_POLL_SECONDS)
        db.commit()
    return None


def _state(db: Database, proposal_id: int) -> str:
    return str(db.query("select state from architect.proposals where proposal_id = $1", proposal_id)[0]["state"])


def _tell_verdict(db: Database, proposal_id: int) -> Row:
    """Say the verdict with its explanation, if there is one; returns state, verdict and error."""
    row = db.query(
        """select p.state, p.verdict, p.error, m.explanation
             from architect.proposals as p left join architect.measurements as m using (measurement_id)
            where p.proposal_id = $1""",
        proposal_id,
    )[0]
    if row["explanation"]:
        db.notice(f"verdict: {row['verdict']}: {row['explanation']}")
    return row


def _report(db: Database, proposal_id: int) -> tuple[str | None, str]:
    row = _tell_verdict(db, proposal_id)
    match row["state"]:
        case "kept":
            return row["verdict"], f"kept; undo with: call architect.sp_rollback({proposal_id}, 'reason');"
        case "reverted":
            return row[
                "verdict"
            ], f"reverted; select * from architect.improvement_history where improvement_id = {proposal_id};"
        case state:
            return row["verdict"], (
                f"proposal {proposal_id} is {state.replace('_', ' ')}{': ' + row['error'] if row['error'] else ''}; "
                f"go on with: call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes');"
            )


def _next_step(db: Database, run_id: int, thought: dict[str, Any], is_dry: bool) -> str:
    if thought["proposed"] and not thought["accepted"]:
        return f"the gate refused it; why: select title, gate_reasons from architect.proposals where run_id = {run_id};"
    if not thought["accepted"]:
        return f"nothing to do; why: select * from architect.run_log where run_id = {run_id};"
    if is_dry:
        return "select * from architect.proposals; then call architect.sp_autonomous_improvement(dry_run => false);"
    waiting = [i for i in thought["accepted"] if _state(db, i) == "awaiting_approval"]
    if not waiting:
        return "the policy is observe: nothing is applied; select * from architect.policies;"
    if len(waiting) > 1:
        return (
            f"a member of architect_approver decides about each of {len(waiting)}: select * from "
            f"architect.pending_approvals; then: {_decide(waiting[0])}"
        )
    return f"a member of architect_approver decides: {_decide(waiting[0])}"


def _decide(proposal_id: int) -> str:
    return f"select architect.approve({proposal_id}, 'reason'); or: select architect.reject({proposal_id}, 'reason');"


def _existing(db: Database, proposal_id: int | None) -> int:
    rows = db.query(
        """select proposal_id, deployment_id = architect._deployment_id() as is_here from architect.proposal
            where proposal_id = $1::bigint""",
        proposal_id,
    )
    if not rows:
        raise admission.unknown(proposal_id)
    if not rows[0]["is_here"]:
        raise admission.elsewhere(int(rows[0]["proposal_id"]))
    return int(rows[0]["proposal_id"])


def _has_index(db: Database, proposal_id: int) -> bool:
    """Whether its index is there; REINDEX CONCURRENTLY makes a new one of it, with the same comment."""
    rows = db.query(
        """select from architect.proposal as p join pg_index as i on i.indrelid = p.relation_oid
            where p.proposal_id = $1
              and (i.indexrelid = p.created_index_oid
                   or obj_description(i.indexrelid, 'pg_class') = format('pg_architect proposal %s', p.proposal_id))""",
        proposal_id,
    )
    return bool(rows)


def _deadline(db: Database, wait: str) -> float:
    """When ``wait`` (an interval as text) is over, by time.monotonic()."""
    seconds = float(db.query("select extract(epoch from $1::interval)::float8 as seconds", wait)[0]["seconds"])
    if not 0 < seconds <= 7 * 86400:
        raise ArchitectError(
            INVALID_PARAMETER_VALUE, f"wait cannot be {wait}", hint="Give an interval above zero, at most 7 days."
        )
    return time.monotonic() + seconds


def _raise_if_stopped(stop: str | None) -> None:
    if stop is not None:
        why = json.loads(stop)
        raise ArchitectError(why["sqlstate"], why["message"], hint=why["hint"])


def _must_own_the_transaction(db: Database, name: str) -> None:
    """Find out before anything is done; a commit fails inside somebody else's transaction."""
    try:
        db.commit()
    except ArchitectError as exc:
        # The second one is said inside a cursor loop over rows that are written.
        if exc.sqlstate not in (INVALID_TRANSACTION_TERMINATION, OBJECT_NOT_IN_PREREQUISITE_STATE):
            raise
        raise ArchitectError(
            INVALID_TRANSACTION_TERMINATION,
            f"{name} cannot run inside a transaction block or a function",
            hint="Call it by itself, outside BEGIN and COMMIT; it commits after each step.",
        ) from exc
