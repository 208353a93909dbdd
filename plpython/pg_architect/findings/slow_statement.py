"""A statement that takes a large share of the database's statement time, and what its plan shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pg_architect.core.words import counted
from pg_architect.findings.finding import Finding, percent, severity
from pg_architect.telemetry.examination import Examination, Examined
from pg_architect.telemetry.statements import CapturedStatement
from pg_architect.telemetry.tables import Table

RULE = "slow_statement"
# An index hands a row over for a handful of blocks. Who touches this many in all, and this many for each row, searches.
MANY_BLOCKS = 100
MANY_BLOCKS_A_ROW = 20
MATTERS_ROWS = 1000  # reading fewer is as quick as descending an index
LONG_CALL_MS = 100  # Nielsen (1993), chapter 5: up to here an answer feels instantaneous
MANY_CALLS = 10  # with fewer their number is not what makes it costly


def find(seen: Examination, _settings: Mapping[str, float]) -> Iterator[Finding]:
    for item in seen.examined:
        one = item.captured
        # What cannot be planned is the other rule's; an insert of values has no plan to look at.
        if one.kind == "utility" or one.kind == "unparsed" or (item.reason and one.kind != "insert"):
            continue
        scans = _scans(item, seen.tables)
        unindexed = _unindexed(item, seen.tables)
        level = severity(one.share)
        searches = bool(scans) or _searches(one)
        if not searches:
            level = "low"  # costly because it is called often; every table is reached through an index
        names = ", ".join(one.relations) or "no table"
        yield Finding(
            rule=RULE,
            key=str(one.statement_id),
            severity=level,
            title=f"{one.kind} on {names} takes {percent(one.share)} of the statement time",
            statement_id=one.statement_id,
            relation_oid=scans[0][0].oid if scans else next(iter(item.relation_oids), None),
            share=one.share,
            detail=_detail(item, scans, unindexed),
            evidence={
                "calls": one.calls,
                "total_ms": one.total_ms,
                "mean_ms": one.mean_ms,
                "rows_per_call": one.rows_per_call,
                "blocks_per_call": one.blocks_per_call,
                "rows_read": {t.qualified_name: rows for t, rows in scans},
                "columns_without_index": unindexed,
                "searches": searches,
            },
            remedy=_remedy(one, scans, unindexed, searches),
        )


def _searches(one: CapturedStatement) -> bool:
    """Whether it touches far more blocks than the rows that it returns would need."""
    return one.blocks_per_call >= max(MANY_BLOCKS, MANY_BLOCKS_A_ROW * one.rows_per_call)


def _scans(item: Examined, tables: Mapping[int, Table]) -> list[tuple[Table, float]]:
    """Tables that the plan scans from end to end, with the rows read per call; the biggest first."""
    if not item.plans:
        return []
    found = []
    for oid in item.relation_oids:
        table = tables.get(oid)
        node = item.plans[0].sequential(table.schema_name, table.name) if table else None
        read = table.rows * (node.loops or 1.0) if table and node and node.has_filter and table.rows else 0.0
        if table is not None and read >= MATTERS_ROWS:
            found.append((table, read))
    return sorted(found, key=lambda pair: -pair[1])


def _unindexed(item: Examined, tables: Mapping[int, Table]) -> list[str]:
    """Filter columns with which no valid index begins."""
    found = []
    for use in item.uses.columns:
        table = tables.get(use.relation_oid)
        if table is None or not use.usable or use.use not in ("equality", "range", "in_list", "join"):
            continue
        if not any(i.is_valid and i.columns[:1] == (use.column,) for i in table.indexes):
            found.append(f"{table.qualified_name}.{use.column}")
    return list(dict.fromkeys(found))


def _detail(item: Examined, scans: list[tuple[Table, float]], unindexed: list[str]) -> str:
    one = item.captured
    head = f"{counted(f'{one.calls:,}', 'call')} of {one.mean_ms:,.2f} ms by {one.role_name}"
    blocks = counted(f"{one.blocks_per_call:,.0f}", "block")
    parts = [f"{head}, {one.rows_per_call:,.1f} rows and {blocks} per call."]
    for table, rows in scans[:3]:
        parts.append(
            f"It scans {table.qualified_name} from end to end: about {rows:,.0f} rows read for "
            f"{one.rows_per_call:,.1f} {'returned' if one.kind == 'select' else 'written'}."
        )
    if unindexed and (scans or _searches(one)):
        parts.append(f"No index begins with {', '.join(unindexed)}.")
    if item.plans and not scans and _searches(one):
        parts.append("Its plan walks through an index and throws away most of what it finds.")
    elif item.plans and not scans:
        parts.append(f"Its plan filters no table of {MATTERS_ROWS:,} rows or more by scanning it from end to end.")
    return " ".join(parts)


def _remedy(one: CapturedStatement, scans: list[tuple[Table, float]], unindexed: list[str], searches: bool) -> str:
    blocked = [t for t, _ in scans if t.unsupported]
    if blocked:
        return f"{blocked[0].qualified_name}: {blocked[0].unsupported}."
    if searches and unindexed:
        return "An index may help: see the proposals of the improvement cycle."
    if searches:
        return "Look at the statement: its conditions cannot use the indexes that are there."
    if one.mean_ms >= LONG_CALL_MS or one.calls < MANY_CALLS:
        rows = counted(f"{one.rows_per_call:,.0f}", "row")
        return (
            f"No index would make it faster: a call takes {one.mean_ms:,.2f} ms and handles {rows}. Let a call handle "
            "fewer rows, or look at what else it does: sorting, functions, triggers, constraints."
        )
    return (
        f"No index would make it faster: a call takes {one.mean_ms:,.2f} ms, and {one.calls:,} calls add up. Fewer "
        "calls would help: fetch or write many rows with one statement instead of one row at a time, or keep what was "
        "read in the application."
    )
