"""The figures of an index that a person asks for: the same as of one that the advisor finds (``recommend``).

What cannot be had is None, and the text beside it says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pg_architect.advisor import describe, recommend, size, what_if
from pg_architect.advisor.candidates import Candidate, Key, Predicate
from pg_architect.advisor.describe import WriteCost
from pg_architect.advisor.recommend import Effect, IndexRecommendation
from pg_architect.advisor.size import BuildEstimate, SizeEstimate
from pg_architect.core.db import Database
from pg_architect.core.words import counted
from pg_architect.findings.finding import percent
from pg_architect.safety import parse
from pg_architect.safety.index_statement import CreateIndex, definition, read_statement
from pg_architect.safety.sandbox import Author
from pg_architect.telemetry import parameters, plans
from pg_architect.telemetry.classify import Prover
from pg_architect.telemetry.examination import Examination, asking
from pg_architect.telemetry.tables import Table, load_tables


@dataclass(frozen=True, slots=True)
class Request:
    """A judged statement, the table that it means, whose rights tell what is in the table, and their reason."""

    statement: str
    revert_statement: str
    relation_oid: int
    role_oid: int
    role_name: str
    reason: str


class _NotEstimated(Exception):  # noqa: N818  not an error: an estimate that cannot be had, with its reason
    pass


def estimate(
    db: Database, request: Request, seen: Examination | None, lack: str | None, settings: Mapping[str, float]
) -> IndexRecommendation:
    """Estimate for the workload that was seen; without one ``lack`` says why there is none."""
    wanted = read_statement(parse.parse_one(request.statement))
    assert isinstance(wanted, CreateIndex)  # noqa: S101  the gate judged it
    table = load_tables(db, [request.relation_oid])[request.relation_oid]
    if seen is not None:
        seen = replace(seen, tables={**seen.tables, table.oid: table})
    keys = tuple(Key(k.column, k.descending, k.nulls_first) for k in wanted.keys)
    candidate, fraction = Candidate(table.oid, keys), None
    try:
        fraction = _fraction(db, request, wanted, table)
        stored = replace(candidate, keys=(*keys, *map(Key, wanted.included)))
        sized = _size(stored, wanted, table, fraction, _may_read(db, request, stored))
        built = _build(seen, table, fraction, settings)
        candidate = replace(candidate, predicate=_one_value(wanted, fraction))
        unknown = ""
    except _NotEstimated as exc:
        sized, built, unknown = None, None, str(exc)
    not_estimated = f"size and build time are not estimated: {unknown}"
    try:
        if wanted.predicate and fraction is None:
            # Whether the planner would use the index tells as much of what is in the table as its size.
            raise _NotEstimated(unknown)
        found, basis = _effect(db, request, candidate, table, seen, lack, settings)
    except _NotEstimated as exc:
        found, basis = None, f"{exc}, so nothing is predicted"
    named = (*keys, *map(Key, (*wanted.included, *(c.column for c in wanted.predicate))))
    writes = (
        None
        if seen is None
        else describe.write_cost(seen, replace(candidate, keys=named), table, bool(wanted.predicate))
    )
    risk, risk_reason = _risk(seen, candidate, found, writes, built)
    reduction = found.reduction if found else None
    return IndexRecommendation(
        relation_oid=table.oid,
        schema_name=table.schema_name,
        relation_name=table.name,
        index_name=wanted.name,
        columns=candidate.columns,
        predicate=_predicate(request.statement),
        statement=request.statement,
        revert_statement=request.revert_statement,
        contains_literal=any(condition.constants for condition in wanted.predicate),
        helped=found.helped if found else (),
        touched=found.touched if found else (),
        reduction_percent=None if reduction is None else 100 * reduction[1],
        reduction_low=None if reduction is None else 100 * reduction[0],
        reduction_high=None if reduction is None else 100 * reduction[2],
        prediction_basis=basis,
        time_saved_share=found.saved_share if found else None,
        size_bytes=sized.bytes if sized else None,
        size_basis=sized.basis if sized else not_estimated,
        build_seconds=built.seconds if built else None,
        build_basis=built.basis if built else not_estimated,
        write_cost=writes.text if writes else f"Not estimated: {lack}.",
        writes_per_read=writes.writes_per_read if writes else None,
        loses_hot_updates=writes.loses_hot if writes else None,
        why=request.reason,
        hypothesis=request.reason,
        risk=risk,
        risk_reason=risk_reason,
    )


def _predicate(statement: str) -> str | None:
    where, query = parse.parse_one(statement).whereClause, parse.parse_one("select 1")
    query.whereClause = where  # only whole statements are written back
    return None if where is None else parse.deparse(query).removeprefix("SELECT 1 WHERE ")


def _fraction(db: Database, request: Request, wanted: CreateIndex, table: Table) -> float:
    """The part of the table's rows that the predicate keeps, as the planner expects it."""
    if table.rows is None:
        raise _NotEstimated(f"{table.qualified_name} was never analysed, run ANALYZE")
    if not wanted.predicate or not table.rows:
        return 1.0
    tree, query = parse.parse_one(request.statement), parse.parse_one("select 1")
    query.fromClause, query.whereClause = (tree.relation,), tree.whereClause
    # It would tell what is in the table, and planning must run nobody's code: as for a statement that they ran.
    proved = Prover(db).prove(parse.deparse(query), request.role_name)
    planned = plans.Planned((), proved.reason)
    if proved.text is not None:
        planned = plans.explain(db, proved.text, ((),), Author(request.role_oid, (table.oid,)))
    if not planned.plans:
        asked = f"how many rows the predicate keeps is asked with the rights of {request.role_name}"
        raise _NotEstimated(f"{asked}: {planned.reason}")
    return min(planned.plans[0].rows / table.rows, 1.0)


