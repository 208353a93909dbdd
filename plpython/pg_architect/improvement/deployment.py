"""One step of a deployment: look at where the proposal and its index stand, move the state, say what to do next.

Runs as architect_owner, called from the executor's own session only. It never changes a user's object itself: it hands
the judged statement back, and the executor runs it. Every state can be entered again after a crash.
"""

from __future__ import annotations

import json

from pg_architect.core.db import Database, Row, row_json
from pg_architect.core.errors import (
    DUPLICATE_TABLE,
    OBJECT_IN_USE,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    ArchitectError,
)
from pg_architect.improvement import admission, own_index, replay_plan
from pg_architect.improvement.admission import Action, stop
from pg_architect.safety.index_statement import renamed

INTERRUPTED = "the build was interrupted"
NOT_NAMED = "the new index could not be named"
OF_ANOTHER_TABLE = "what was built is not what was approved: the table changed meanwhile"


def step(db: Database, proposal_id: int, failure: str | None) -> str:
    """Decide the next action for an approved proposal.

    ``failure`` is what the last statement that was handed out said when it failed; raises ArchitectError 55000 in a
    transaction that would not see what others commit meanwhile. Returns JSON with ``action``:
    ``baseline`` (observe writes), ``run`` (run ``sql`` outside a transaction block), ``rename`` (the index, whose OID
    is to be compared then), ``measure``, ``again`` (ask again), or ``stop`` (with ``message`` and ``hint`` where it
    stops for a reason).
    """
    if db.query("select current_setting('transaction_isolation') as it")[0]["it"] != "read committed":
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            "a deployment needs transactions that are read committed",
            hint="Run: set default_transaction_isolation = 'read committed'; and call again.",
        )
    proposal = _claim(db, proposal_id)
    proposal["has_failed_before"] = proposal["error"] is not None
    proposal["has_failed_now"] = failure is not None
    if failure is not None:
        db.query("update architect.proposal set error = $2 where proposal_id = $1", proposal_id, failure)
        proposal["error"] = failure
    return json.dumps(_STEPS.get(proposal["state"], _nothing_to_do)(db, proposal))


def must_be_deployable(db: Database, proposal_id: int) -> None:
    """Refuse early, before an executor is looked for, what the executor would refuse anyway."""
    proposal = _free(db, proposal_id)
    if proposal["state"] not in _STEPS and "message" in (action := _nothing_to_do(db, proposal)):
        raise ArchitectError(action["sqlstate"], action["message"], hint=action["hint"])


def _claim(db: Database, proposal_id: int) -> Row:
    """Lock the proposal for this session."""
    row = _free(db, proposal_id, "for update")
    db.query(
        """update architect.proposal set executor_pid = pg_backend_pid(),
             executor_started_at = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
            where proposal_id = $1""",
        proposal_id,
    )
    return row


def _free(db: Database, proposal_id: int, lock: str = "") -> Row:
    """The proposal, if it is of this database and no other live session works on it."""
    rows = db.query(
        f"""select p.*, p.gate_objects::text as objects, p.baseline is not null as has_baseline
             from architect.proposal as p where proposal_id = $1 {lock}""",
        proposal_id,
    )
    if not rows:
        raise admission.unknown(proposal_id)
    row = rows[0]
    if not db.query("select architect._this_deployment() = $1::uuid as here", str(row["deployment_id"]))[0]["here"]:
        raise admission.elsewhere(proposal_id)
    if db.query("select architect._is_at_work($1) as busy", proposal_id)[0]["busy"]:
        raise ArchitectError(
            OBJECT_IN_USE,
            f"another session is working on proposal {proposal_id}",
            hint="Wait for it; architect.proposals shows how far it is.",
        )
    return row


def _again(proposal: Row) -> str:
    """How to get a fresh proposal."""
    by_person = proposal["generator"] == "person"
    return "Propose it again with architect.propose_change." if by_person else "Run the cycle again."


