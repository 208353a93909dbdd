"""The measurement of one index: replay, writes, verdict, record."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pg_architect.core.db import Database
from pg_architect.experiment import effects, explain, live, replay, verdict, writes
from pg_architect.experiment.statistics import Ratio
from pg_architect.experiment.watch import watched


def measure(
    db: Database,
    proposal_id: int,
    index_oid: int,
    relation_oid: int,
    statements: Sequence[replay.ReplayStatement],
    writes_before: writes.WriteSamples | None,
    writes_after: writes.WriteSamples | None,
    labels: Mapping[int, str],
    settings: Mapping[str, Any],
    *,
    is_watched: bool = False,
    calls_before: Mapping[int, live.Calls] | None = None,
) -> verdict.Decision:
    """Replay, decide and record; the record is committed. ``labels``: what people call the writes, by query id;
    ``is_watched``: another session is to watch the replay; ``calls_before``: what the application had called when the
    index was there.

    ``db`` is a session of architect_executor inside a procedure that may commit, with nothing uncommitted.
    """
    started = db.query("select clock_timestamp()::text as at")[0]["at"]
    db.rollback()
    budget = replay.Budget(float(settings["replay_time_limit"]), int(settings["replay_blocks"]))
    with watched(db, proposal_id, budget.seconds, required=is_watched) as watch:
        samples = replay.replay(db, index_oid, statements, budget, watch)
    calls = live.between(calls_before or {}, live.look(db, [one.statement_id for one in statements]))
    resamples, seed = int(settings["bootstrap_resamples"]), f"{proposal_id}:{index_oid}"
    generator = random.Random(seed)
    reads = []
    for one in samples:
        reads.append(effects.read_effect(one, resamples, generator, calls.get(one.statement.statement_id)))
        db.query("select 1")  # the bootstrap computes: a cancel is seen between two statements
    observed = effects.write_effects(
        writes_before.windows if writes_before else (),
        writes_after.windows if writes_after else (),
        labels,
        resamples,
        generator,
    )
    bound = float(settings["equivalence_bound"])
    bounds = verdict.Bounds(bound, bound, float(settings["guard_share"]))
    decision = verdict.decide(reads, observed, bounds)
    remarks = [*_unobserved(writes_before, writes_after), *_hot(writes_before, writes_after)]
    decision = replace(decision, explanation=" ".join([decision.explanation, *remarks]))
    result = {
        "method": _method(reads, observed),
        "started_at": started,
        "verdict": decision.verdict,
        "performance_delta": decision.performance_delta,
        "interval_low": decision.interval[0] if decision.interval else None,
        "interval_high": decision.interval[1] if decision.interval else None,
        "success_score": decision.success_score,
        "minimum_detectable_effect": decision.minimum_detectable_effect,
        "explanation": decision.explanation,
        "parameters": {
            "blocks": budget.blocks,
            "replay_time_limit": budget.seconds,
            "resamples": resamples,
            "seed": seed,
            "equivalence_bound": bound,
            "minimum_effect": bounds.minimum_effect,
            "guard_share": bounds.guard_share,
            "calls_seconds": {one.statement_id: one.calls_seconds for one in statements},
            "index_oid": index_oid,
            "relation_oid": relation_oid,
            "hot_share_before": writes_before.hot_share if writes_before else None,
            "hot_share_after": writes_after.hot_share if writes_after else None,
            **_versions(db),
        },
        "statements": [_read_row(i, one, decision) for i, one in enumerate(reads, 1)]
        + [_write_row(i, one, decision) for i, one in enumerate(observed, len(reads) + 1)],
        "samples": [row for i, one in enumerate(samples, 1) for row in _sample_rows(i, one)],
    }
    recorded = db.query(
        "select architect._record_measurement($1::bigint, $2::text::jsonb) as id", proposal_id, json.dumps(result)
    )[0]["id"]
    db.commit()
    return replace(decision, measurement_id=recorded)


def _versions(db: Database) -> dict[str, Any]:
    return db.query(
        """select current_setting('server_version') as server_version,
                  (select extversion from pg_extension where extname = 'pg_architect') as extension_version"""
    )[0]


def _method(reads: Sequence[effects.StatementEffect], observed: Sequence[effects.WriteEffect]) -> str:
    parts = []
    if any(one.cpu_ratio for one in reads):
        parts.append("replay with A/B switch")
    if any(one.change.time for one in observed):
        parts.append("write counters before and after")
    return " and ".join(parts) or "none"


def _unobserved(before: writes.WriteSamples | None, after: writes.WriteSamples | None) -> list[str]:
    sides = [one for one in (before, after) if one]
    if len(sides) < 2:
        return ["Writes were not observed."]
    reasons = sorted({one.reason for one in sides if one.reason})
    if reasons:
        return [f"Writes were not observed: {'; '.join(reasons)}."]
    if not any(window.counters for one in sides for window in one.windows):
        return ["Writes were not observed: pg_stat_statements has no counters of them any more."]
    return []


def _hot(before: writes.WriteSamples | None, after: writes.WriteSamples | None) -> list[str]:
    shares = (before.hot_share if before else None, after.hot_share if after else None)
    if shares[0] is None or shares[1] is None:
        return []
    return [f"Heap-only updates: {100 * shares[0]:.0f} % before, {100 * shares[1]:.0f} % after."]


def _ratio(ratio: Ratio | None) -> dict[str, float | None]:
    if ratio is None:
        return {}
    low, high = ratio.interval()
    return {
        "ratio": ratio.value,
        "ratio_low": low,
        "ratio_high": high,
        "minimum_detectable_ratio": ratio.minimum_detectable(),
        "p_value": ratio.p_value(),
    }


def _live(calls: live.Calls | None) -> dict[str, float]:
    return {"live_calls": calls.calls, "live_buffers": calls.buffers_per_call} if calls else {}


def _pair(name: str, values: tuple[float, float] | None) -> dict[str, float]:
    return {f"{name}_before": values[0], f"{name}_after": values[1]} if values else {}


def _read_row(ordinal: int, one: effects.StatementEffect, decision: verdict.Decision) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "statement_id": one.statement_id,
        "kind": "read",
        "calls": one.calls,
        "blocks": one.blocks,
        "plan_changed": one.plan_changed,
        **_pair("buffers", one.buffers),
        **_pair("cpu_ms", one.cpu_ms),
        **_pair("elapsed_ms", one.elapsed_ms),
        **_ratio(one.cpu_ratio),
        **_live(one.calls_meanwhile),
        "worse": one.statement_id in decision.worse,
        "note": one.note,
        "not_measured_reason": one.reason,
    }


def _write_row(ordinal: int, one: effects.WriteEffect, decision: verdict.Decision) -> dict[str, Any]:
    change = one.change

    def per_call(metric: str) -> tuple[float, float] | None:
        sides = (change.before, change.after)
        if not all(side.calls for side in sides):
            return None
        first, second = (float(getattr(side, metric)) / side.calls for side in sides)
        return first, second

    return {
        "ordinal": ordinal,
        "query_id": change.query_id,
        "kind": "write",
        "calls": change.calls,
        "blocks": change.windows,
        **_pair("elapsed_ms", per_call("exec_ms")),
        **_pair("buffers", per_call("buffers")),
        **_pair("wal_bytes", per_call("wal_bytes")),
        **_pair("wal_records", per_call("wal_records")),
        **_ratio(change.time),
        "worse": change.query_id in decision.worse_writes,
        "note": None if change.reason or change.query_id in decision.touched_writes else explain.UNTOUCHED,
        "not_measured_reason": change.reason,
    }


def _sample_rows(ordinal: int, samples: replay.StatementSamples) -> list[dict[str, Any]]:
    return [
        {
            "ordinal": ordinal,
            "block": run.block,
            "arm": run.arm,
            "run": run.position,
            "buffers": run.buffers,
            "cpu_ms": run.cpu_ms,
            "elapsed_ms": run.elapsed_ms,
        }
        for run in samples.runs
    ]
