"""Whether an approved proposal may begin now: the approval, what it was given for, and what else is under way."""

from __future__ import annotations

from typing import Any

from pg_architect.core.db import Database, Row, row_json
from pg_architect.core.errors import (
    INSUFFICIENT_PRIVILEGE,
    NO_DATA_FOUND,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    ArchitectError,
)
from pg_architect.core.words import counted
from pg_architect.safety import executable
from pg_architect.safety.judgement import GATE_VERSION
from pg_architect.telemetry import pg_stat_statements

# What `deployment.step` hands to the executor, as JSON.
Action = dict[str, Any]


def stop(message: str, hint: str, sqlstate: str = OBJECT_NOT_IN_PREREQUISITE_STATE) -> Action:
    return {"action": "stop", "sqlstate": sqlstate, "message": message, "hint": hint}


def unknown(proposal_id: int | None) -> ArchitectError:
    number = "NULL" if proposal_id is None else proposal_id
    return ArchitectError(
        NO_DATA_FOUND, f"there is no proposal {number}", hint="Their numbers are in architect.proposals."
    )


def elsewhere(proposal_id: int) -> ArchitectError:
    return ArchitectError(
        OBJECT_NOT_IN_PREREQUISITE_STATE,
        f"proposal {proposal_id} belongs to another database",
        hint="A restored proposal is history; run the cycle here to get proposals for this database.",
    )


def approval(db: Database, proposal_id: int) -> Row | None:
    rows = db.query(
        """select decision, digest, expires_at <= clock_timestamp() as is_expired from architect.approval
            where proposal_id = $1 order by approval_id desc limit 1""",
        proposal_id,
    )
    return rows[0] if rows and rows[0]["decision"] == "approved" else None


def what_changed(db: Database, proposal: Row, approval: Row) -> str | None:
    """Judge again, by names and OIDs as they are now; None when it is the very thing that was approved."""
    digest = db.query(
        "select architect._digest(apply_sql, revert_sql, gate_objects, gate_version) as digest from architect.proposal"
        " where proposal_id = $1",
        proposal["proposal_id"],
    )[0]["digest"]
    if not digest == proposal["digest"] == approval["digest"]:
        return "its text differs from what was approved"
    if proposal["gate_version"] != GATE_VERSION:
        return f"it was judged by gate {proposal['gate_version']}, this is gate {GATE_VERSION}"
    judgement = executable.judge(db, proposal["apply_sql"])
    if judgement.verdict == "refuse":
        return "; ".join(reason.detail for reason in judgement.reasons)
    if judgement.to_json()["objects"] != row_json(proposal["objects"]):
        return "its names lead to other objects now"
    if judgement.apply_sql != proposal["apply_sql"]:
        return "it reads differently now"
    return None


def obstacle(db: Database, proposal: Row) -> Action | None:
    """What forbids to begin now, though the approval is good; the state stays as it is."""
    owner = proposal["relation_owner"]
    if not db.query("select pg_has_role('architect_executor', $1, 'usage') as may", owner)[0]["may"]:
        return stop(
            f'architect_executor does not hold the rights of "{owner}", who owns {proposal["relation_name"]}',
            f"A DBA has to run: select architect.enroll('{owner}');",
            INSUFFICIENT_PRIVILEGE,
        )
    if unfit := db.query("select architect._unfit_owner($1::name) as why", owner)[0]["why"]:
        return stop(
            f"architect_executor must not act for the owner of {proposal['relation_name']}: {unfit}",
            f"Take that membership back, or run: select architect.withdraw('{owner}');",
            INSUFFICIENT_PRIVILEGE,
        )
    if lack := pg_stat_statements.missing(db):
        return stop(
            f"nothing could be measured: {lack}", "See what to do first: select * from architect.check_health();"
        )
    if grant := db.query("select architect._missing_create($1::oid) as how", proposal["relation_oid"])[0]["how"]:
        return stop(
            f'"{owner}" may not create objects in the schema of {proposal["relation_name"]}',
            f"Building an index needs that; a DBA has to run: {grant}",
            INSUFFICIENT_PRIVILEGE,
        )
    busy = db.query(
        """select proposal_id from architect.proposal where relation_oid = $1::oid and proposal_id <> $2
              and deployment_id = architect._this_deployment()
              and state in ('deploying', 'deployed', 'verifying', 'reverting')""",
        proposal["relation_oid"],
        proposal["proposal_id"],
    )
    if busy:
        return stop(
            f"proposal {busy[0]['proposal_id']} on the same table is not finished",
            "One unverified change per table is allowed. Go on with it: "
            f"call architect.sp_deploy_approved({busy[0]['proposal_id']}, wait => '10 minutes');",
        )
    limit = db.query(
        """select max_changes_per_day as most, architect._only_observes(p.change_type) as only_observes,
                  (select count(distinct e.proposal_id)
                     from architect.proposal_event as e join architect.proposal as o using (proposal_id)
                    where e.to_state = 'deploying' and o.change_type = p.change_type and o.proposal_id <> $2
                      and e.happened_at > clock_timestamp() - interval '24 hours') as begun
             from architect.policies as p where change_type = $1""",
        proposal["change_type"],
        proposal["proposal_id"],
    )[0]
    if limit["only_observes"]:
        return stop(f"the policy for {proposal['change_type']} is observe: nothing is applied", limit["only_observes"])
    if limit["begun"] >= limit["most"]:
        return stop(
            f"{counted(limit['begun'], 'change was', 'changes were')} begun in the last 24 hours, "
            f"the policy allows {limit['most']}",
            "Wait, or let an admin run: "
            f"select architect.set_policy('{proposal['change_type']}', max_changes_per_day => {limit['begun'] + 1});",
        )
    return None
