"""The decision: one primary test on the workload-weighted total, then the statements that must not regress. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pg_architect.experiment import explain, statistics
from pg_architect.experiment.effects import StatementEffect, WriteEffect, shares
from pg_architect.experiment.statistics import Part, Ratio, Total

# One-sided, so that a guard raises a false alarm as often as one side of the primary test at 5 % two-sided.
GUARD_ALPHA = 0.025
ALPHA = 0.05
# A majority of the touched time must have been seen before the total is judged at all.
MINIMUM_MEASURED_SHARE = 0.5
# A write that finds its rows by an index instead of a scan reads far less; smaller changes are drift.
FOUND_BY_INDEX = 0.5
# A gain must hold for nearly all of it: a fifth that got a quarter slower would eat up 5 % of the whole.
MINIMUM_SHARE_OF_GAIN = 0.8


@dataclass(frozen=True, slots=True)
class Bounds:
    """``equivalence`` as a fraction of the cost; ``minimum_effect`` is what success_score must exceed.

    Statements with at least ``guard_share`` of the touched time are guarded one by one.
    """

    equivalence: float = 0.05
    minimum_effect: float = 0.05
    guard_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Decision:
    """``performance_delta``, ``interval`` and ``minimum_detectable_effect`` in per cent of the touched cost.

    ``worse`` holds the statement ids that regressed, ``touched_writes`` and ``worse_writes`` query ids.
    """

    verdict: str
    keep: bool
    performance_delta: float | None
    interval: tuple[float, float] | None
    success_score: float | None
    minimum_detectable_effect: float | None
    explanation: str
    statements: tuple[StatementEffect, ...]
    writes: tuple[WriteEffect, ...]
    worse: tuple[int, ...] = ()
    touched_writes: tuple[int, ...] = ()
    worse_writes: tuple[int, ...] = ()
    measurement_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Totals:
    cpu: Total | None
    elapsed: Total | None
    buffers: Total | None


def decide(statements: Sequence[StatementEffect], writes: Sequence[WriteEffect], bounds: Bounds) -> Decision:
    """Judge a change from its effects on every touched statement.

    harmful: a guarded statement is significantly worse than ``equivalence`` allows; or, where most of the read time was
    measured, the total or the elapsed time is, or writes cost more for an index that nothing used. equivalent: the
    interval of the total lies within the bounds, or no plan changed, and every statement of weight was measured as it
    is called. improved: the total is significantly below 1, buffers do not contradict, nearly all was measured, and
    the application's own calls gain, too. Else inconclusive.
    """
    touched = [one for one in writes if one.change.time and one.change.is_touched(bounds.equivalence, ALPHA / 2)]
    totals = _totals(statements, touched)
    worse, worse_writes = _worse_reads(statements, bounds), _worse_writes(touched, bounds)
    verdict, because = _verdict(statements, touched, totals, worse, worse_writes, bounds)
    touched_ids = [one.change.query_id for one in touched]
    total = totals.cpu
    interval = None
    if total:
        low, high = total.interval()
        interval = (_percent(high), _percent(low))
    return Decision(
        verdict,
        verdict == "improved",
        _percent(total.value) if total else None,
        interval,
        _success(statements, touched, bounds),
        _percent(least) if total and (least := total.minimum_detectable()) else None,
        explain.decision(because, total, statements, writes, worse, touched_ids, worse_writes),
        tuple(statements),
        tuple(writes),
        tuple(worse),
        tuple(touched_ids),
        tuple(worse_writes),
    )


def _verdict(
    statements: Sequence[StatementEffect],
    writes: Sequence[WriteEffect],
    totals: _Totals,
    worse: Sequence[int],
    worse_writes: Sequence[int],
    bounds: Bounds,
) -> tuple[str, str]:
    """The verdict and the reason that decided."""
    total = totals.cpu
    upper = 1 + bounds.equivalence
    measured = [one for one in statements if one.cpu_ratio]
    unused = not any(one.plan_changed for one in measured) and not any(_is_faster(one) for one in writes)
    if total is None:
        return "inconclusive", "nothing could be measured"
    if worse:
        return "harmful", explain.regressed(worse, upper)
    if _measured_share(statements) < MINIMUM_MEASURED_SHARE:
        return "inconclusive", "most of the touched time could not be measured"
    if totals.elapsed and totals.elapsed.p_above(upper) <= GUARD_ALPHA:
        return "harmful", "the elapsed time got worse: " + explain.ratio(totals.elapsed)
    if unused and worse_writes:
        return "harmful", "no plan uses the index, and writing to the table costs more"
    if unused and measured:
        verdict, because = "equivalent", explain.UNUSED
    else:
        verdict, because = _primary(total, totals.buffers, bounds)
    if verdict == "equivalent" and (doubt := _doubt(statements, bounds)):
        return "inconclusive", f"{because}, but {doubt}"
    if verdict == "improved" and (lack := _unproved_gain(statements)):
        return "inconclusive", f"{because}, but {lack}"
    return verdict, because


def _unproved_gain(statements: Sequence[StatementEffect]) -> str | None:
    """Why a gain does not hold for nearly all of the touched time."""
    seen = _measured_share(statements)
    if seen < MINIMUM_SHARE_OF_GAIN:
        least = f"a gain needs {100 * MINIMUM_SHARE_OF_GAIN:.0f} %"
        return f"only {100 * seen:.0f} % of the touched time could be measured; {least}"
    share = shares(statements)
    contradicted = [one for one in statements if one.contradiction]
    if seen - sum(share[one.statement_id] for one in contradicted) >= MINIMUM_SHARE_OF_GAIN:
        return None
    most = max(contradicted, key=lambda one: one.load)
    return f"statement {most.statement_id}: {most.contradiction}"


def _is_faster(one: WriteEffect) -> bool:
    """Whether it finds its rows with the index, which no insert does."""
    buffers = one.change.buffers
    return buffers is not None and buffers.p_below(FOUND_BY_INDEX) <= ALPHA / 2


def _doubt(statements: Sequence[StatementEffect], bounds: Bounds) -> str | None:
    """Why the replay does not speak for each statement of weight."""
    share = shares(statements)
    of_weight = [one for one in statements if share[one.statement_id] >= bounds.guard_share]
    for one in of_weight:
        if not one.cpu_ratio:
            return explain.unmeasured(one, share[one.statement_id])
    return next((f"statement {one.statement_id}: {one.unlike}" for one in of_weight if one.unlike), None)


def _primary(total: Total, buffers: Total | None, bounds: Bounds) -> tuple[str, str]:
    """The test of the workload-weighted total, once nothing else has decided."""
    upper, lower = 1 + bounds.equivalence, 1 - bounds.equivalence
    low, high = total.interval()
    if lower <= low and high <= upper:
        return "equivalent", f"the total changed by less than {100 * bounds.equivalence:g} % either way"
    if total.p_value() <= ALPHA and low > 1:
        return "harmful", "the workload-weighted total got worse"
    if total.p_value() <= ALPHA and high < 1:
        if buffers and buffers.p_above(upper) <= GUARD_ALPHA:
            return "inconclusive", "CPU fell but the buffers read per call rose: " + explain.ratio(buffers)
        return "improved", "the workload-weighted total fell"
    return "inconclusive", "the interval holds both a gain and a loss, or reaches beyond the equivalence bounds"


def _totals(statements: Sequence[StatementEffect], writes: Sequence[WriteEffect]) -> _Totals:
    write_parts = [_part(one.cost, one.change.time) for one in writes if one.change.time]
    cpu = [_part(one.cost, one.cpu_ratio, one) for one in statements if one.cpu_ratio]
    elapsed = [
        _part(one.calls_per_second * one.elapsed_ms[0], one.elapsed_ratio, one)
        for one in statements
        if one.elapsed_ratio and one.elapsed_ms
    ]
    buffers = [
        _part(one.calls_per_second * one.buffers[0], one.buffers_ratio, one)
        for one in statements
        if one.buffers_ratio and one.buffers
    ]
    return _Totals(
        statistics.weighted_total(cpu + write_parts),
        statistics.weighted_total(elapsed + write_parts),
        statistics.weighted_total(buffers),
    )


def _part(cost: float, measured: Ratio, statement: StatementEffect | None = None) -> Part:
    """What differs between two runs of the same plan is noise: it tells how well the cost is known, no more."""
    same = statement is not None and not statement.plan_changed
    ratio = replace(statistics.UNCHANGED, degrees=measured.degrees) if same else measured
    return Part(cost, ratio, measured.standard_error)


def _guarded(statements: Sequence[StatementEffect], bounds: Bounds) -> list[tuple[StatementEffect, Ratio]]:
    share = shares(statements)
    return [
        (one, one.cpu_ratio)
        for one in statements
        if one.cpu_ratio and one.plan_changed and share[one.statement_id] >= bounds.guard_share
    ]


def _worse_reads(statements: Sequence[StatementEffect], bounds: Bounds) -> list[int]:
    """Guarded statements whose CPU or elapsed time is worse beyond the bound, family-wise (Holm)."""
    guarded = _guarded(statements, bounds)
    upper = 1 + bounds.equivalence
    p_values = []
    for one, cpu in guarded:
        elapsed = one.elapsed_ratio.p_above(upper) if one.elapsed_ratio else 1.0
        p_values.append(min(1.0, 2 * min(cpu.p_above(upper), elapsed)))
    adjusted = statistics.holm(p_values)
    return [one.statement_id for (one, _), p in zip(guarded, adjusted, strict=True) if p <= GUARD_ALPHA]


def _worse_writes(writes: Sequence[WriteEffect], bounds: Bounds) -> list[int]:
    """Touched writes whose time or WAL records per call are worse beyond the bound, family-wise (Holm)."""
    upper = 1 + bounds.equivalence
    measured = [one.change for one in writes if one.change.time]
    p_values = []
    for change in measured:
        seen = [ratio.p_above(upper) for ratio in (change.time, change.wal_records) if ratio]
        p_values.append(min(1.0, len(seen) * min(seen)))
    adjusted = statistics.holm(p_values)
    return [change.query_id for change, p in zip(measured, adjusted, strict=True) if p <= GUARD_ALPHA]


def _success(statements: Sequence[StatementEffect], writes: Sequence[WriteEffect], bounds: Bounds) -> float | None:
    """Share of bootstrap draws in which the total falls by the minimum and no guarded statement regresses."""
    parts = [(one.cost, one.draws) for one in statements if one.draws and one.cost > 0]
    parts += [(one.cost, one.draws) for one in writes if one.draws and one.cost > 0]
    if not parts:
        return None
    total = sum(cost for cost, _ in parts)
    guards = [one.draws for one, _ in _guarded(statements, bounds)]
    limit = math.log(1 + bounds.equivalence)
    draws = len(parts[0][1])
    good = 0
    for k in range(draws):
        ratio = sum(cost * math.exp(drawn[k]) for cost, drawn in parts) / total
        good += ratio < 1 - bounds.minimum_effect and all(drawn[k] <= limit for drawn in guards)
    return good / draws


def _measured_share(statements: Sequence[StatementEffect]) -> float:
    total = sum(one.load for one in statements)
    return sum(one.load for one in statements if one.cpu_ratio) / total if total > 0 else 1.0


def _percent(ratio: float) -> float:
    return 100 * (1 - ratio)
