"""A verdict in words a DBA would use. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pg_architect.core.words import counted
from pg_architect.experiment.effects import StatementEffect, WriteEffect, shares
from pg_architect.experiment.statistics import Ratio, Total

UNTOUCHED = "buffers and WAL per call did not change measurably: a difference in time is not the index's doing"
UNUSED = "the index was not used: no plan of any replayed statement changed in any parameter set"
TIMES = 10  # a change as large as this is told in times
NAMED = 3  # statements described one by one; the table has them all


def decision(
    because: str,
    total: Total | None,
    statements: Sequence[StatementEffect],
    writes: Sequence[WriteEffect],
    worse: Sequence[int],
    touched_writes: Sequence[int],
    worse_writes: Sequence[int],
) -> str:
    """The whole explanation: what decided, the figures, the statements, and what was not measured."""
    sentences = [because, *_not_measured(statements, writes)]
    if total:
        changed = "no change" if total.value == 1 else ratio(total)
        sentences.append(f"workload-weighted cost of the touched statements (calls x CPU of the replay): {changed}")
    if total and (least := total.minimum_detectable()):
        sentences.append(f"a reduction of {100 * (1 - least):.2g} % would have been found with 80 % power")
    touched = [one for one in writes if one.change.query_id in touched_writes]
    counted_cost = sum(one.cost for one in statements) + sum(one.cost for one in touched)
    sentences += _reads(statements, worse, counted_cost)
    sentences += [_write(one, one.change.query_id in worse_writes) for one in touched]
    untouched = [one for one in writes if one.change.time and one.change.query_id not in touched_writes]
    if untouched:
        sentences.append(f"{counted(len(untouched), 'write statement')}: {UNTOUCHED}")
    return ". ".join(one[0].upper() + one[1:] for one in sentences) + "."


def ratio(value: Ratio | Total) -> str:
    """For example "-38.1 % (95 % interval -41.0 to -35.0 %)"."""
    low, high = value.interval()
    most = max(value.value, high)
    from_low = _change(low, most).removesuffix(" times")
    return f"{_change(value.value, most)} (95 % interval {from_low} to {_change(high, most)})"


def regressed(statement_ids: Sequence[int], bound: float) -> str:
    """Names the statements that got worse."""
    names = ", ".join(str(one) for one in statement_ids)
    plural = "s" if len(statement_ids) > 1 else ""
    return f"statement{plural} {names} got worse, by significantly more than {100 * (bound - 1):g} %"


def unmeasured(one: StatementEffect, share: float) -> str:
    """Names a statement that should have been measured."""
    return f"statement {one.statement_id} with {100 * share:.0f} % of the touched time was not measured"


def _reads(statements: Sequence[StatementEffect], worse: Sequence[int], total: float) -> list[str]:
    """``total``: the cost that the total counts; the captured time may be shared out otherwise."""
    changed = [one for one in statements if one.cpu_ratio and one.plan_changed]
    changed.sort(key=lambda one: (one.statement_id not in worse, -one.load))
    told = [_read(one, one.cost / total if total else 0.0) for one in changed[: max(NAMED, len(worse))]]
    same = sum(1 for one in statements if one.cpu_ratio and not one.plan_changed)
    if same and changed:
        told.append(f"{counted(same, 'other replayed statement')} kept the same plan")
    return told


def _read(one: StatementEffect, share: float) -> str:
    cpu, buffers, elapsed = one.cpu_ms or (0, 0), one.buffers or (0, 0), one.elapsed_ms or (0, 0)
    told = (
        f"statement {one.statement_id} ({100 * share:.0f} % of that cost): CPU {cpu[0]:.3g} to {cpu[1]:.3g} ms, "
        f"{buffers[0]:.0f} to {buffers[1]:.0f} buffers, elapsed {elapsed[0]:.3g} to {elapsed[1]:.3g} ms per call"
    )
    return f"{told} [{one.note}]" if one.note else told


def _write(one: WriteEffect, worse: bool) -> str:
    change = one.change
    told = f"{one.label}: time per call {ratio(change.time)}" if change.time else ""
    for name, marked in (("WAL", change.wal_bytes), ("buffers", change.buffers)):
        if marked:
            told += f", {name} per call {_change(marked.value)}"
    if not worse:
        return told
    # The time may be too noisy to tell; then it is the WAL that told.
    return told + (
        ", significantly worse" if change.time and change.time.interval()[0] > 1 else ", significantly more WAL"
    )


def _not_measured(statements: Sequence[StatementEffect], writes: Sequence[WriteEffect]) -> list[str]:
    share = shares(statements)
    missing = sorted((one for one in statements if one.reason), key=lambda one: one.reason or "")
    told = []
    for reason, group in groupby(missing, key=lambda one: one.reason):
        ones = list(group)
        names = ", ".join(str(one.statement_id) for one in ones[:NAMED]) + (", ..." if len(ones) > NAMED else "")
        of_time = 100 * sum(share[one.statement_id] for one in ones)
        told.append(f"not measured: statement {names} ({of_time:.0f} % of the touched time): {reason}")
    unobserved = sorted((one for one in writes if one.change.reason), key=lambda one: one.change.reason or "")
    if quiet := sum(1 for one in unobserved if not one.change.calls):
        told.append(f"{counted(quiet, 'write statement was', 'write statements were')} not called meanwhile")
    for reason, silent in groupby((one for one in unobserved if one.change.calls), key=lambda one: one.change.reason):
        told.append(f"{', '.join(one.label for one in silent)}: {reason}")
    return told


def _change(value: float, most: float | None = None) -> str:
    """``most``: the largest of the figures that stand together, which are in one unit."""
    return f"{100 * (value - 1):+.1f} %" if (most or value) < TIMES else f"{value:.3g} times"
