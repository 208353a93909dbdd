"""The facts for and against an index in plain words: what is read, what it costs writes, what could go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_architect.advisor.candidates import Candidate
from pg_architect.advisor.size import BuildEstimate
from pg_architect.core.errors import ArchitectError
from pg_architect.core.identifier import shown
from pg_architect.core.words import counted
from pg_architect.findings.finding import percent
from pg_architect.telemetry import classify, predicates
from pg_architect.telemetry.examination import Examination, Examined
from pg_architect.telemetry.plans import Plan
from pg_architect.telemetry.statements import CapturedStatement
from pg_architect.telemetry.tables import Table

HOT_MATTERS = 0.1  # below this share of heap-only updates there is little to lose


@dataclass(frozen=True, slots=True)
class HelpedStatement:
    """A statement whose plan would use the index; costs are means over its parameter sets, in planner units."""

    statement_id: int
    cost_before: float
    cost_after: float
    share: float
    rows_read: float | None  # estimated, where its plan scans the table from end to end
    rows_per_call: float  # observed


@dataclass(frozen=True, slots=True)
class WriteCost:
    """What writes to the table pay; ``writes`` and ``reads`` are captured calls."""

    text: str
    writes: int
    reads: int
    loses_hot: bool

    @property
    def writes_per_read(self) -> float | None:
        return self.writes / self.reads if self.reads else None


def rows_read(plan: Plan, table: Table) -> float | None:
    """Rows that a plan reads by scanning the table from end to end, for all loops; None if it does not."""
    node = plan.sequential(table.schema_name, table.name)
    return None if node is None or node.loops is None or table.rows is None else table.rows * node.loops


def count(number: float) -> str:
    """A number for people: 1.2 million, 31, 0.4."""
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    if number >= 10 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.1 else f"{number:.2g}"


def duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.1f} ms" if ms >= 1 else f"{ms:.2g} ms"


def touching(seen: Examination, table: Table) -> tuple[int, ...]:
    return tuple(e.captured.statement_id for e in seen.examined if table.oid in e.relation_oids)


def ms_per_block(seen: Examination, table: Table) -> float | None:
    """Time per block of captured statements that do little else than scan this table; None if there are none."""
    rates = [
        item.captured.mean_ms / item.captured.blocks_per_call
        for item in seen.examined
        for node in [item.plans[0].sequential(table.schema_name, table.name) if item.plans else None]
        if node is not None
        and node.loops == 1
        and table.pages >= 100
        and 0.8 <= item.captured.blocks_per_call / table.pages <= 1.25
    ]
    return min(rates) if rates else None


def why(seen: Examination, candidate: Candidate, table: Table, helped: Sequence[HelpedStatement]) -> str:
    by_id = {e.captured.statement_id: e for e in seen.examined}
    facts = [_fact(by_id[h.statement_id], h, table) for h in sorted(helped, key=lambda h: -h.share)[:3]]
    if len(helped) > 3:
        facts.append(f"{counted(len(helped) - 3, 'more statement')} would use it.")
    if not helped:
        facts = [
            _fact(item, HelpedStatement(0, 0, 0, item.captured.share, read, item.captured.rows_per_call), table)
            for item in seen.examined
            if table.oid in item.relation_oids and item.plans and (read := rows_read(item.plans[0], table)) is not None
        ][:3]
    facts.append(_gap(candidate, table))
    return " ".join(facts)


def _fact(item: Examined, helped: HelpedStatement, table: Table) -> str:
    one = item.captured
    head = (
        f"Statement {one.statement_id} ({one.kind} on {', '.join(one.relations) or table.qualified_name}) takes "
        f"{percent(one.share)} of the statement time: {counted(count(one.calls), 'call')} of {duration(one.mean_ms)}."
    )
    returned = f"{'return' if one.kind == 'select' else 'write'} {count(one.rows_per_call)}"
    if helped.rows_read is not None:
        read = f"Each call reads {counted(count(helped.rows_read), 'row')} of {table.qualified_name} to {returned}"
    else:
        read = f"Each call touches {counted(count(one.blocks_per_call), 'block')} to {returned}"
    if helped.cost_before:
        read += f"; the planner's cost falls from {count(helped.cost_before)} to {count(helped.cost_after)}"
    return f"{head} {read}."


def _gap(candidate: Candidate, table: Table) -> str:
    first = candidate.columns[0]
    columns = [shown(column) for column in candidate.columns]
    names = " and ".join(columns) if len(columns) < 3 else ", ".join(columns)
    leading = [i.name for i in table.indexes if i.is_valid and i.columns and i.columns[0] == first]
    text = f"No valid index of {table.qualified_name} begins with {names}"
    text += f" ({', '.join(leading)} begins with {first} only)." if leading and len(candidate.columns) > 1 else "."
    if candidate.predicate is not None:
        rare = "NULL in" if candidate.predicate.value is None else "one rare value of"
        text += (
            f" By the rows that a call returns, the statements ask for {rare} {candidate.predicate.column}, found in "
            f"{percent(candidate.predicate.fraction)} of the rows: an index of just these rows is enough."
        )
    return text


def hypothesis(
    candidate: Candidate, table: Table, helped: Sequence[HelpedStatement], reduction: tuple[float, float, float] | None
) -> str:
    kind = "a partial B-tree" if candidate.predicate else "a B-tree"
    text = f"With {kind} on {table.qualified_name} ({', '.join(map(shown, candidate.columns))})"
    if reduction is None:
        return f"{text} the statements that filter or sort by it need not scan the table from end to end."
    low, middle, high = (percent(part) for part in reduction)
    spread = f" ({low} to {high})" if low != high else ""
    return (
        f"{text} {counted(len(helped), 'statement')} would read only the rows needed, and the "
        f"statements on the table would cost {middle} less{spread}."
    )


def prediction_basis(seen: Examination, helped: Sequence[HelpedStatement]) -> str:
    sets = {len(e.sets) for e in seen.examined if e.captured.statement_id in {h.statement_id for h in helped}}
    most = max(sets, default=0)
    return (
        "planner costs with a hypothetical index (HypoPG), each statement on the table weighted by its share of "
        f"statement time, over up to {most} typical parameter sets; the planner's own error is not in it"
    )


# risk and writes

ONLY_ORDERS = (
    "it is walked in order until enough rows fit: where they lie at the far end, that is slower than before, and the "
    "planner takes them to be spread evenly"
)


def only_orders(seen: Examination, candidate: Candidate) -> bool:
    """Whether no statement finds rows by its first column: it only hands them over in order."""
    return not any(
        use.use != predicates.ORDER
        for item in seen.examined
        for use in item.uses.columns
        if use.usable and use.relation_oid == candidate.relation_oid and use.column == candidate.columns[0]
    )


def write_cost(seen: Examination, candidate: Candidate, table: Table, is_partial: bool = False) -> WriteCost:
    """What writes to the table will pay, from captured statements and the table's own counters."""
    of_which = " for which the predicate holds" if is_partial or candidate.predicate else ""
    on_table = [s for s in seen.all if table.oid in s.relation_oids]
    writing = [s for s in on_table if s.written_oid == table.oid]
    reads = sum(s.calls for s in on_table if s.written_oid != table.oid)
    calls = sum(s.calls for s in writing)
    rows = sum(s.rows for s in writing)
    updates = [s for s in writing if s.kind == "update" and _sets(s) & _indexed(candidate)]
    hot = _loses_hot(table, updates)
    if not calls:
        text = f"No captured statement writes {table.qualified_name}"
        if table.inserted + table.updated + table.deleted:
            text += (
                f"; its own counters hold {counted(count(table.inserted), 'insert')}, "
                f"{counted(count(table.updated), 'update')} and {counted(count(table.deleted), 'delete')} since the "
                "statistics were reset"
            )
        return WriteCost(text + ".", 0, reads, False)
    share = sum(s.share for s in writing)
    text = (
        f"{counted(count(calls), 'captured call writes', 'captured calls write')} {counted(count(rows), 'row')} of "
        f"{table.qualified_name} ({percent(share)} of the statement time), against "
        f"{counted(count(reads), 'call that reads', 'calls that read')} it: each new row version{of_which} adds an "
        "entry to the index."
    )
    loses_hot = bool(hot) and table.hot_updated >= HOT_MATTERS * table.updated
    return WriteCost(text + hot, calls, reads, loses_hot)


