"""The decision from known effects: what is called improved, equivalent, harmful or inconclusive, and why."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import partial

import pytest

from pg_architect.experiment import effects, explain, live, replay, statistics, verdict, writes
from pg_architect.experiment.replay import WITH, WITHOUT, Budget, ReplayStatement, Run, StatementSamples

RESAMPLES = 500


def samples(
    generator: random.Random,
    statement_id: int = 1,
    *,
    ratio: float = 1.0,
    buffers: float | None = None,
    elapsed: float | None = None,
    calls: int = 100,
    noise: float = 0.02,
    changed: bool = True,
    sets: int = 10,
) -> StatementSamples:
    """Runs of 10 blocks whose costs with the change are ``ratio`` (buffers, elapsed) times those without."""
    statement = ReplayStatement(statement_id, tuple((str(n),) for n in range(sets)), calls, 10.0,
                                calls_seconds=100.0)  # fmt: skip

    def run(block: int, position: int, arm: str) -> Run:
        with_change = arm == WITH
        factors = [r if with_change else 1.0 for r in (ratio, ratio if buffers is None else buffers)]
        slower = (ratio if elapsed is None else elapsed) if with_change else 1.0
        cpu = 10 * factors[0] * math.exp(generator.gauss(0, noise))
        return Run(
            block,
            position,
            block % sets,
            arm,
            round(1000 * factors[1]),
            cpu,
            10 * slower * math.exp(generator.gauss(0, noise)),
            "with" if with_change and changed else "without",
            1,
            0,
        )

    runs = tuple(run(block, i, arm) for block in range(10) for i, arm in enumerate(replay.ORDERS[block % 2]))
    return StatementSamples(statement, runs)


def windows(generator: random.Random, ms: float, wal: int, calls: int = 50) -> list[writes.Window]:
    made = []
    for _ in range(6):
        seen = max(1, round(generator.gauss(calls, calls**0.5)))
        spent = sum(ms * math.exp(generator.gauss(0, 0.1)) for _ in range(seen))
        made.append(writes.Window(1.0, {77: writes.Counter(seen, spent, seen * 9, seen * wal, 0, seen * wal * 70.0)}))
    return made


def decide(
    *reads: StatementSamples, writing: tuple[list[writes.Window], list[writes.Window]] = ([], [])
) -> verdict.Decision:
    generator = random.Random(5)
    return verdict.decide(
        [effects.read_effect(one, RESAMPLES, generator) for one in reads],
        effects.write_effects(*writing, {}, RESAMPLES, generator),
        verdict.Bounds(),
    )


def test_a_gain_is_improved_and_kept() -> None:
    decision = decide(samples(random.Random(1), ratio=0.5))
    assert (decision.verdict, decision.keep) == ("improved", True)
    assert decision.performance_delta == pytest.approx(50, abs=2)
    assert decision.interval is not None
    assert decision.interval[0] < decision.performance_delta < decision.interval[1]
    assert decision.success_score == 1.0
    assert decision.minimum_detectable_effect is not None
    assert 0 < decision.minimum_detectable_effect < 5
    assert "80 % power" in decision.explanation


def test_no_difference_is_equivalent_and_reverted() -> None:
    decision = decide(samples(random.Random(1)))
    assert (decision.verdict, decision.keep) == ("equivalent", False)
    assert decision.success_score is not None
    assert decision.success_score < 0.05


def test_an_unused_index_is_equivalent_and_says_so() -> None:
    decision = decide(samples(random.Random(1), changed=False, noise=0.3))
    assert decision.verdict == "equivalent"
    assert "index was not used" in decision.explanation


def test_too_much_noise_is_inconclusive_and_never_success() -> None:
    decision = decide(samples(random.Random(3), ratio=0.93, noise=0.4))
    assert (decision.verdict, decision.keep) == ("inconclusive", False)


def test_one_regressing_statement_makes_a_good_total_harmful() -> None:
    good = samples(random.Random(1), 1, ratio=0.1, calls=900)
    bad = samples(random.Random(2), 2, ratio=1.6, calls=100)
    decision = decide(good, bad)
    assert decision.verdict == "harmful"
    assert decision.worse == (2,)
    assert decision.performance_delta is not None
    assert decision.performance_delta > 50
    assert decision.success_score == 0.0
    assert "statement 2 got worse, by significantly more than 5 %" in decision.explanation.lower()


def test_a_regression_below_one_per_cent_of_the_time_is_not_guarded() -> None:
    good = samples(random.Random(1), 1, ratio=0.1, calls=9990)
    bad = samples(random.Random(2), 2, ratio=1.6, calls=10)
    assert decide(good, bad).verdict == "improved"


def test_a_regression_without_a_change_of_plan_is_noise() -> None:
    good = samples(random.Random(1), 1, ratio=0.1, calls=900)
    bad = samples(random.Random(2), 2, ratio=1.6, calls=100, changed=False)
    assert decide(good, bad).verdict == "improved"


def test_elapsed_time_is_a_guard() -> None:
    decision = decide(samples(random.Random(1), ratio=0.5, elapsed=3.0))
    assert decision.verdict == "harmful"


def test_buffers_must_not_contradict() -> None:
    decision = decide(samples(random.Random(1), ratio=0.5, buffers=4.0))
    assert decision.verdict == "inconclusive"
    assert "buffers" in decision.explanation


def test_a_worse_total_is_harmful() -> None:
    decision = decide(samples(random.Random(1), ratio=1.5))
    assert decision.verdict == "harmful"
    assert decision.performance_delta is not None
    assert decision.performance_delta < -40


def test_writes_that_cost_more_than_reads_gain_are_harmful() -> None:
    generator = random.Random(4)
    slow = (windows(generator, 10.0, 2), windows(generator, 30.0, 4))
    decision = decide(samples(random.Random(1), ratio=0.5, calls=10), writing=slow)
    assert decision.verdict == "harmful"
    assert decision.worse_writes == (77,)
    assert "WAL per call" in decision.explanation


def test_writes_that_cost_less_than_reads_gain_do_not_matter() -> None:
    generator = random.Random(4)
    slow = (windows(generator, 0.1, 2), windows(generator, 0.15, 4))
    decision = decide(samples(random.Random(1), ratio=0.5, calls=100_000), writing=slow)
    assert decision.verdict == "improved"


def test_writes_that_cost_more_for_an_unused_index_are_harmful() -> None:
    generator = random.Random(4)
    more_wal = (windows(generator, 0.1, 2), windows(generator, 0.1, 3))
    decision = decide(samples(random.Random(1), changed=False), writing=more_wal)
    assert decision.verdict == "harmful"
    same = (windows(generator, 0.1, 2), windows(generator, 0.1, 2))
    assert decide(samples(random.Random(1), changed=False), writing=same).verdict == "equivalent"


def test_slower_writes_without_a_mark_of_the_index_are_not_its_doing() -> None:
    generator = random.Random(4)
    busier = (windows(generator, 1.0, 2), windows(generator, 3.0, 2))
    decision = decide(samples(random.Random(1), changed=False), writing=busier)
    assert decision.verdict == "equivalent"
    assert decision.touched_writes == ()
    assert "not the index's doing" in decision.explanation
    assert decide(samples(random.Random(1), ratio=0.5), writing=busier).verdict == "improved"


def unreplayed_statement(calls: int, mean_ms: float) -> StatementSamples:
    statement = ReplayStatement(3, (), calls, mean_ms, calls_seconds=100.0)
    return StatementSamples(statement, (), "not plannable: user code")


def test_nothing_measured_is_inconclusive_with_missing_figures() -> None:
    unreplayed = unreplayed_statement(calls=5, mean_ms=1.0)
    decision = decide(unreplayed)
    assert (decision.verdict, decision.performance_delta, decision.success_score) == ("inconclusive", None, None)
    assert decision.minimum_detectable_effect is None
    assert "not plannable: user code" in decision.explanation
    assert decide().verdict == "inconclusive"


def test_a_minority_of_the_touched_time_proves_no_gain() -> None:
    unreplayed = unreplayed_statement(calls=500, mean_ms=10.0)
    decision = decide(samples(random.Random(1), ratio=0.5, calls=100), unreplayed)
    assert decision.verdict == "inconclusive"
    decision = decide(samples(random.Random(1), ratio=0.5, calls=1500), unreplayed)
    assert decision.verdict == "inconclusive"
    assert "only 75 % of the touched time could be measured" in decision.explanation
    assert decide(samples(random.Random(1), ratio=0.5, calls=2100), unreplayed).verdict == "improved"


@pytest.mark.parametrize("changed", [True, False])
def test_nothing_is_equivalent_while_a_statement_of_weight_was_not_measured(changed: bool) -> None:
    measured = samples(random.Random(1), changed=changed, calls=89)
    decision = decide(measured, unreplayed_statement(calls=11, mean_ms=10.0))
    assert (decision.verdict, decision.keep) == ("inconclusive", False)
    assert "statement 3 with 11 % of the touched time was not measured" in decision.explanation
    assert decide(measured, unreplayed_statement(calls=1, mean_ms=5.0)).verdict == "equivalent"


@pytest.mark.parametrize("changed", [True, False])
def test_nothing_is_equivalent_that_the_application_does_not_ask_for(changed: bool) -> None:
    """The replayed calls take 10 ms. Load makes captured calls slower, and never so much faster."""
    verdicts = {}
    for captured in (4.0, 6.0, 50.0):
        one = samples(random.Random(1), changed=changed)
        decision = decide(replace(one, statement=replace(one.statement, mean_ms=captured)))
        verdicts[captured] = decision.verdict
        note = "captured calls took 4 ms, replayed ones 10 ms of CPU without the index: perhaps the application"
        assert (note in decision.explanation) == (captured == 4.0)
    assert verdicts == {4.0: "inconclusive", 6.0: "equivalent", 50.0: "equivalent"}


@pytest.mark.parametrize(("read", "verdict_"), [((100, 10.0), "inconclusive"), (None, "harmful")])
def test_dearer_writes_are_no_harm_while_no_read_was_measured(read: tuple[int, float] | None, verdict_: str) -> None:
    """The reads may gain a hundred times of what the writes lose."""
    generator = random.Random(4)
    dearer = (windows(generator, 0.1, 2), windows(generator, 0.3, 4))
    reads = [unreplayed_statement(*read)] if read else []
    decision = decide(*reads, writing=dearer)
    assert (decision.verdict, decision.worse_writes) == (verdict_, (77,))


def test_an_index_by_which_writes_find_their_rows_is_used() -> None:
    def written(ms: float, buffers: int) -> list[writes.Window]:
        return [
            writes.Window(1.0, {77: writes.Counter(50, 50 * ms * noise, 50 * buffers, 100, 0, 7000.0)})
            for noise in (1.0, 1.01, 0.99, 1.02, 0.98, 1.0)
        ]

    decision = decide(samples(random.Random(1), changed=False, calls=1), writing=(written(20, 900), written(0.1, 4)))
    assert decision.verdict == "improved", decision.explanation
    insert = decide(samples(random.Random(1), changed=False, calls=1), writing=(written(20, 4), written(0.1, 4)))
    assert insert.verdict == "equivalent"


@pytest.mark.parametrize(
    ("calls", "buffers", "verdict_"),
    [(5, 500, "improved"), (5, 760, "inconclusive"), (4, 1000, "improved"), (500, 2000, "inconclusive")],
)
def test_a_gain_that_the_application_does_not_have_is_none(calls: int, buffers: int, verdict_: str) -> None:
    """The replay reads 500 buffers instead of 1000."""
    generator = random.Random(1)
    reads = [
        effects.read_effect(samples(generator, ratio=0.5), 100, generator, live.Calls(calls, calls * buffers)),
        effects.read_effect(samples(generator, 2, ratio=0.5, calls=10), 100, generator),
    ]
    decision = verdict.decide(reads, (), verdict.Bounds())
    assert decision.verdict == verdict_, decision.explanation
    told = f"calls of the application meanwhile read {buffers} buffers each, replayed ones 500 instead of 1000"
    assert (told in decision.explanation) == (verdict_ == "inconclusive")
    # of little weight it decides nothing
    light = verdict.decide([replace(reads[0], load=0.1), reads[1]], (), verdict.Bounds())
    assert light.verdict == "improved"


def test_calls_are_counted_between_two_looks() -> None:
    first = {1: live.Calls(10, 100), 2: live.Calls(10, 100), 3: live.Calls(10, 100)}
    second = {1: live.Calls(15, 200), 2: live.Calls(3, 30), 3: live.Calls(10, 100), 4: live.Calls(7, 70)}
    assert live.between(first, second) == {1: live.Calls(5, 100)}


def test_an_unused_index_has_no_effect() -> None:
    decision = decide(samples(random.Random(8), changed=False, noise=0.6))
    assert (decision.performance_delta, decision.interval, decision.success_score) == (0.0, (0.0, 0.0), 0.0)
    assert decision.minimum_detectable_effect is None
    assert "(calls x CPU of the replay): no change" in decision.explanation


@pytest.mark.parametrize(("noise", "width"), [(0.02, 2), (0.5, 20)])
def test_a_statement_without_a_change_of_plan_adds_no_effect(noise: float, width: float) -> None:
    """Its noise tells how well its share of the cost is known."""
    changed = samples(random.Random(1), 1, ratio=0.2, calls=100)
    same = samples(random.Random(2), 2, ratio=1.4, calls=100, changed=False, noise=noise)
    decision = decide(changed, same)
    assert decision.performance_delta is not None
    assert decision.interval is not None
    without = decision.statements[1].cost
    expected = 80 * decision.statements[0].cost / (decision.statements[0].cost + without)
    assert decision.performance_delta == pytest.approx(expected, abs=1)
    assert width / 4 < decision.interval[1] - decision.interval[0] < width


def test_shares_of_the_explanation_are_the_weights_of_the_total() -> None:
    """Of the captured time it is a fifth, of what was measured nine tenths: its calls took less under that load."""
    heavy, light = samples(random.Random(1), 1, ratio=0.1, calls=900), samples(random.Random(2), 2, calls=100)
    heavy = replace(heavy, statement=replace(heavy.statement, mean_ms=2.5))
    light = replace(light, statement=replace(light.statement, mean_ms=90.0))
    decision = decide(heavy, light)
    assert "Statement 1 (90 % of that cost)" in decision.explanation


@pytest.mark.parametrize(
    ("log", "error", "told"),
    [
        (-0.5, 0.01, "-39.3 % (95 % interval -40.7 % to -38.0 %)"),
        (-0.5, 1.6, "0.607 times (95 % interval 0.0163 to 22.6 times)"),
        (3.0, 0.1, "20.1 times (95 % interval 16 to 25.2 times)"),
    ],
)
def test_figures_that_stand_together_have_one_unit(log: float, error: float, told: str) -> None:
    assert explain.ratio(statistics.Ratio(log, error, 9, 10)) == told


def test_a_slow_statement_leaves_time_for_those_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def run(_self: object, statement: ReplayStatement, number: int, arm: str, block: int, position: int) -> Run:
        clock[0] += statement.mean_ms / 1000
        return Run(block, position, number, arm, 1, 1.0, 1.0, "", 1, 0)

    monkeypatch.setattr(replay._Replay, "_run", run)
    sets = tuple((str(n),) for n in range(20))
    slow = ReplayStatement(1, sets, 79, 800.0)
    quick = ReplayStatement(2, sets, 168, 100.0)
    got = replay.replay(None, 0, [quick, slow], Budget(60, 10), clock=lambda: clock[0])  # type: ignore[arg-type]
    assert [(one.statement.statement_id, one.reason) for one in got] == [(1, None), (2, None)]
    assert clock[0] <= 60
    alone = replay.replay(None, 0, [slow], Budget(60, 10), clock=lambda: clock[0])  # type: ignore[arg-type]
    assert len(alone[0].runs) > len(got[0].runs) >= 40


def test_few_calls_of_a_write_are_reported_as_not_observed() -> None:
    generator = random.Random(4)
    (change,) = writes.compare(windows(generator, 1.0, 2)[:3], windows(generator, 1.0, 2))
    assert change.time is None
    assert change.reason is not None
    assert "not observed" in change.reason


def test_writes_that_nobody_called_take_one_sentence() -> None:
    quiet = [writes.Window(1.0, dict.fromkeys((1, 2), writes.Counter(0, 0.0, 0, 0, 0, 0.0)))] * 6
    told = decide(samples(random.Random(1), ratio=0.5), writing=(quiet, quiet)).explanation
    assert "2 write statements were not called meanwhile." in told
    assert "not observed" not in told


def test_a_single_parameter_set_speaks_for_itself_only() -> None:
    generator = random.Random(1)
    effect = effects.read_effect(samples(generator, ratio=0.5, sets=1), RESAMPLES, generator)
    assert effect.cpu_ratio is not None
    assert effect.cpu_ratio.units == 10
    assert effect.note is not None
    assert "one distinct parameter set" in effect.note


def test_blocks_of_one_parameter_set_are_one_unit() -> None:
    generator = random.Random(1)
    effect = effects.read_effect(samples(generator, ratio=0.5, sets=8), RESAMPLES, generator)
    assert effect.cpu_ratio is not None
    assert effect.cpu_ratio.units == 8


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_a_a_measurements_with_changed_plans_are_decided_in_at_most_five_per_cent(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans that differ and cost the same: only the statistics stand between this and a false verdict."""
    monkeypatch.setattr(statistics, "weighted_total", partial(statistics.weighted_total, draws=800))
    runs = 300
    decided = 0
    for seed in range(runs):
        generator = random.Random(seed)
        reads = [samples(generator, i, noise=noise, calls=100 * i) for i in (1, 2, 3)]
        observed = windows(generator, 1.0, 2), windows(generator, 1.0, 2)
        decided += decide(*reads, writing=observed).verdict in ("improved", "harmful")
    # 5 % plus three standard errors of 300 trials
    assert decided / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_block_count_follows_the_parameter_sets() -> None:
    def count(sets: int) -> int:
        statement = ReplayStatement(1, tuple((str(n),) for n in range(sets)), 1, 1.0)
        return replay.block_count(statement, Budget(60, 10))

    assert [count(n) for n in (1, 10, 15, 50)] == [10, 10, 15, 20]


def test_orders_are_balanced() -> None:
    for order in replay.ORDERS:
        assert order == order[::-1]
        assert order.count(WITHOUT) == order.count(WITH) == 2
