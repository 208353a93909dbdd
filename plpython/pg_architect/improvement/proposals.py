"""Proposals as rows: writing them, and knowing what was tried before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pg_architect.advisor import estimate
from pg_architect.core.db import Database, handled
from pg_architect.core.errors import (
    FEATURE_NOT_SUPPORTED,
    INVALID_PARAMETER_VALUE,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    ArchitectError,
)
from pg_architect.core.settings import load
from pg_architect.improvement.contract import GeneratedChange
from pg_architect.improvement.generators import index_change
from pg_architect.safety import executable
from pg_architect.safety.index_statement import definition
from pg_architect.safety.judgement import GATE_VERSION, Judgement
from pg_architect.telemetry import pg_stat_statements, statements
from pg_architect.telemetry.examination import examine


@dataclass(frozen=True, slots=True)
class Known:
    """A proposal for the same statement that is open, or came to its end lately."""

    proposal_id: int
    title: str
    state: str
    verdict: str | None
    relation_oid: int
    is_a_persons: bool

    @property
    def is_open(self) -> bool:
        """Whether the index may soon be there: others are judged beside it."""
        return self.state not in ("kept", "rejected", "reverted", "failed", "refused")

    @property
    def words(self) -> str:
        if self.state == "reverted" and self.verdict == "improved":
            return "rolled back by a person"
        return self.state.replace("_", " ") + (f" (measured: {self.verdict})" if self.verdict else "")


def open_or_recent(db: Database, settings: Mapping[str, float]) -> dict[str, Known]:
    """By `definition`: what must not be proposed again now: it waits, works, or was undone or rejected lately."""
    rows = db.query(
        """select distinct on (definition) definition, proposal_id, title, state, verdict,
                  relation_oid::bigint as relation_oid, run_id is null as is_a_persons
             from architect.proposal
            where deployment_id = architect._this_deployment()
              and (state in ('awaiting_approval', 'approved', 'deferred', 'deploying', 'deployed', 'verifying', 'retry',
                             'reverting', 'revert_failed', 'kept')
                   or state in ('rejected', 'reverted', 'failed', 'refused')
                      and completed_at > clock_timestamp() - make_interval(secs => 86400 * $1::float8))
            order by definition, proposal_id desc""",
        settings["retry_after"],
    )
    return {row.pop("definition"): Known(**row) for row in map(dict, rows)}


def since_kept(db: Database) -> dict[int, int]:
    """For each table with a kept change the snapshot from which its statements count, with their new cost."""
    rows = db.query(
        """select p.relation_oid::bigint as relation_oid, max(s.snapshot_id) as snapshot_id
             from architect.proposal as p
             cross join lateral (select min(x.snapshot_id) as snapshot_id from architect.snapshot as x
                                  where x.deployment_id = p.deployment_id and x.taken_at >= p.deployed_at) as s
            where p.deployment_id = architect._this_deployment() and p.state = 'kept' and s.snapshot_id is not null
            group by p.relation_oid"""
    )
    return {row["relation_oid"]: row["snapshot_id"] for row in rows}


def risk_of(change: GeneratedChange, judgement: Judgement) -> str:
    """The one risk of a proposal: the gate can only raise the generator's."""
    return max(change.risk_level, judgement.risk, key=("low", "medium", "high").index)


def insert_proposal(
    db: Database, run_id: int | None, requested_by: str, change: GeneratedChange, judgement: Judgement
) -> int:
    """Store a judged change; state proposed, or refused where the gate said so. Returns its number."""
    data = judgement.to_json()
    refused = judgement.verdict == "refuse"
    target = data["objects"]
    apply_sql = judgement.apply_sql or change.apply_sql
    rows = db.query(
        """insert into architect.proposal (deployment_id, run_id, generator, change_type, requested_by,
             relation_oid, relation_name, relation_owner, index_name, title, hypothesis, why, apply_sql, revert_sql,
             definition, target_file, risk_level, impact, prediction, gate_verdict, gate_reasons, gate_version,
             gate_objects, digest)
           select architect._this_deployment(), $1::bigint, $2, $3, $4, $5::oid, $6, $7, $8, $9, $10, $11, $12, $13,
             $14, $15, $16, $17, $18::jsonb, $19, $20::jsonb -> 'reasons', $21, $20::jsonb -> 'objects',
             architect._digest($12, $13, $20::jsonb -> 'objects', $21)
           returning proposal_id""",
        run_id,
        change.generator,
        change.change_type,
        requested_by,
        target.get("relation_oid") or 0,
        target.get("relation_name") or "unknown",
        target.get("relation_owner") or "unknown",
        target.get("index_name"),
        change.title,
        change.hypothesis,
        change.why,
        apply_sql,
        judgement.revert_sql or change.revert_sql,
        definition(apply_sql),
        change.target_file,
        risk_of(change, judgement),
        change.impact,
        dict(change.prediction),
        judgement.verdict,
        data,
        GATE_VERSION,
    )
    proposal_id: int = rows[0]["proposal_id"]
    db.query("insert into architect.proposal_event (proposal_id, to_state) values ($1, 'proposed')", proposal_id)
    named = [one["statement_id"] for one in change.prediction.get("helped", ())]
    db.query("update architect.statement set is_in_history = true where statement_id = any ($1::bigint[])", named)
    if refused:
        detail = "; ".join(reason.detail for reason in judgement.reasons)
        db.query("select architect._transition($1, 'refused', $2)", proposal_id, detail)
    return proposal_id