def _may_read(db: Database, request: Request, stored: Candidate) -> bool:
    """Whether who asks may read all these columns."""
    query = """select pg_catalog.bool_and(pg_catalog.has_column_privilege($1::oid, $2::oid, name, 'select')) as may
                 from pg_catalog.unnest($3::text[]) as name"""
    return bool(db.query(query, request.role_oid, request.relation_oid, list(stored.columns))[0]["may"])


def _size(stored: Candidate, wanted: CreateIndex, table: Table, fraction: float, may_read: bool) -> SizeEstimate:
    """``stored``: all columns that are kept in the index. As of an index on a table of just these rows."""
    unknown = [name for name in stored.columns if not table.columns[name].has_statistics]
    if unknown:
        columns = ", ".join(f"{table.qualified_name}.{name}" for name in unknown)
        raise _NotEstimated(f"there are no statistics of {columns}, run ANALYZE")
    kept = replace(table, rows=(table.rows or 0.0) * fraction)
    # Included columns forbid it (_bt_allequalimage of nbtutils.c).
    return size.estimate_size(stored, kept, deduplicates=not wanted.included, tells_keys=may_read)


def _build(seen: Examination | None, table: Table, fraction: float, settings: Mapping[str, float]) -> BuildEstimate:
    pace = describe.ms_per_block(seen, table) if seen else None
    return size.estimate_build(table, (table.rows or 0.0) * fraction, pace, settings["build_rows_per_second"])


def _one_value(wanted: CreateIndex, fraction: float) -> Predicate | None:
    """The predicate if it is of the only form that the advisor itself proposes."""
    if len(wanted.predicate) != 1 or wanted.predicate[0].operator not in ("=", "IS NULL"):
        return None
    (condition,) = wanted.predicate
    return Predicate(condition.column, condition.constants[0].text if condition.constants else None, fraction)


def _effect(
    db: Database,
    request: Request,
    candidate: Candidate,
    table: Table,
    seen: Examination | None,
    lack: str | None,
    settings: Mapping[str, float],
) -> tuple[Effect, str]:
    """What the planner says, and what that rests on."""
    if seen is None or (lack := what_if.missing(db)):
        raise _NotEstimated(lack)
    # Who asks for an index on one value knows that it is asked for.
    predicate = _predicate(request.statement)
    asked = parameters.asked_in(predicate, table) if predicate else {}
    seen = replace(seen, examined=tuple(asking(item, asked) for item in seen.examined))
    touching = [item for item in seen.examined if table.oid in item.relation_oids]
    planned = [item for item in touching if item.plans and item.text]
    if not touching:
        least = percent(settings["min_share"])
        raise _NotEstimated(f"no statement with at least {least} of the statement time touches {table.qualified_name}")
    failed = {item.captured.statement_id: item.reason for item in touching if item not in planned}
    answers = recommend.ask(db, planned, [candidate], [definition(request.statement)], (), [0])
    if answers.refused:
        raise _NotEstimated(f"HypoPG does not take this index: {answers.refused[0]}")
    failed |= answers.failed
    touch = f"{counted(len(touching), 'statement touches', 'statements touch')} {table.qualified_name}"
    if len(failed) == len(touching):
        number, why = next(iter(failed.items()))
        raise _NotEstimated(f"{touch}, and none could be planned (statement {number}: {why})")
    found = recommend.effect(seen, candidate, answers, (), (0,))
    if found.helped:
        return found, describe.prediction_basis(seen, found.helped)
    if failed:
        number, why = next(iter(failed.items()))
        these = f"{len(failed)} of them could not be planned (statement {number}: {why})"
        raise _NotEstimated(f"{touch}; {these}, and no plan of the others would use it")
    return found, f"no plan would use it, by the planner with a hypothetical index (HypoPG): {touch}"


def _risk(
    seen: Examination | None,
    candidate: Candidate,
    found: Effect | None,
    writes: WriteCost | None,
    built: BuildEstimate | None,
) -> tuple[str, str]:
    if seen is None or writes is None:
        return "medium", "how often the table is written is not known"
    if found and found.helped and describe.only_orders(seen, candidate):
        return "high", describe.ONLY_ORDERS
    return describe.risk(candidate, writes, built)