def _loses_hot(table: Table, updates: Sequence[CapturedStatement]) -> str:
    if not updates or not table.hot_updated:
        return ""
    return (
        f" {counted(count(sum(s.calls for s in updates)), 'of these calls updates', 'of these calls update')} a column "
        "of the index: those updates cannot be "
        f"heap-only any more ({percent(table.hot_updated / max(table.updated, 1))} of the table's updates are now)."
    )


def _indexed(candidate: Candidate) -> set[str]:
    columns = set(candidate.columns)
    return columns | {candidate.predicate.column} if candidate.predicate else columns


def _sets(statement: CapturedStatement) -> frozenset[str]:
    if statement.text is None:
        return frozenset()
    try:
        return classify.written_columns(statement.text)
    except ArchitectError:
        return frozenset()  # it parsed when it was stored


def risk(candidate: Candidate, writes: WriteCost, build: BuildEstimate | None) -> tuple[str, str]:
    """low, medium or high, with the reason; an index never changes results, so the risk is for writes and load."""
    if writes.loses_hot:
        return "high", "updates of an indexed column lose the heap-only path"
    if writes.writes and not writes.reads:
        return "high", "the table is written and no captured statement reads it"
    if writes.writes_per_read is not None and writes.writes_per_read > 1:
        return "medium", f"the table is written {writes.writes_per_read:.1f} times as often as it is read"
    if build is not None and build.seconds > 600:
        return "medium", f"the build reads the table twice and takes about {build.seconds / 60:.0f} minutes"
    if candidate.predicate is not None and candidate.predicate.contains_literal:
        return "medium", "it serves one value only, and no plan that is made for all values (generic plans)"
    rate = (
        "is not written" if not writes.writes_per_read else f"is written {count(writes.writes_per_read)} times per read"
    )
    return "low", f"built without blocking writes, dropped at any time, and the table {rate}"


