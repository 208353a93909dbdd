"""The statistics hold what they print: size, coverage and power, by simulation with fixed seeds."""

from __future__ import annotations

import math
import random
from statistics import NormalDist, fmean, median, stdev

import pytest

from pg_architect.experiment import statistics as s

NOISE = 0.05
RUNS = 800


def binomial_limits(probability: float, runs: int) -> tuple[float, float]:
    """Where a simulated share may lie (99.9 %) if its true value is ``probability``."""
    half = NormalDist().inv_cdf(0.9995) * math.sqrt(probability * (1 - probability) / runs)
    return probability - half, probability + half


def experiment(
    generator: random.Random, blocks: int, *, effect: float = 0.0, sets: float = 0.0, differing: float = 0.0
) -> tuple[list[float], list[float]]:
    """One replay: costs of parameter sets spread by ``sets``, their effects by ``differing``; two runs per arm."""
    without, with_change = [], []
    for _ in range(blocks):
        base = math.exp(generator.gauss(0, sets))
        own = math.exp(effect + generator.gauss(0, differing) - differing**2 / 2)
        without.append(base * fmean(math.exp(generator.gauss(0, NOISE)) for _ in range(2)))
        with_change.append(base * own * fmean(math.exp(generator.gauss(0, NOISE)) for _ in range(2)))
    return without, with_change


def estimate(without: list[float], with_change: list[float]) -> s.Ratio:
    ratio = s.paired_ratio(without, with_change)
    assert ratio is not None
    return ratio


@pytest.mark.parametrize("sets", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("blocks", [10, 20])
def test_an_a_a_measurement_is_rejected_no_more_often_than_promised(blocks: int, sets: float) -> None:
    generator = random.Random(f"size {blocks} {sets}")
    rejected = sum(estimate(*experiment(generator, blocks, sets=sets)).p_value() <= 0.05 for _ in range(RUNS))
    assert rejected / RUNS <= binomial_limits(0.05, RUNS)[1]


@pytest.mark.parametrize(("sets", "differing"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.3), (1.0, 0.3), (2.0, 0.3)])
@pytest.mark.parametrize("blocks", [10, 20])
def test_the_interval_covers_the_true_ratio(blocks: int, sets: float, differing: float) -> None:
    generator = random.Random(f"coverage {blocks} {sets} {differing}")
    true = 0.7
    covered = 0
    for _ in range(RUNS):
        low, high = estimate(
            *experiment(generator, blocks, effect=math.log(true), sets=sets, differing=differing)
        ).interval()
        covered += low <= true <= high
    assert covered / RUNS >= binomial_limits(0.95, RUNS)[0]


def few_sets(generator: random.Random, sets: int, noise: float, effects: list[float]) -> s.Ratio:
    """A replay of a few parameter sets, whose costs and effects are what they are: 10 blocks go round among them."""
    strata: list[tuple[list[float], list[float]]] = [([], []) for _ in range(sets)]
    for block in range(10):
        number = block % sets
        for side, effect in zip(strata[number], (1.0, effects[number]), strict=True):
            side.append((1 + number) * effect * fmean(math.exp(generator.gauss(0, noise)) for _ in range(2)))
    ratio = s.stratified_ratio(strata)
    assert ratio is not None
    return ratio


@pytest.mark.parametrize("sets", [1, 2, 3, 5])
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_the_interval_over_few_sets_keeps_its_promise(sets: int, noise: float) -> None:
    generator = random.Random(f"few {sets} {noise}")
    effects = [0.01 if number == 0 else 1.0 for number in range(sets)]
    true = sum((1 + n) * effects[n] for n in range(sets)) / sum(range(1, sets + 1))
    covered = rejected = 0
    for _ in range(RUNS):
        low, high = few_sets(generator, sets, noise, effects).interval()
        covered += low <= true <= high
        rejected += few_sets(generator, sets, noise, [1.0] * sets).p_value() <= 0.05
    assert covered / RUNS >= binomial_limits(0.95, RUNS)[0]
    assert rejected / RUNS <= binomial_limits(0.05, RUNS)[1]


