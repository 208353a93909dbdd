"""One step of a deployment: look at where the proposal and its index stand, move the state, say what to do next.

Runs as architect_owner, called from the executor's own session only. It never changes a user's object itself: it hands
the judged statement back, and the executor runs it. Every state can be entered again after a crash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pg_architect.core.db import Database, Row, row_json
from pg_architect.core.errors import (
    INSUFFICIENT_PRIVILEGE,
    NO_DATA_FOUND,
    OBJECT_IN_USE,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    ArchitectError,
)
from pg_architect.core.settings import load
from pg_architect.improvement import replay_plan
from pg_architect.safety import gate

INTERRUPTED = "the build was interrupted"


@dataclass(frozen=True, slots=True)
class Index:
    """The index that a proposal is about, as the catalogue has it now."""

    oid: int
    is_valid: bool
    is_on_target: bool


def step(db: Database, proposal_id: int, failure: str | None) -> str:
    """Decide the next action for an approved proposal.

    ``failure`` is what the last statement that was handed out said when it failed. Returns JSON with ``action``:
    ``baseline`` (observe writes), ``run`` (run ``sql`` outside a transaction block), ``tag`` (comment on the index),
    ``measure``, ``again`` (ask again), or ``stop`` (with ``message`` and ``hint`` where it stops for a reason).
    """
    proposal = _claim(db, proposal_id)
    proposal["has_failed_before"] = proposal["error"] is not None
    proposal["has_failed_now"] = failure is not None
    if failure is not None:
        db.query("update architect.proposal set error = $2 where proposal_id = $1", proposal_id, failure)
        proposal["error"] = failure
    return json.dumps(_STEPS.get(proposal["state"], _nothing_to_do)(db, proposal))


def _claim(db: Database, proposal_id: int) -> Row:
    """Lock the proposal, and refuse while another live session works on it."""
    rows = db.query(
        "select p.*, p.gate_objects::text as objects, p.baseline is not null as has_baseline from architect.proposal as p"
        " where proposal_id = $1 for update",
        proposal_id,
    )
    if not rows:
        raise ArchitectError(
            NO_DATA_FOUND, f"there is no proposal {proposal_id}", hint="Their numbers are in architect.proposals."
        )
    row = rows[0]
    if not db.query("select architect._this_deployment() = $1::uuid as here", str(row["deployment_id"]))[0]["here"]:
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"proposal {proposal_id} belongs to another database",
            hint="A restored proposal is history; run the cycle here to get proposals for this database.",
        )
    if db.query("select architect._is_at_work($1) as busy", proposal_id)[0]["busy"]:
        raise ArchitectError(
            OBJECT_IN_USE,
            f"another session is working on proposal {proposal_id}",
            hint="Wait for it; architect.proposals shows how far it is.",
        )
    db.query(
        """update architect.proposal set executor_pid = pg_backend_pid(),
             executor_started_at = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
            where proposal_id = $1""",
        proposal_id,
    )
    return row


def _begin(db: Database, proposal: Row) -> dict[str, Any]:
    """From approved (or retry) to deploying: everything that was approved must still hold."""
    proposal_id = proposal["proposal_id"]
    approval = _approval(db, proposal_id)
    if approval is None or approval["is_expired"]:
        db.query("select architect._transition($1, 'expired', 'the approval has expired')", proposal_id)
        return _stop(f"the approval of proposal {proposal_id} has expired", "Run the cycle again for a fresh proposal.")
    if change := _what_changed(db, proposal, approval):
        db.query("select architect._transition($1, 'refused', $2)", proposal_id, change)
        return _stop(f"proposal {proposal_id} is no longer what was approved: {change}", "Run the cycle again.")
    if obstacle := _obstacle(db, proposal):
        return obstacle
    if not proposal["has_baseline"]:
        return {"action": "baseline", **replay_plan.write_side(db, proposal["relation_oid"])}
    db.query("select architect._transition($1, 'deploying', null)", proposal_id)
    return {"action": "run", "sql": proposal["apply_sql"], "purpose": "build"}


def _approval(db: Database, proposal_id: int) -> Row | None:
    rows = db.query(
        """select decision, digest, expires_at <= clock_timestamp() as is_expired from architect.approval
            where proposal_id = $1 order by approval_id desc limit 1""",
        proposal_id,
    )
    return rows[0] if rows and rows[0]["decision"] == "approved" else None


def _what_changed(db: Database, proposal: Row, approval: Row) -> str | None:
    """Judge again, by names and OIDs as they are now; None when it is the very thing that was approved."""
    digest = db.query(
        "select architect._digest(apply_sql, revert_sql, gate_objects, gate_version) as digest from architect.proposal"
        " where proposal_id = $1",
        proposal["proposal_id"],
    )[0]["digest"]
    if not digest == proposal["digest"] == approval["digest"]:
        return "its text differs from what was approved"
    if proposal["gate_version"] != gate.GATE_VERSION:
        return f"it was judged by gate {proposal['gate_version']}, this is gate {gate.GATE_VERSION}"
    judgement = gate.judge(db, proposal["apply_sql"])
    if judgement.verdict == "refuse":
        return "; ".join(reason.detail for reason in judgement.reasons)
    if judgement.to_json()["objects"] != row_json(proposal["objects"]):
        return "its names lead to other objects now"
    if judgement.apply_sql != proposal["apply_sql"]:
        return "it reads differently now"
    return None


def _obstacle(db: Database, proposal: Row) -> dict[str, Any] | None:
    """What forbids to begin now, though the approval is good; the state stays as it is."""
    owner = proposal["relation_owner"]
    if not db.query("select pg_has_role('architect_executor', $1, 'usage') as may", owner)[0]["may"]:
        return _stop(
            f'architect_executor does not hold the rights of "{owner}", who owns {proposal["relation_name"]}',
            f"A DBA has to run: select architect.enroll('{owner}');",
            INSUFFICIENT_PRIVILEGE,
        )
    busy = db.query(
        """select proposal_id from architect.proposal where relation_oid = $1::oid and proposal_id <> $2
              and deployment_id = architect._this_deployment() and state in ('deploying', 'deployed', 'verifying', 'reverting')""",
        proposal["relation_oid"],
        proposal["proposal_id"],
    )
    if busy:
        return _stop(
            f"proposal {busy[0]['proposal_id']} on the same table is not finished",
            f"One unverified change per table: call architect.sp_deploy_approved({busy[0]['proposal_id']}, wait => '10 minutes');",
        )
    limit = db.query(
        """select max_changes_per_day as most, autonomy_level,
                  (select count(distinct e.proposal_id) from architect.proposal_event as e join architect.proposal as o using (proposal_id)
                    where e.to_state = 'deploying' and o.change_type = p.change_type and o.proposal_id <> $2
                      and e.happened_at > clock_timestamp() - interval '24 hours') as begun
             from architect.policies as p where change_type = $1""",
        proposal["change_type"],
        proposal["proposal_id"],
    )[0]
    if limit["autonomy_level"] == "observe":
        return _stop(
            f"the policy for {proposal['change_type']} is observe: nothing is applied",
            f"An admin can change it: select architect.set_policy('{proposal['change_type']}', autonomy_level => 'supervised');",
        )
    if limit["begun"] >= limit["most"]:
        return _stop(
            f"{limit['begun']} changes were begun in the last 24 hours, the policy allows {limit['most']}",
            "Wait, or let an admin raise max_changes_per_day with architect.set_policy.",
        )
    return None


def _deploying(db: Database, proposal: Row) -> dict[str, Any]:
    """A build was handed out: it is done, has failed, or was interrupted and left debris."""
    proposal_id = proposal["proposal_id"]
    index = _index(db, proposal)
    if index is None:
        reason = proposal["error"] or INTERRUPTED
        db.query("select architect._transition($1, 'retry', $2)", proposal_id, reason)
        if reason == INTERRUPTED:
            return {"action": "again"}
        return _stop(
            f"the index of proposal {proposal_id} could not be built: {reason}",
            f"Nothing is left of it. Try again with: call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes');",
        )
    if not index.is_on_target:
        reason = f"another relation has the name {proposal['index_name']} now"
        db.query("select architect._transition($1, 'failed', $2)", proposal_id, reason)
        return _stop(reason, "Run the cycle again for a proposal with another name.")
    if not index.is_valid:
        # Ours: the gate saw that the name was free before this state was entered.
        if proposal["has_failed_now"] and proposal["has_failed_before"]:
            return _stop(
                f"the invalid index {proposal['index_name']} could not be removed: {proposal['error']}",
                f"Call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes') again, or run: {proposal['revert_sql']};",
            )
        if proposal["error"] is None:
            db.query("update architect.proposal set error = $2 where proposal_id = $1", proposal_id, INTERRUPTED)
        return {"action": "run", "sql": proposal["revert_sql"], "purpose": "remove what an interrupted build left"}
    db.query("update architect.proposal set created_index_oid = $2::oid where proposal_id = $1", proposal_id, index.oid)
    db.query("select architect._transition($1, 'deployed', null)", proposal_id)
    return {"action": "tag", "sql": _comment(db, proposal)}


def _deployed(db: Database, proposal: Row) -> dict[str, Any]:
    index = _index(db, proposal)
    if index is None or not index.is_on_target or not index.is_valid:
        db.query("select architect._transition($1, 'failed', 'the index was dropped by somebody else')", proposal["proposal_id"])
        return _stop("the index was dropped by somebody else", "Run the cycle again to have the workload looked at anew.")
    db.query("select architect._transition($1, 'verifying', null)", proposal["proposal_id"])
    plan = replay_plan.read_side(db, proposal["relation_oid"], load(db))
    return {
        "action": "measure",
        "index_oid": index.oid,
        "relation_oid": int(proposal["relation_oid"]),
        "baseline": row_json(proposal["baseline"]),
        **replay_plan.write_side(db, proposal["relation_oid"]),
        **plan,
    }


def _verifying(db: Database, proposal: Row) -> dict[str, Any]:
    """A measurement was interrupted (a finished one has moved the state already): measure again."""
    db.query("select architect._transition($1, 'deployed', 'the measurement was interrupted')", proposal["proposal_id"])
    return {"action": "again"}


def _reverting(db: Database, proposal: Row) -> dict[str, Any]:
    proposal_id = proposal["proposal_id"]
    index = _index(db, proposal)
    if index is None or not index.is_on_target or index.oid != proposal["created_index_oid"]:
        db.query("select architect._transition($1, 'reverted', null)", proposal_id)
        return {"action": "stop"}
    if proposal["error"] is not None:
        db.query("select architect._transition($1, 'revert_failed', $2)", proposal_id, proposal["error"])
        return _stop(
            f"proposal {proposal_id} could not be reverted: {proposal['error']}",
            f"Try again with: call architect.sp_rollback({proposal_id}, 'try again'); or run: {proposal['revert_sql']};",
        )
    return {"action": "run", "sql": proposal["revert_sql"], "purpose": "revert"}


def _revert_failed(db: Database, proposal: Row) -> dict[str, Any]:
    db.query("select architect._transition($1, 'reverting', 'another try')", proposal["proposal_id"])
    return {"action": "again"}


def _nothing_to_do(db: Database, proposal: Row) -> dict[str, Any]:
    state, proposal_id = proposal["state"], proposal["proposal_id"]
    if state in ("kept", "reverted"):
        return {"action": "stop"}
    hint = {
        "proposed": "A dry run proposes only; call architect.sp_autonomous_improvement(dry_run => false).",
        "awaiting_approval": f"A member of architect_approver has to run: select architect.approve({proposal_id}, 'reason');",
    }.get(state, "It came to its end; run the cycle again for a fresh proposal.")
    return _stop(f"proposal {proposal_id} is {state.replace('_', ' ')}, it cannot be deployed", hint)


_STEPS = {
    "approved": _begin,
    "retry": _begin,
    "deploying": _deploying,
    "deployed": _deployed,
    "verifying": _verifying,
    "reverting": _reverting,
    "revert_failed": _revert_failed,
}


def _index(db: Database, proposal: Row) -> Index | None:
    rows = db.query(
        """select c.oid::bigint as oid, coalesce(i.indisvalid and i.indisready, false) as is_valid,
                  coalesce(i.indrelid = $1::oid, false) as is_on_target
             from pg_class as t
             join pg_class as c on c.relnamespace = t.relnamespace and c.relname = $2::name
             left join pg_index as i on i.indexrelid = c.oid
            where t.oid = $1::oid""",
        proposal["relation_oid"],
        proposal["index_name"],
    )
    return Index(**rows[0]) if rows else None


def _comment(db: Database, proposal: Row) -> str:
    text = f"pg_architect proposal {proposal['proposal_id']}"
    sql: str = db.query(
        """select format('comment on index %I.%I is %L', n.nspname, $2::name, $3::text) as sql
             from pg_class as t join pg_namespace as n on n.oid = t.relnamespace where t.oid = $1::oid""",
        proposal["relation_oid"],
        proposal["index_name"],
        text,
    )[0]["sql"]
    return sql


def _stop(message: str, hint: str, sqlstate: str = OBJECT_NOT_IN_PREREQUISITE_STATE) -> dict[str, Any]:
    return {"action": "stop", "sqlstate": sqlstate, "message": message, "hint": hint}