def _begin(db: Database, proposal: Row) -> Action:
    """From approved (or retry) to deploying: everything that was approved must still hold."""
    proposal_id = proposal["proposal_id"]
    approval = admission.approval(db, proposal_id)
    if approval is None or approval["is_expired"]:
        db.query("select architect._transition($1, 'expired', 'the approval has expired')", proposal_id)
        return stop(f"the approval of proposal {proposal_id} has expired", _again(proposal))
    if change := admission.what_changed(db, proposal, approval):
        db.query("select architect._transition($1, 'refused', $2)", proposal_id, change)
        return stop(f"proposal {proposal_id} is no longer what was approved: {change}", _again(proposal))
    # Two that begin at once would not see each other.
    db.query("select from architect.deployment where deployment_id = architect._this_deployment() for no key update")
    if obstacle := admission.obstacle(db, proposal):
        return obstacle
    if not proposal["has_baseline"]:
        relation_oid = int(proposal["relation_oid"])
        return {"action": "baseline", "relation_oid": relation_oid, **replay_plan.write_side(db, relation_oid)}
    db.query("select architect._transition($1, 'deploying', null)", proposal_id)
    work_name = db.query(
        """update architect.proposal
              set work_name = format('architect_%s_%s', $1, left(md5(gen_random_uuid()::text), 12))
            where proposal_id = $1::bigint returning work_name::text""",
        proposal_id,
    )[0]["work_name"]
    return {"action": "run", "sql": renamed(proposal["apply_sql"], work_name), "purpose": "build"}


def _deploying(db: Database, proposal: Row) -> Action:
    """A build was handed out: it is done, has failed, or was interrupted and left debris."""
    proposal_id = proposal["proposal_id"]
    index = own_index.built(db, proposal)
    if index is None:
        reason = proposal["error"] or INTERRUPTED
        db.query("select architect._transition($1, 'retry', $2)", proposal_id, reason)
        if reason == INTERRUPTED:
            return {"action": "again"}
        return stop(
            f"the index of proposal {proposal_id} could not be built: {reason}",
            "Nothing is left of it. Try again with: "
            f"call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes');",
        )
    drop_sql = f"drop index concurrently {index.display}"
    if not (index.is_valid and index.is_on_target and own_index.is_as_approved(db, proposal, index)):
        if proposal["has_failed_now"] and proposal["has_failed_before"]:
            return stop(
                f"the index {index.display} could not be removed: {proposal['error']}",
                f"Call architect.sp_deploy_approved({proposal_id}, wait => '10 minutes') again, or run: {drop_sql};",
            )
        if proposal["error"] is None:
            reason = OF_ANOTHER_TABLE if index.is_valid else INTERRUPTED
            db.query("update architect.proposal set error = $2 where proposal_id = $1", proposal_id, reason)
        return {"action": "run", "sql": drop_sql, "purpose": "remove what is not wanted"}
    db.query("update architect.proposal set created_index_oid = $2::oid where proposal_id = $1", proposal_id, index.oid)
    db.query(
        """insert into architect.built_index (deployment_id, index_oid, relation_oid, index_name, proposal_id)
           select deployment_id, created_index_oid, relation_oid, index_name, proposal_id
             from architect.proposal where proposal_id = $1""",
        proposal_id,
    )
    db.query("select architect._transition($1, 'deployed', null)", proposal_id)
    return own_index.rename(db, index, proposal["index_name"], own_index.tag(proposal))


def _deployed(db: Database, proposal: Row) -> Action:
    index = own_index.ours(db, proposal)
    if index is not None and index.name == proposal["work_name"]:
        if not proposal["has_failed_now"]:
            return own_index.rename(db, index, proposal["index_name"], own_index.tag(proposal))
        reason = f"{NOT_NAMED} {proposal['index_name']}: {proposal['error']}"
        if f"({DUPLICATE_TABLE})" not in proposal["error"]:
            call = f"call architect.sp_deploy_approved({proposal['proposal_id']}, wait => '10 minutes');"
            return stop(reason, f"Go on with: {call}")
        db.query("select architect._transition($1, 'reverting', $2)", proposal["proposal_id"], reason)
        return {"action": "again"}
    if index is None:
        db.query(
            "select architect._transition($1, 'failed', 'the index was dropped by somebody else')",
            proposal["proposal_id"],
        )
        return stop(
            "the index was dropped by somebody else", "Run the cycle again to have the workload looked at anew."
        )
    if index.name != proposal["index_name"] or not index.is_valid:
        rollback = f"undo it: call architect.sp_rollback({proposal['proposal_id']}, 'reason');"
        if index.is_valid:
            return stop(_renamed_away(index), f"Give it the name {proposal['index_name']} again, or {rollback}")
        mend = f"reindex index concurrently {index.display};"
        return stop(f"the index {index.display} is invalid now", f"Run: {mend} or {rollback}")
    db.query("select architect._transition($1, 'verifying', null)", proposal["proposal_id"])
    relation_oid = int(proposal["relation_oid"])
    return {
        "action": "measure",
        "index_oid": index.oid,
        "relation_oid": relation_oid,
        "baseline": row_json(proposal["baseline"]),
        **replay_plan.both_sides(db, proposal["proposal_id"], relation_oid),
    }