def test_how_much_few_sets_differ_is_no_uncertainty() -> None:
    low, high = few_sets(random.Random(1), 2, 0.02, [0.01, 1.0]).interval()
    assert 0.6 < low < high < 0.72
    assert s.stratified_ratio([([1.0], [1.0]), ([1.0, 1.0], [1.0, 1.0])]) is None


@pytest.mark.parametrize("blocks", [10, 20])
def test_the_minimum_detectable_effect_is_detected(blocks: int) -> None:
    generator = random.Random(f"power {blocks}")
    printed = fmean(math.log(estimate(*experiment(generator, blocks)).minimum_detectable()) for _ in range(RUNS))
    found = sum(estimate(*experiment(generator, blocks, effect=printed)).p_value() <= 0.05 for _ in range(RUNS))
    assert found / RUNS >= binomial_limits(0.8, RUNS)[0]


@pytest.mark.parametrize("calls", [20, 200])
def test_window_rates_have_the_right_size(calls: int) -> None:
    generator = random.Random(f"windows {calls}")

    def window() -> tuple[float, float]:
        observed = max(1, round(generator.gauss(calls, math.sqrt(calls))))
        return observed, sum(generator.lognormvariate(0, 0.5) for _ in range(observed))

    rejected = 0
    for _ in range(400):
        ratio = s.rate_ratio([window() for _ in range(6)], [window() for _ in range(6)])
        assert ratio is not None
        rejected += ratio.p_value() <= 0.05
    assert rejected / 400 <= binomial_limits(0.05, 400)[1]


def test_windows_that_resemble_their_neighbours_count_for_less() -> None:
    generator = random.Random("autocorrelated")
    rejected, naive = 0, 0
    for _ in range(400):
        level, series = 0.0, []
        for _ in range(12):
            level = 0.5 * level + generator.gauss(0, 0.1)
            series.append((50.0, 50 * math.exp(level)))
        ratio = s.rate_ratio(series[:6], series[6:])
        assert ratio is not None
        rejected += ratio.p_value() <= 0.05
        sides = [[cost / calls for calls, cost in side] for side in (series[:6], series[6:])]
        error = math.sqrt(sum(stdev(side) ** 2 / 6 / fmean(side) ** 2 for side in sides))
        naive += s.Ratio(ratio.log, error, 10, 12).p_value() <= 0.05
    # six windows cannot know their autocorrelation well; the marks of the index (is_touched) are the stronger guard
    assert rejected < 0.6 * naive


def test_the_total_of_statements_with_different_effects_is_covered() -> None:
    generator = random.Random("total")
    costs, effects = (9.0, 3.0, 1.0), (1.0, 0.1, 2.0)
    true = sum(c * e for c, e in zip(costs, effects, strict=True)) / sum(costs)
    covered = 0
    for _ in range(RUNS):
        total = s.weighted_total(
            [
                s.Part(cost, estimate(*experiment(generator, 10, effect=math.log(effect))))
                for cost, effect in zip(costs, effects, strict=True)
            ],
            draws=400,
        )
        assert total is not None
        low, high = total.interval()
        covered += low <= true <= high
    lowest, highest = binomial_limits(0.95, RUNS)
    assert lowest <= covered / RUNS <= highest


def test_costs_that_are_badly_known_cannot_turn_a_gain_into_a_loss() -> None:
    """A statement that no change can have touched weighs the gain of another; it cannot outweigh it."""
    gain = s.Ratio(math.log(0.03), 0.05, 9.0, 10)
    unchanged = s.Ratio(0.0, 0.0, 1.0, 10)
    total = s.weighted_total([s.Part(45.0, gain, 0.05), s.Part(55.0, unchanged, 0.3)])
    assert total is not None
    low, high = total.interval()
    assert 0.03 < low < total.value < high < 1
    assert total.p_value() <= 0.05
    assert total.p_above(1.0) > 0.99


