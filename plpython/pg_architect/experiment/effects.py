"""From runs and windows to the effect on each statement. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pg_architect.experiment import statistics
from pg_architect.experiment.replay import WITH, WITHOUT, Run, StatementSamples
from pg_architect.experiment.statistics import Ratio
from pg_architect.experiment.writes import Window, WriteChange, compare

# With fewer clusters than this no interval over parameter sets is of any use (a 95 % limit is then 2.8 standard errors
# and more away); the blocks become the units, and the result speaks for these sets alone.
MINIMUM_SETS = 6


@dataclass(frozen=True, slots=True)
class StatementEffect:
    """Effect on a replayed statement. Costs per call, ``before`` is without the change; ``reason`` if not measured.

    ``load`` is its execution time in the statistics, in milliseconds per second; ``draws`` are bootstrap draws of the
    log CPU ratio.
    """

    statement_id: int
    calls: int
    calls_per_second: float
    load: float
    blocks: int = 0
    plan_changed: bool | None = None
    buffers: tuple[float, float] | None = None
    cpu_ms: tuple[float, float] | None = None
    elapsed_ms: tuple[float, float] | None = None
    cpu_ratio: Ratio | None = None
    buffers_ratio: Ratio | None = None
    elapsed_ratio: Ratio | None = None
    draws: tuple[float, ...] = ()
    note: str | None = None
    reason: str | None = None

    @property
    def cost(self) -> float:
        """CPU milliseconds per second of workload, without the change."""
        return self.calls_per_second * self.cpu_ms[0] if self.cpu_ms else 0.0


@dataclass(frozen=True, slots=True)
class WriteEffect:
    """Effect on a writing statement: its change, its bootstrap draws of the log time ratio."""

    change: WriteChange
    label: str  # what people call it: update of public.orders
    draws: tuple[float, ...] = ()

    @property
    def cost(self) -> float:
        """Milliseconds per second of workload, before the change."""
        before = self.change.before
        return self.change.calls_per_second * before.exec_ms / before.calls if before.calls else 0.0


def read_effect(samples: StatementSamples, resamples: int, generator: random.Random) -> StatementEffect:
    """The effect on one replayed statement."""
    statement, runs = samples.statement, samples.runs
    rate = statement.calls_per_second
    if samples.reason:
        return StatementEffect(statement.statement_id, statement.calls, rate, statement.load, reason=samples.reason)
    sets = len(set(statement.parameter_sets))
    by_set = sets >= MINIMUM_SETS
    costs = {metric: _units(runs, metric, by_set) for metric in ("cpu_ms", "buffers", "elapsed_ms")}
    ratios = {metric: statistics.paired_ratio(*sides) for metric, sides in costs.items()}
    ratio = ratios["cpu_ms"]
    one_set = "one parameter set has nearly all of the cost, so that there is no interval over sets"
    draws = statistics.bootstrap(*costs["cpu_ms"], ratio, resamples, generator) if ratio else []
    return StatementEffect(
        statement.statement_id,
        statement.calls,
        rate,
        statement.load,
        len({run.block for run in runs}),
        samples.plan_changed,
        _means(costs["buffers"]),
        _means(costs["cpu_ms"]),
        _means(costs["elapsed_ms"]),
        ratio,
        ratios["buffers"],
        ratios["elapsed_ms"],
        tuple(draws),
        _note(runs, sets, by_set),
        None if ratio else one_set,
    )


def write_effects(
    before: Sequence[Window],
    after: Sequence[Window],
    labels: Mapping[int, str],
    resamples: int,
    generator: random.Random,
) -> list[WriteEffect]:
    """The effects on the statements that write to the table; ``labels`` names them by query id."""
    return [
        WriteEffect(
            change,
            labels.get(change.query_id, f"write {change.query_id}"),
            _write_draws(change, before, after, resamples, generator),
        )
        for change in compare(before, after)
    ]


def _write_draws(
    change: WriteChange, before: Sequence[Window], after: Sequence[Window], resamples: int, generator: random.Random
) -> tuple[float, ...]:
    if change.time is None:
        return ()
    first, second = (
        [(float(c.calls), c.exec_ms) for w in side if (c := w.counters.get(change.query_id)) and c.calls > 0]
        for side in (before, after)
    )
    return tuple(statistics.bootstrap_rates(first, second, change.time, resamples, generator))


def _units(runs: Sequence[Run], metric: str, by_set: bool) -> tuple[list[float], list[float]]:
    """Mean cost of each unit (parameter set or block) without and with the change."""
    units: dict[int, dict[str, list[float]]] = {}
    for run in runs:
        unit = units.setdefault(run.parameter_set if by_set else run.block, {WITHOUT: [], WITH: []})
        unit[run.arm].append(float(getattr(run, metric)))
    return [fmean(unit[WITHOUT]) for unit in units.values()], [fmean(unit[WITH]) for unit in units.values()]


def _means(sides: tuple[list[float], list[float]]) -> tuple[float, float]:
    return fmean(sides[0]), fmean(sides[1])


def _note(runs: Sequence[Run], sets: int, by_set: bool) -> str | None:
    notes = []
    if not by_set:
        these = "one distinct parameter set" if sets == 1 else f"{sets} distinct parameter sets"
        notes.append(f"{these}: the interval speaks for nothing else")
    elif sets < len({run.block for run in runs}):
        notes.append(f"{sets} parameter sets for more blocks: some were used twice, the set is the unit")
    if any(run.workers for run in runs):
        notes.append("parallel workers ran: CPU is execution time without I/O")
    rows: dict[int, set[int]] = {}
    for run in runs:
        rows.setdefault(run.parameter_set, set()).add(run.rows)
    if any(len(counts) > 1 for counts in rows.values()):
        notes.append("the number of rows varied between runs")
    return "; ".join(notes) or None


def shares(effects: Sequence[StatementEffect]) -> Mapping[int, float]:
    """Share of each statement in the touched time of the statistics."""
    total = sum(effect.load for effect in effects)
    return {effect.statement_id: effect.load / total if total > 0 else 0.0 for effect in effects}