def propose_change(db: Database, statement: str, reason: str) -> int:
    """A person's own change, which then passes gate, approval, measurement and verdict like any other.

    Raises ArchitectError: 22023 without a reason or with one that is too long, 0A000 with the gate's reasons when it
    refuses (nothing is stored).
    """
    if not (reason or "").strip():
        raise ArchitectError(
            INVALID_PARAMETER_VALUE,
            "a proposal needs a reason",
            hint="Say what you expect to become better; whoever approves it will read that.",
        )
    db.query("select architect._check_reason($1)", reason)
    judgement = executable.judge(db, statement)
    apply_sql, revert_sql = judgement.apply_sql, judgement.revert_sql
    if (
        judgement.verdict == "refuse"
        or judgement.kind != "create_index_concurrently"
        or not apply_sql
        or not revert_sql
    ):
        raise ArchitectError(
            FEATURE_NOT_SUPPORTED,
            "the safety gate refuses this statement",
            detail="; ".join(r.detail for r in judgement.reasons) or "only create index concurrently can be proposed",
            hint="select * from architect.judge_statement(...) shows the reasons one by one.",
        )
    _must_be_new(db, apply_sql)
    who = db.query("select r.rolname::text as name, r.oid::bigint from pg_roles as r where r.rolname = session_user")[0]
    request = estimate.Request(
        apply_sql, revert_sql, judgement.objects["relation_oid"], who["oid"], who["name"], reason.strip()
    )
    try:
        with db.subtransaction():
            change = _estimated(db, request)
    except ArchitectError as exc:
        if not handled(exc):
            raise
        change = _without_figures(judgement, request, f"not estimated: {exc.message}")
    proposal_id = insert_proposal(db, None, who["name"], change, judgement)
    db.query("select architect._submit($1)", proposal_id)
    if change_policy := db.query("select architect._only_observes($1) as how", change.change_type)[0]["how"]:
        kept = f"the policy for {change.change_type} is observe: the proposal is kept, but not put before the approvers"
        db.notice(f"{kept}. {change_policy}")
    return proposal_id


def _must_be_new(db: Database, apply_sql: str) -> None:
    """Refuse what is open already; what came to its end may be proposed again, because a person may insist."""
    before = open_or_recent(db, load(db)).get(definition(apply_sql))
    if before is None or not before.is_open:
        return
    number = before.proposal_id
    raise ArchitectError(
        OBJECT_NOT_IN_PREREQUISITE_STATE,
        f"proposal {number} for the same index is {before.words}",
        hint="A member of architect_approver decides: "
        f"select architect.approve({number}, 'reason'); or architect.reject, after which it can be proposed again."
        if before.state == "awaiting_approval"
        else f"Go on with it: call architect.sp_deploy_approved({number}, wait => '10 minutes');",
    )


def _estimated(db: Database, request: estimate.Request) -> GeneratedChange:
    """With the figures that a run would find now; what it could not see of the workload is said in them."""
    settings = load(db)
    lack = pg_stat_statements.missing(db)
    seen = None if lack else examine(db, statements.take_snapshot(db), settings, since_kept(db))
    lack = lack and lack.partition(": ")[0]
    return GeneratedChange.from_json("person", index_change(estimate.estimate(db, request, seen, lack, settings)))


def _without_figures(judgement: Judgement, request: estimate.Request, why: str) -> GeneratedChange:
    columns = ", ".join(column["name"] for column in judgement.objects["columns"])
    return GeneratedChange(
        generator="person",
        change_type="create_index",
        title=f"index {judgement.objects['relation_name']} ({columns})",
        hypothesis=request.reason,
        why=request.reason,
        apply_sql=request.statement,
        revert_sql=request.revert_statement,
        risk_level="medium",
        impact="unknown",
        target_file=None,
        prediction={"reduction_percent": None, "basis": why, "build_basis": why, "write_cost": why},
    )