def test_an_interval_with_uncertain_costs_keeps_its_level() -> None:
    generator = random.Random("costs")
    covered = 0
    for _ in range(RUNS):
        parts, true = [], []
        for cost, effect in ((30.0, 0.1), (50.0, 1.0), (20.0, 1.3)):
            error, cost_error = generator.uniform(0.05, 0.3), generator.uniform(0.05, 0.3)
            degrees = 9
            estimates = [generator.gauss(0.0, error), generator.gauss(0.0, cost_error)]
            scales = [math.sqrt(generator.gammavariate(degrees / 2, 2.0) / degrees) for _ in estimates]
            ratio = s.Ratio(math.log(effect) + estimates[0], error * scales[0], degrees, 10)
            parts.append(s.Part(cost * math.exp(estimates[1]), ratio, cost_error * scales[1]))
            true.append((cost, effect))
        total = s.weighted_total(parts, draws=400)
        assert total is not None
        low, high = total.interval()
        covered += low <= sum(c * e for c, e in true) / sum(c for c, _ in true) <= high
    assert binomial_limits(0.95, RUNS)[0] <= covered / RUNS


def test_one_dominating_parameter_set_gives_no_certainty() -> None:
    generator = random.Random("dominance")
    without, with_change = experiment(generator, 10)
    without[0], with_change[0] = 1e6, 0.9e6
    ratio = estimate(without, with_change)
    assert ratio.degrees == 1
    assert ratio.p_value() > 0.05


def test_the_bootstrap_is_reproducible_and_as_wide_as_the_interval() -> None:
    without, with_change = experiment(random.Random(1), 10)
    ratio = estimate(without, with_change)
    draws = s.bootstrap(without, with_change, ratio, 2000, random.Random(7))
    assert draws == s.bootstrap(without, with_change, ratio, 2000, random.Random(7))
    spread = math.sqrt(fmean((draw - ratio.log) ** 2 for draw in draws))
    assert spread == pytest.approx(ratio.standard_error, rel=1e-9)
    assert median(draws) == pytest.approx(ratio.log, abs=ratio.standard_error / 5)


def test_bootstrap_of_rates_surrounds_the_estimate() -> None:
    before = [(10.0, 10.0 + i) for i in range(6)]
    after = [(10.0, 20.0 + i) for i in range(6)]
    ratio = s.rate_ratio(before, after)
    assert ratio is not None
    draws = s.bootstrap_rates(before, after, ratio, 2000, random.Random(7))
    assert fmean(draws) == pytest.approx(math.log(sum(b for _, b in after) / sum(b for _, b in before)), abs=1e-9)


def test_deterministic_costs_are_decided_without_a_spread() -> None:
    same = estimate([100.0] * 10, [100.0] * 10)
    assert (same.p_value(), same.interval()) == (1.0, (1.0, 1.0))
    tenth = estimate([100.0] * 10, [10.0] * 10)
    assert tenth.p_value() == 0.0
    assert tenth.interval() == pytest.approx((0.1, 0.1))
    assert tenth.p_above(1.05) == 1.0


@pytest.mark.parametrize(
    ("without", "with_change"), [([], []), ([1.0], [1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, 0.0])]
)
def test_too_little_is_no_ratio(without: list[float], with_change: list[float]) -> None:
    assert s.paired_ratio(without, with_change) is None


def test_no_parts_no_total() -> None:
    assert s.weighted_total([]) is None


# Reference values of R: qt(p, df), pt(t, df).
@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.975, 1, 12.706205), (0.975, 9, 2.262157), (0.8, 9, 0.883404), (0.975, 2, 4.302653), (0.995, 120, 2.617421)],
)
def test_students_t(probability: float, degrees: float, quantile: float) -> None:
    assert s.t_quantile(probability, degrees) == pytest.approx(quantile, rel=1e-6)
    assert s.t_cdf(s.t_quantile(probability, degrees), degrees) == pytest.approx(probability, abs=1e-12)
    assert s.t_quantile(1 - probability, degrees) == pytest.approx(-s.t_quantile(probability, degrees))


def test_students_t_with_a_fractional_degree() -> None:
    degrees, steps, end = 2.5, 200_000, 3.0
    front = math.gamma((degrees + 1) / 2) / math.sqrt(degrees * math.pi) / math.gamma(degrees / 2)
    middles = ((i + 0.5) * end / steps for i in range(steps))
    integral = math.fsum(front * (1 + t * t / degrees) ** (-(degrees + 1) / 2) for t in middles) * end / steps
    assert s.t_cdf(end, degrees) == pytest.approx(0.5 + integral, abs=1e-9)


def test_holm() -> None:
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([]) == []
