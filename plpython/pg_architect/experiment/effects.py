"""From runs and windows to the effect on each statement. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from pg_architect.experiment import live, statistics
from pg_architect.experiment.replay import WITH, WITHOUT, Run, StatementSamples
from pg_architect.experiment.statistics import Ratio
from pg_architect.experiment.writes import Window, WriteChange, compare

# With fewer clusters than this no interval over parameter sets is of any use (a 95 % limit is then 2.8 standard errors
# and more away); the blocks of each set become the units, and the result speaks for these sets alone.
MINIMUM_SETS = 6
# Load and cold caches make captured calls take longer than the CPU of replayed ones, never less. A captured mean below
# this part of it is of other values: half, since tables grow and a replay counts blocks and rows. Below the
# milliseconds that counting is too much of it.
RESEMBLANCE, COUNTING_MS = 0.5, 0.2


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
    unlike: str | None = None  # why the captured calls may not be those that were replayed
    calls_meanwhile: live.Calls | None = None  # of the application, with the index
    contradiction: str | None = None  # why these do not gain what the replay does

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


def read_effect(
    samples: StatementSamples, resamples: int, generator: random.Random, calls: live.Calls | None = None
) -> StatementEffect:
    """The effect on one replayed statement; ``calls``: those of the application while the index was there."""
    statement, runs = samples.statement, samples.runs
    rate = statement.calls_per_second
    if samples.reason:
        return StatementEffect(statement.statement_id, statement.calls, rate, statement.load, reason=samples.reason)
    sets = len(set(statement.parameter_sets))
    by_set = sets >= MINIMUM_SETS
    strata = {metric: _strata(runs, metric) for metric in ("cpu_ms", "buffers", "elapsed_ms")}
    costs = {metric: _set_means(one) for metric, one in strata.items()}
    ratios = {
        metric: statistics.paired_ratio(*costs[metric]) if by_set else statistics.stratified_ratio(one)
        for metric, one in strata.items()
    }
    ratio = ratios["cpu_ms"]
    one_set = "one parameter set has nearly all of the cost, so that there is no interval over sets"
    if samples.plan_changed:
        units = costs["cpu_ms"] if by_set else _all_blocks(strata["cpu_ms"])
        draws = statistics.bootstrap(*units, ratio, resamples, generator) if ratio else []
    else:
        ratio, draws = ratio or statistics.UNCHANGED, [0.0] * resamples
    cpu = _means(costs["cpu_ms"])
    unlike = _unlike(statement.mean_ms, cpu[0])
    contradiction = live.contradiction(calls, *_means(costs["buffers"]))
    return StatementEffect(
        statement.statement_id,
        statement.calls,
        rate,
        statement.load,
        len({run.block for run in runs}),
        samples.plan_changed,
        _means(costs["buffers"]),
        cpu,
        _means(costs["elapsed_ms"]),
        ratio,
        ratios["buffers"],
        ratios["elapsed_ms"],
        tuple(draws),
        "; ".join(filter(None, (contradiction, unlike, _note(runs, sets, by_set)))) or None,
        None if ratio else one_set,
        unlike,
        calls,
        contradiction,
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


def _strata(runs: Sequence[Run], metric: str) -> list[tuple[list[float], list[float]]]:
    """For each parameter set the mean cost of each of its blocks without and with the change."""
    sets: dict[int, dict[int, dict[str, list[float]]]] = {}
    for run in runs:
        block = sets.setdefault(run.parameter_set, {}).setdefault(run.block, {WITHOUT: [], WITH: []})
        block[run.arm].append(float(getattr(run, metric)))
    return [
        ([fmean(b[WITHOUT]) for b in one.values()], [fmean(b[WITH]) for b in one.values()]) for one in sets.values()
    ]


def _set_means(strata: Sequence[tuple[list[float], list[float]]]) -> tuple[list[float], list[float]]:
    return [fmean(without) for without, _ in strata], [fmean(with_change) for _, with_change in strata]


def _all_blocks(strata: Sequence[tuple[list[float], list[float]]]) -> tuple[list[float], list[float]]:
    return list(chain(*(without for without, _ in strata))), list(chain(*(with_change for _, with_change in strata)))


def _means(sides: tuple[list[float], list[float]]) -> tuple[float, float]:
    return fmean(sides[0]), fmean(sides[1])


def _unlike(captured: float, replayed: float) -> str | None:
    if captured <= 0 or replayed <= COUNTING_MS or captured >= RESEMBLANCE * replayed:
        return None
    return (
        f"captured calls took {captured:.3g} ms, replayed ones {replayed:.3g} ms of CPU without the index: perhaps the "
        "application asks for other values than are typical of the columns"
    )


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