# nothing to propose


def reasons_for_nothing(seen: Examination, settings: Mapping[str, float]) -> list[str]:
    if not seen.all:
        return ["There are no statements yet: let the application run; pg_stat_statements may just have been reset."]
    if not seen.examined:
        least = percent(settings["min_share"])
        statements = counted(len(seen.all), "statement")
        return [f"None of {statements} takes {least} of the statement time: the load is spread evenly."]
    found = []
    for item in seen.examined:
        one = item.captured
        if item.reason and one.kind not in ("utility", "insert"):
            share = percent(one.share)
            found.append(f"Statement {one.statement_id} ({share} of the time) is not planned: {item.reason}.")
    tables = {oid: t for oid, t in seen.tables.items() if not t.is_system}
    found += [f"{t.qualified_name}: {t.unsupported}." for t in tables.values() if t.unsupported]
    unknown = [t for t in tables.values() if t.rows is None and not t.unsupported and t.kind == "r"]
    found += [f"{t.qualified_name} was never analysed: run ANALYZE." for t in unknown]
    fine = sum(1 for item in seen.examined if item.plans)
    if fine:
        these = f"{counted(fine, 'planned statement')} above {percent(settings['min_share'])} of the time"
        found.append(f"For {these} no index of up to three columns would save enough.")
    if not found:
        found.append("What takes the time are inserts of values and utility commands, which no index helps.")
    return found
