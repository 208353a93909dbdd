"""Replay of read-only statements with and without an index, in the executor's own session.

The switch is the server's own catalogue, changed inside a transaction that is always rolled back
(``architect._hide_index``), so that nobody else sees it. Runs alternate in ABBA blocks, which cancels linear drift
(Kohavi, Tang & Xu 2020, chapter 17, on interleaving; the design is Cochran & Cox's, 1957), and every second block
is mirrored, so that neither arm is always the first after the warm-up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pg_architect.core.db import Database, handled, row_json
from pg_architect.core.errors import QUERY_CANCELED, ArchitectError
from pg_architect.experiment.watch import Watch
from pg_architect.safety.sandbox import refusal

WITHOUT, WITH = "without", "with"
# How often a statement is begun again after others had to wait for it, and the pause before (seconds).
ATTEMPTS, PAUSE_SECONDS = 3, 2.0
ORDERS = ((WITHOUT, WITH, WITH, WITHOUT), (WITH, WITHOUT, WITHOUT, WITH))


@dataclass(frozen=True, slots=True)
class ReplayStatement:
    """A SELECT of ``architect.replay_statement`` with typical parameter sets; or the ``reason`` why it is not there.

    ``calls`` in ``calls_seconds`` and ``mean_ms`` (execution time per call) are those of the statistics.
    """

    statement_id: int
    parameter_sets: tuple[tuple[str | None, ...], ...]
    calls: int
    mean_ms: float
    reason: str | None = None
    calls_seconds: float = 1.0

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.calls_seconds

    @property
    def load(self) -> float:
        """Execution milliseconds per second of the workload."""
        return self.calls_per_second * self.mean_ms


@dataclass(frozen=True, slots=True)
class Budget:
    """``seconds`` for all statements together, shared by load; at least ``blocks`` for each, wherever they fit.

    Up to twice as many blocks with as many sets.
    """

    seconds: float
    blocks: int = 10


@dataclass(frozen=True, slots=True)
class Run:
    """One execution: ``block`` and ``position`` in it, ``parameter_set`` by number; times in milliseconds."""

    block: int
    position: int
    parameter_set: int
    arm: str
    buffers: int
    cpu_ms: float
    elapsed_ms: float
    plan_hash: str
    rows: int
    workers: int


@dataclass(frozen=True, slots=True)
class StatementSamples:
    """All runs of one statement, or none and the ``reason``."""

    statement: ReplayStatement
    runs: tuple[Run, ...]
    reason: str | None = None

    @property
    def plan_changed(self) -> bool:
        """Whether some parameter set was planned differently in the two arms."""
        plans: dict[int, dict[str, set[str]]] = {}
        for run in self.runs:
            plans.setdefault(run.parameter_set, {}).setdefault(run.arm, set()).add(run.plan_hash)
        return any(arms.get(WITHOUT) != arms.get(WITH) for arms in plans.values())


def replay(
    db: Database,
    index_oid: int,
    statements: Sequence[ReplayStatement],
    budget: Budget,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[StatementSamples]:
    """Measure each statement without and with the index; those that take the most time first.

    ``db`` is in a procedure that may roll back, as architect_executor, with nothing uncommitted: every run ends in
    a rollback. A statement that fails or does not fit into the budget is returned with the reason. A cancel ends all,
    unless ``watch`` tells why a watching session sent it: then only the statement is begun again or given up.
    """
    task = _Replay(db, index_oid, budget, clock() + budget.seconds, watch, clock)
    ordered = sorted(statements, key=lambda one: -one.load)
    loads = [0.0 if one.reason else one.load for one in ordered]
    return [task.measure(one, sum(loads[i + 1 :])) for i, one in enumerate(ordered)]


def block_count(statement: ReplayStatement, budget: Budget) -> int:
    """How many ABBA blocks: one for each parameter set within limits."""
    return max(budget.blocks, min(2 * budget.blocks, len(statement.parameter_sets)))


def _obstacle(statement: ReplayStatement, budget: Budget, seconds_left: float) -> str | None:
    if not statement.parameter_sets:
        return "no typical parameter values are known"
    warm_ups = min(len(statement.parameter_sets), block_count(statement, budget))
    # The change is expected to help: the statistics' mean is an upper guess for both arms.
    needed = (4 * budget.blocks + 2 * min(warm_ups, budget.blocks)) * statement.mean_ms / 1000
    return _too_long(needed, seconds_left) if needed > seconds_left else None


@dataclass(frozen=True, slots=True)
class _Replay:
    """What all statements of one replay have in common; ``deadline`` by ``clock``."""

    db: Database
    index_oid: int
    budget: Budget
    deadline: float
    watch: Watch | None
    clock: Callable[[], float]

    def measure(self, statement: ReplayStatement, later: float) -> StatementSamples:
        """``later``: the load of the statements still to come, which a part of the time is left for."""
        ended = None
        for attempt in range(ATTEMPTS):
            reason = statement.reason
            if not reason and self.watch:
                reason = self.watch.obstacle(statement.statement_id)
            reason = reason or _obstacle(statement, self.budget, self.deadline - self.clock())
            if reason:
                return StatementSamples(statement, (), ended or reason)
            if attempt > 0:
                self.db.query("select pg_sleep($1::float8)", PAUSE_SECONDS)
                self.db.rollback()
            try:
                return self._blocks(statement, later)
            except ArchitectError as exc:
                self.db.rollback()
                if handled(exc):
                    return StatementSamples(statement, (), refusal(exc))
                why = self.watch.interruption() if self.watch and exc.sqlstate == QUERY_CANCELED else None
                if why is None:
                    raise
                ended = f"a run of it was ended, because {why}"
        return StatementSamples(statement, (), ended)

    def _blocks(self, statement: ReplayStatement, later: float) -> StatementSamples:
        sets, least = statement.parameter_sets, self.budget.blocks
        runs: list[Run] = []
        begun = self.clock()
        part = statement.load / (statement.load + later) if later else 1.0
        fair = begun + part * (self.deadline - begun)
        for block in range(block_count(statement, self.budget)):
            number = block % len(sets)
            if block < len(sets):
                for arm in (WITHOUT, WITH):
                    self._run(statement, number, arm, block, -1)
                    if self.clock() > self.deadline:
                        return self._given_up(statement, (self.clock() - begun) * 2, begun)
            for position, arm in enumerate(ORDERS[block % 2]):
                runs.append(self._run(statement, number, arm, block, position))
            each = (self.clock() - begun) / (block + 1)
            missing = least - block - 1
            if missing > 0 and self.clock() + each * missing > self.deadline:
                return self._given_up(statement, each * least, begun)
            if missing <= 0 and self.clock() + each > fair:
                break
        return StatementSamples(statement, tuple(runs))

    def _given_up(self, statement: ReplayStatement, needed: float, begun: float) -> StatementSamples:
        return StatementSamples(statement, (), _too_long(needed, self.deadline - begun))

    def _run(self, statement: ReplayStatement, number: int, arm: str, block: int, position: int) -> Run:
        db = self.db
        # Catching an error of the statement needs the subtransaction; the rollback ends the switch in every case.
        with db.subtransaction():
            if arm == WITHOUT:
                _hide(db, self.index_oid)
            else:
                _hide_in_vain(db, self.index_oid)
            call = "select architect._replay_once($1, $2::integer)::text as run"
            row = db.query(call, statement.statement_id, number)[0]
        db.rollback()
        seen = row_json(row["run"])
        return Run(
            block,
            position,
            number,
            arm,
            seen["buffers"],
            seen["cpu_ms"],
            seen["elapsed_ms"],
            seen["plan_hash"],
            seen["rows"],
            seen["workers"],
        )


def _hide(db: Database, index_oid: int) -> None:
    db.query("select architect._hide_index($1::oid)", index_oid)


class _UndoneError(Exception):
    pass


def _hide_in_vain(db: Database, index_oid: int) -> None:
    """The same work as ``_hide``, undone: what it leaves in caches would else favour one arm (1.7 % of 0.1 ms)."""
    with contextlib.suppress(_UndoneError), db.subtransaction():
        _hide(db, index_oid)
        raise _UndoneError


def _too_long(needed: float, left: float) -> str:
    return f"replaying it would take about {needed:.0f} s, and {max(left, 0):.0f} s of replay_time_limit are left"
