"""The statements that matter, looked at closely: proof, column uses, typical parameters, plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pg_architect.core.db import Database
from pg_architect.safety import parse
from pg_architect.safety.sandbox import Author
from pg_architect.telemetry import name_resolution, parameters, plans, predicates, statements
from pg_architect.telemetry.classify import Proved, Prover
from pg_architect.telemetry.plans import Plan
from pg_architect.telemetry.predicates import Uses
from pg_architect.telemetry.statements import CapturedStatement
from pg_architect.telemetry.tables import Table, load_tables

NOTHING_USED = Uses((), {}, ())
NOTHING_ASKED: parameters.Asked = {}


@dataclass(frozen=True, slots=True)
class Examined:
    """One statement; ``text`` is what is planned: one proved, qualified query (the reading part of a write)."""

    captured: CapturedStatement
    text: str | None
    relation_oids: tuple[int, ...]
    uses: Uses
    types: tuple[str, ...]
    sets: tuple[tuple[str | None, ...], ...]
    basis: tuple[str, ...]
    plans: tuple[Plan, ...]  # one per set
    reason: str | None  # why there is no plan

    @property
    def author(self) -> Author:
        """Whose rights it is planned and run with."""
        return Author(self.captured.role_oid, self.relation_oids)


@dataclass(frozen=True, slots=True)
class Examination:
    snapshot_id: int
    examined: tuple[Examined, ...]
    all: tuple[CapturedStatement, ...]
    tables: Mapping[int, Table]


def examine(
    db: Database, snapshot_id: int, settings: Mapping[str, float], since: Mapping[int, int] | None = None
) -> Examination:
    """Look closely at the statements above the share, the costliest first; ``since`` as in ``captured``."""
    everything = statements.captured(db, snapshot_id, since)
    limit = int(settings["max_analysed_statements"])
    chosen = [s for s in everything if s.share >= settings["min_share"]][:limit]
    proved = _prove(db, chosen)
    # Writes matter for the tables that are read, so every table of the workload's chosen part is loaded.
    oids = [r.oid for proof in proved for r in proof.relations]
    tables = load_tables(db, oids)
    looked = []
    for one, proof in zip(chosen, proved, strict=True):
        db.query("select 1")  # drawing parameters computes: a cancel is seen between two statements
        looked.append(_examined(db, one, proof, tables, int(settings["parameter_sets"])))
    ready = [e for e in looked if e.text and e.reason is None]
    planned = {e.captured.statement_id: plans.explain(db, e.text or "", e.sets, e.author) for e in ready}
    with_plans = []
    for item in looked:
        answer = planned.get(item.captured.statement_id)
        if answer is not None:
            item = replace(item, plans=answer.plans, reason=answer.reason)
        with_plans.append(item)
    return Examination(snapshot_id, tuple(with_plans), tuple(everything), tables)


def parameter_sets(
    db: Database, captured: CapturedStatement, count: int, asked: parameters.Asked = NOTHING_ASKED
) -> Examined:
    """A statement proved anew with up to ``count`` typical parameter sets and those for ``asked``, not planned."""
    proof = _prove(db, [captured])[0]
    tables = load_tables(db, [r.oid for r in proof.relations])
    return asking(_examined(db, captured, proof, tables, count), asked)


def asking(item: Examined, asked: parameters.Asked) -> Examined:
    """The statement with sets that ask for these values as well."""
    return replace(item, sets=parameters.with_asked(item.sets, item.uses, item.types, asked))


def _prove(db: Database, chosen: list[CapturedStatement]) -> list[Proved]:
    prover = Prover(db)
    found = []
    for one in chosen:
        if one.text is None:
            found.append(Proved((), None, one.reason or "its text is not kept"))
        else:
            found.append(prover.prove(one.text, one.role_name))
    return found


def _examined(
    db: Database, captured: CapturedStatement, proof: Proved, tables: Mapping[int, Table], count: int
) -> Examined:
    oids = tuple(r.oid for r in proof.relations)
    empty = Examined(captured, proof.text, oids, NOTHING_USED, (), (), (), (), proof.reason)
    if proof.text is None:
        return empty
    known = {
        (r.schema, r.name): name_resolution.Relation(r.oid, frozenset(tables[r.oid].columns))
        for r in proof.relations
        if r.oid in tables
    }
    uses = predicates.column_uses(parse.parse_one(proof.text), known)
    types, reason = plans.parameter_types(db, proof.text, empty.author)
    if reason is not None:
        return replace(empty, uses=uses, reason=reason)
    observed = parameters.Observed(captured.rows_per_call, parameters.utc_now())
    typical = parameters.typical_sets(uses, types, tables, observed, count, captured.statement_id)
    return replace(empty, uses=uses, types=types, sets=typical.sets, basis=typical.basis, reason=typical.reason)
