"""Which index helps the workload most: candidates, what-if plans, choice, and the facts that speak for and against."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pg_architect.advisor import candidates, describe, naming, size, what_if
from pg_architect.advisor.candidates import Candidate
from pg_architect.advisor.describe import HelpedStatement, WriteCost
from pg_architect.advisor.what_if import Question, WhatIf
from pg_architect.core.db import Database
from pg_architect.safety.index_statement import definition
from pg_architect.telemetry.examination import Examination, Examined, examine

EQUAL_BENEFIT = 0.98  # of two candidates whose benefits differ by less than the planner can tell, the smaller one


@dataclass(frozen=True, slots=True)
class IndexRecommendation:
    relation_oid: int
    schema_name: str
    relation_name: str
    index_name: str
    columns: tuple[str, ...]
    predicate: str | None
    statement: str
    revert_statement: str
    contains_literal: bool
    helped: tuple[HelpedStatement, ...]
    touched: tuple[int, ...]
    reduction_percent: float | None
    reduction_low: float | None
    reduction_high: float | None
    prediction_basis: str
    time_saved_share: float | None
    size_bytes: int | None
    size_basis: str
    build_seconds: float | None
    build_basis: str
    write_cost: str
    writes_per_read: float | None
    loses_hot_updates: bool | None
    why: str
    hypothesis: str
    risk: str
    risk_reason: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What the planner says of one configuration on the statements that touch a table."""

    saved_share: float  # of database time, if time follows cost
    helped: tuple[HelpedStatement, ...]
    touched: tuple[int, ...]
    reduction: tuple[float, float, float]  # of the touched statements' cost: low, middle, high; 0 to 1


def recommend(
    db: Database,
    snapshot_id: int,
    max_changes: int,
    settings: Mapping[str, float],
    examination: Examination | None = None,
    excluded: Collection[str] = (),
    assumed: Collection[str] = (),
) -> list[IndexRecommendation]:
    """The best indexes for the workload of a snapshot, best first; each judged with those before it in place.

    ``excluded``: definitions (``index_statement.definition``) that must not be proposed; ``assumed``: those that may
    soon be there, beside which the others are judged.
    """
    seen = examination or examine(db, snapshot_id, settings)
    named = [
        (one, definition(naming.create_statement(one, seen.tables[one.relation_oid])))
        for one in candidates.generate(seen.examined, seen.tables, settings["rare_value_fraction"])
    ]
    base = [one for one, name in named if name in assumed]
    pool = [*base, *(one for one, name in named if name not in excluded and name not in assumed)]
    if len(pool) == len(base) or max_changes < 1:
        return []
    lack = what_if.missing(db)
    if lack is not None:
        chosen: list[tuple[Candidate, Effect | None]] = [
            (c, None) for c in _unjudged(seen, pool[len(base) :])[:max_changes]
        ]
    else:
        chosen = list(_choose(db, seen, pool, len(base), max_changes, settings))
    described: list[IndexRecommendation] = []
    for candidate, found in chosen:
        one = _described(db, seen, candidate, found, settings, lack)
        beside = [other.index_name for other in described if other.relation_oid == one.relation_oid]
        if beside and found:
            one = replace(
                one, prediction_basis=f"{one.prediction_basis}; beside {', '.join(beside)}, proposed before it"
            )
        described.append(one)
    return described


def explain_nothing(
    examination: Examination, recommendations: Sequence[IndexRecommendation], settings: Mapping[str, float]
) -> list[str]:
    """Why there is nothing to propose, in sentences; empty when there is a recommendation."""
    if recommendations:
        return []
    return describe.reasons_for_nothing(examination, settings)