def _verifying(db: Database, proposal: Row) -> Action:
    """A measurement was interrupted: take its verdict if it had been recorded, else measure again."""
    recorded = db.query(
        """select m.measurement_id, m.verdict, m.explanation from architect.measurement as m
            where m.proposal_id = $1
              and m.started_at >= (select max(e.happened_at) from architect.proposal_event as e
                                    where e.proposal_id = $1 and e.to_state = 'verifying')
            order by m.measurement_id desc limit 1""",
        proposal["proposal_id"],
    )
    if recorded:
        found = recorded[0]
        db.query(
            "select architect._conclude($1, $2, $3, $4, $5)",
            proposal["proposal_id"],
            found["measurement_id"],
            found["verdict"],
            found["verdict"] == "improved",
            found["explanation"],
        )
        return {"action": "again"}
    db.query("select architect._transition($1, 'deployed', 'the measurement was interrupted')", proposal["proposal_id"])
    return {"action": "again"}


def _reverting(db: Database, proposal: Row) -> Action:
    proposal_id = proposal["proposal_id"]
    index = own_index.ours(db, proposal)
    if index is None:
        index = own_index.doubtful(db, proposal)
        if index is None:
            return _reverted(db, proposal_id)
        proposal["error"] = (
            f"{index.display} is just like it, and it cannot be told whether it is the one that was built"
        )
    elif index.name not in (proposal["index_name"], proposal["work_name"]):
        proposal["error"] = _renamed_away(index)
    if proposal["error"] is not None:
        db.query("select architect._transition($1, 'revert_failed', $2)", proposal_id, proposal["error"])
        return stop(
            f"proposal {proposal_id} could not be reverted: {proposal['error']}",
            f"Try again with: call architect.sp_rollback({proposal_id}, 'try again'); "
            f"or run: drop index concurrently {index.display};",
        )
    if index.name != proposal["work_name"]:
        return own_index.rename(db, index, proposal["work_name"])
    return {"action": "run", "sql": f"drop index concurrently {index.display}", "purpose": "revert"}


def _reverted(db: Database, proposal_id: int) -> Action:
    """The index is gone."""
    db.query(
        """update architect.built_index set dropped_at = clock_timestamp()
            where proposal_id = $1 and dropped_at is null and deployment_id = architect._this_deployment()""",
        proposal_id,
    )
    db.query("select architect._transition($1, 'reverted', null)", proposal_id)
    why = db.query(
        """select detail from architect.proposal_event
            where proposal_id = $1 and to_state = 'reverting' order by event_id desc limit 1""",
        proposal_id,
    )[0]["detail"]
    if why is not None and why.startswith(NOT_NAMED):
        return stop(why, "Run the cycle again for a proposal with another name.")
    return {"action": "stop"}


def _renamed_away(index: own_index.Index) -> str:
    return f"the index is named {index.name} now"


def _revert_failed(db: Database, proposal: Row) -> Action:
    db.query("select architect._transition($1, 'reverting', 'another try')", proposal["proposal_id"])
    return {"action": "again"}


def _nothing_to_do(db: Database, proposal: Row) -> Action:
    state, proposal_id, kind = proposal["state"], proposal["proposal_id"], proposal["change_type"]
    if state in ("kept", "reverted"):
        return {"action": "stop"}
    change_policy = db.query("select architect._only_observes($1) as how", kind)[0]["how"]
    hint = {
        "proposed": f"The policy for {kind} is observe: nothing is put before the approvers. {change_policy} "
        "Then propose it again."
        if change_policy
        else "A dry run proposes only; call architect.sp_autonomous_improvement(dry_run => false).",
        "awaiting_approval": "A member of architect_approver has to run: "
        f"select architect.approve({proposal_id}, 'reason');",
    }.get(state, f"It came to its end; {_again(proposal)[0].lower()}{_again(proposal)[1:]}")
    return stop(f"proposal {proposal_id} is {state.replace('_', ' ')}, it cannot be deployed", hint)


_STEPS = {
    "approved": _begin,
    "retry": _begin,
    "deploying": _deploying,
    "deployed": _deployed,
    "verifying": _verifying,
    "reverting": _reverting,
    "revert_failed": _revert_failed,
}
