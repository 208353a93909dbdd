"""The thinking half of a run, from what is seen to what is proposed; the whole data flow is `think`.

Runs as architect_owner inside one definer function; nothing here changes a user's object.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pg_architect.advisor import recommend as advisor
from pg_architect.advisor import what_if
from pg_architect.core.db import Database, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.settings import load
from pg_architect.core.words import counted
from pg_architect.findings import rules as finding_rules
from pg_architect.findings.finding import Finding
from pg_architect.improvement import journal
from pg_architect.improvement.contract import GeneratedChange
from pg_architect.improvement.diagnose import Cause, diagnose
from pg_architect.improvement.generators import GENERATORS
from pg_architect.improvement.proposals import Known, insert_proposal, open_or_recent, risk_of, since_kept
from pg_architect.safety import executable
from pg_architect.safety.index_statement import definition
from pg_architect.safety.judgement import Judgement
from pg_architect.telemetry import examination, statements

Settings = Mapping[str, float]
NAMED = 5  # proposals of earlier runs that are told one by one


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run saw."""

    seen: examination.Examination
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Judged:
    """A change with the gate's word on it."""

    change: GeneratedChange
    judgement: Judgement


def think(db: Database, run_id: int) -> dict[str, Any]:
    """Analyze, diagnose, generate, gate and record; returns ids of the proposals and what to tell the caller."""
    run = journal.running(db, run_id)
    settings = load(db)
    observed = analyze(db, run, settings)
    diagnose_all(db, run, observed)
    changes = generate(db, run, observed, settings)
    judged = judge(db, run, changes)
    return record(db, run, judged)


def analyze(db: Database, run: journal.Run, settings: Settings) -> Observed:
    """Take a snapshot (the statistics since their reset are interval zero), examine it, and find what is wrong."""
    snapshot_id = statements.take_snapshot(db)
    since = since_kept(db)
    seen = examination.examine(db, snapshot_id, settings, since)
    if since:
        tables = counted(len(since), "table")
        run.say(db, "analyze", f"statements on {tables} are counted since the last change there was kept")
    if left_out := statements.left_out(db, snapshot_id):
        these = f"{counted(left_out, 'statement')} that took less time"
        run.say(db, "analyze", f"{these} were left out: beyond max_statements, or there was no time to look at them")
    findings = finding_rules.find(db, seen, settings)
    finding_rules.store(db, seen, findings)
    plannable = sum(1 for one in seen.examined if one.reason is None)
    run.say(
        db,
        "analyze",
        f"{counted(len(seen.all), 'statement')} since the statistics were reset; looked closely at "
        f"{len(seen.examined)} of them ({sum(one.captured.share for one in seen.examined):.0%} of database time), "
        f"{plannable} could be planned",
    )
    for finding in findings[:5]:
        run.say(db, "analyze", f"{finding.severity}: {finding.title}")
    db.query(
        "update architect.run set snapshot_id = $2, analysis = $3::jsonb where run_id = $1",
        run.run_id,
        snapshot_id,
        {"statements": len(seen.all), "examined": len(seen.examined), "findings": [_brief(f) for f in findings]},
    )
    return Observed(seen, findings)


def diagnose_all(db: Database, run: journal.Run, observed: Observed) -> list[Cause]:
    """Rank the causes behind the slow statements, each with its facts."""
    causes = diagnose(observed.findings)
    for cause in [one for one in causes if one.cause != "call_frequency"][:5]:
        run.say(db, "diagnose", f"statement {cause.statement_id}: {cause.description}")
    if not causes:
        run.say(db, "diagnose", "no slow statement could be explained")
    return causes


def generate(db: Database, run: journal.Run, observed: Observed, settings: Settings) -> list[GeneratedChange]:
    """Ask every generator that serves the target area; changes tried or decided lately are left out, and said."""
    known = open_or_recent(db, settings)
    if lack := what_if.missing(db):
        run.say(db, "generate", f"effects are not predicted: {lack}", level="warning")
    assumed = [one for one, before in known.items() if before.is_open]
    changes = _ask_generators(db, run, observed, settings, known.keys(), assumed)
    fresh = [change for change in changes if definition(change.apply_sql) not in known]
    left_out = [before for before in known.values() if _would_be_proposed(before, observed.seen)]
    for before in left_out[:NAMED]:
        run.say(db, "generate", f"left out: {before.title}: proposal {before.proposal_id} is {before.words}")
    if more := left_out[NAMED:]:
        run.say(db, "generate", f"left out: {counted(len(more), 'older proposal')}; see architect.proposals")
    if not fresh and not left_out:
        for sentence in advisor.explain_nothing(observed.seen, [], settings):
            run.say(db, "generate", sentence)
    for change in fresh[: run.max_changes]:
        run.say(db, "generate", f"{change.title}: {change.why}")
    if len(fresh) == run.max_changes:
        run.say(
            db,
            "generate",
            f"at most {run.max_changes} for a run: max_changes_per_run => {run.max_changes + 4} shows more",
        )
    return fresh[: run.max_changes]


def _would_be_proposed(before: Known, seen: examination.Examination) -> bool:
    """Whether this run could have proposed it, had it not been before."""
    if before.state == "kept" or before.relation_oid not in seen.tables:
        return False
    return before.is_open or not before.is_a_persons


def _ask_generators(
    db: Database,
    run: journal.Run,
    observed: Observed,
    settings: Settings,
    excluded: Collection[str],
    assumed: Collection[str],
) -> list[GeneratedChange]:
    changes: list[GeneratedChange] = []
    for name, (generator, areas) in GENERATORS.items():
        if run.target_area is not None and run.target_area not in areas:
            run.say(db, "generate", f'generator "{name}" has nothing for target area {run.target_area}')
            continue
        try:
            with db.subtransaction():
                raw = generator(db, observed.seen, run.max_changes, settings, excluded, assumed)
                changes += [GeneratedChange.from_json(name, one) for one in raw]
        except ArchitectError as exc:
            if not handled(exc):
                raise
            run.say(db, "generate", f'generator "{name}" failed: {exc.message}', level="warning")
    return changes


def judge(db: Database, run: journal.Run, changes: Sequence[GeneratedChange]) -> list[Judged]:
    """Let the gate decide about each change; one that cannot be judged is a refusal, never the end of the run."""
    judged = []
    for change in changes:
        judgement = executable.judge(db, change.apply_sql)
        reasons = "; ".join(reason.detail for reason in judgement.reasons)
        risk = risk_of(change, judgement)
        if risk == change.risk_level and (why := change.prediction.get("risk_reason")):
            risk = f"{risk}: {why}"
        run.say(db, "gate", f"{change.title}: {judgement.verdict}, risk {risk} ({reasons})")
        judged.append(Judged(change, judgement))
    return judged


def record(db: Database, run: journal.Run, judged: Sequence[Judged]) -> dict[str, Any]:
    """Write one row per proposal, whatever the gate said."""
    ids = [insert_proposal(db, run.run_id, run.requested_by, one.change, one.judgement) for one in judged]
    accepted = [i for i, one in zip(ids, judged, strict=True) if one.judgement.verdict != "refuse"]
    run.say(db, "record", f"{len(accepted)} proposed, {len(ids) - len(accepted)} refused by the gate")
    return {"proposed": ids, "accepted": accepted}


def think_json(db: Database, run_id: int) -> str:
    """`think` for SQL."""
    return json.dumps(think(db, run_id))


def _brief(finding: Finding) -> dict[str, Any]:
    data = asdict(finding)
    return {name: data[name] for name in ("rule", "severity", "title", "share", "detail")}