def _choose(
    db: Database,
    seen: Examination,
    pool: Sequence[Candidate],
    assumed: int,
    max_changes: int,
    settings: Mapping[str, float],
) -> list[tuple[Candidate, Effect]]:
    """Greedy: what saves most, then what saves most beside it; the first ``assumed`` of the pool are there already."""
    statements = [naming.create_statement(c, seen.tables[c.relation_oid]) for c in pool]
    planned = [e for e in seen.examined if e.plans and e.text]
    base: tuple[int, ...] = tuple(range(assumed))
    chosen: list[tuple[Candidate, Effect]] = []
    open_positions = list(range(assumed, len(pool)))
    while open_positions and len(chosen) < max_changes:
        answers = ask(db, planned, pool, statements, base, open_positions)
        effects = {
            position: effect(seen, pool[position], answers, base, (*base, position))
            for position in open_positions
            if position not in answers.refused
        }
        worth = {
            position: found
            for position, found in effects.items()
            if found.saved_share >= settings["min_share"]
            and _best_reduction(found) >= settings["min_reduction"]
            and found.reduction[0] > 0  # some statement gains whatever its parameters are
        }
        if not worth:
            break
        best = _best(worth, pool, seen)
        chosen.append((pool[best], worth[best]))
        base = (*base, best)
        # What is worth nothing alone is worth nothing beside another one, but for joins; those come with the next run.
        open_positions = [p for p in worth if p != best]
    return chosen


def _best(worth: Mapping[int, Effect], pool: Sequence[Candidate], seen: Examination) -> int:
    most = max(found.saved_share for found in worth.values())
    close = [position for position, found in worth.items() if found.saved_share >= most * EQUAL_BENEFIT]

    def preference(position: int) -> tuple[bool, float, bool, int, tuple[str, ...]]:
        candidate = pool[position]
        estimate = size.estimate_size(candidate, seen.tables[candidate.relation_oid])
        # A partial index must be clearly smaller to be worth its dependence on one value.
        weight = 4.0 if candidate.predicate else 1.0
        return (
            describe.only_orders(seen, candidate),
            estimate.bytes * weight,
            candidate.predicate is not None,
            len(candidate.keys),
            candidate.columns,
        )

    return min(close, key=preference)


def _best_reduction(found: Effect) -> float:
    return max((1 - h.cost_after / h.cost_before for h in found.helped if h.cost_before > 0), default=0.0)


def ask(
    db: Database,
    planned: Sequence[Examined],
    pool: Sequence[Candidate],
    statements: Sequence[str],
    base: tuple[int, ...],
    positions: Sequence[int],
) -> WhatIf:
    """Plan the statements without any index, with those of ``base``, and with each of ``positions`` beside these."""
    questions = []
    for item in planned:
        touching = [p for p in positions if pool[p].relation_oid in item.relation_oids]
        if touching:
            configurations = tuple(dict.fromkeys(((), base, *((*base, p) for p in touching))))
            questions.append(
                Question(item.captured.statement_id, item.text or "", item.sets, configurations, item.author)
            )
    return what_if.ask(db, questions, statements)


def effect(
    seen: Examination, candidate: Candidate, answers: WhatIf, base: tuple[int, ...], tried: tuple[int, ...]
) -> Effect:
    """Compare two configurations over the examined statements that touch the candidate's table.

    Cost stands for time within one statement only: each statement counts with its share of database time.
    """
    saved = low = high = total = 0.0
    helped = []
    touched = []
    table = seen.tables[candidate.relation_oid]
    for item in seen.examined:
        if candidate.relation_oid not in item.relation_oids:
            continue
        one = item.captured
        touched.append(one.statement_id)
        total += one.share
        before, after = answers.answers.get((one.statement_id, base)), answers.answers.get((one.statement_id, tried))
        # Time was observed without any of the chosen indexes, so that is the cost that it stands for.
        observed = answers.answers.get((one.statement_id, ()))
        if not before or not after or not observed:
            continue
        costs = [
            (o[0].cost, b[0].cost, a[0].cost, tried[-1] in a[1])
            for o, b, a in zip(observed, before, after, strict=True)
            if o[0].cost > 0
        ]
        cost_observed, cost_before, cost_after = (sum(c[i] for c in costs) / max(len(costs), 1) for i in range(3))
        if not any(used for *_, used in costs) or cost_after >= cost_before:
            continue
        # Costs, not ratios, are averaged: a set that is cheap either way weighs little in the total time.
        saved += one.share * (cost_before - cost_after) / cost_observed
        gains = [(b - a) / o for o, b, a, _ in costs]
        low += one.share * min(gains)
        high += one.share * max(gains)
        read = describe.rows_read(before[0][0], table)
        helped.append(HelpedStatement(one.statement_id, cost_before, cost_after, one.share, read, one.rows_per_call))
    scale = total or 1.0
    return Effect(
        saved, tuple(helped), tuple(touched), (min(low, saved) / scale, saved / scale, max(high, saved) / scale)
    )


def _unjudged(seen: Examination, pool: Sequence[Candidate]) -> list[Candidate]:
    """Without a what-if: candidates of statements that scan the table from end to end, by those statements' share."""

    def score(candidate: Candidate) -> float:
        table = seen.tables[candidate.relation_oid]
        total = 0.0
        for item in seen.examined:
            scanned = any(plan.sequential(table.schema_name, table.name) for plan in item.plans)
            used = {u.column for u in item.uses.columns if u.usable and u.relation_oid == table.oid}
            if scanned and candidate.columns[0] in used and candidate.predicate is None:
                total += item.captured.share
        return total

    ranked = sorted(((score(c), -len(c.keys), c) for c in pool), key=lambda entry: entry[:2], reverse=True)
    return [c for found, _, c in ranked if found > 0]


def _described(
    db: Database,
    seen: Examination,
    candidate: Candidate,
    found: Effect | None,
    settings: Mapping[str, float],
    lack: str | None,
) -> IndexRecommendation:
    table = seen.tables[candidate.relation_oid]
    name = naming.free_name(db, candidate, table)
    statement, predicate = naming.concurrent_statement(db, candidate, table, name)
    estimate = size.estimate_size(candidate, table)
    entries = (table.rows or 0.0) * (candidate.predicate.fraction if candidate.predicate else 1.0)
    build = size.estimate_build(table, entries, describe.ms_per_block(seen, table), settings["build_rows_per_second"])
    writes = describe.write_cost(seen, candidate, table)
    risk, risk_reason = describe.risk(candidate, writes, build)
    if describe.only_orders(seen, candidate):
        risk, risk_reason = "high", describe.ONLY_ORDERS
    reduction = found.reduction if found else None
    return IndexRecommendation(
        relation_oid=table.oid,
        schema_name=table.schema_name,
        relation_name=table.name,
        index_name=name,
        columns=candidate.columns,
        predicate=predicate,
        statement=statement,
        revert_statement=naming.drop_statement(db, table, name),
        contains_literal=bool(candidate.predicate and candidate.predicate.contains_literal),
        helped=found.helped if found else (),
        touched=found.touched if found else describe.touching(seen, table),
        reduction_percent=None if reduction is None else 100 * reduction[1],
        reduction_low=None if reduction is None else 100 * reduction[0],
        reduction_high=None if reduction is None else 100 * reduction[2],
        prediction_basis=describe.prediction_basis(seen, found.helped) if found else f"{lack}, so nothing is predicted",
        time_saved_share=found.saved_share if found else None,
        size_bytes=estimate.bytes,
        size_basis=estimate.basis,
        build_seconds=build.seconds,
        build_basis=build.basis,
        write_cost=writes.text,
        writes_per_read=writes.writes_per_read,
        loses_hot_updates=writes.loses_hot,
        why=describe.why(seen, candidate, table, found.helped if found else ()),
        hypothesis=describe.hypothesis(candidate, table, found.helped if found else (), reduction),
        risk=risk,
        risk_reason=risk_reason,
    )


__all__ = ["HelpedStatement", "IndexRecommendation", "WriteCost", "explain_nothing", "recommend"]
