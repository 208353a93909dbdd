"""How big a B-tree will be and how long its build takes.

HypoPG's estimate ignores deduplication and can be several times too high. This one follows nbtsort.c and nbtdedup.c
(PostgreSQL 13 and later): leaf pages filled to 90 %, equal keys in posting lists of at most a tenth of a page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pg_architect.advisor.candidates import Candidate
from pg_architect.telemetry.tables import Column, Table

BLOCK = 8192
LEAF_BYTES = (BLOCK - 24 - 16) * 0.9  # page header, special space, default fillfactor
TUPLE_HEADER = 8
LINE_POINTER = 4
HEAP_TID = 6
POSTING_BYTES = 816 - LINE_POINTER  # MAXALIGN_DOWN(BLCKSZ * 10 / 100) - sizeof(ItemIdData)
# Types whose equal values may differ in their bytes are never deduplicated (BTEQUALIMAGE_PROC).
NOT_DEDUPLICATED = ("numeric", "real", "double precision", "jsonb")
_ALIGNMENT = {"c": 1, "s": 2, "i": 4, "d": 8}


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    bytes: int
    basis: str


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    seconds: float
    basis: str


def estimate_size(
    candidate: Candidate, table: Table, *, deduplicates: bool = True, tells_keys: bool = True
) -> SizeEstimate:
    """Size of the index; an assumption is that the columns of a key are independent.

    ``tells_keys``: whether the basis may say how many rows share a key, a fact of the columns.
    """
    columns = [table.columns[name] for name in candidate.columns]
    rows = (table.rows or 0.0) * (candidate.predicate.fraction if candidate.predicate else 1.0)
    entry = _aligned(TUPLE_HEADER + _key_bytes(columns), 8)
    distinct = min(math.prod(c.distinct(rows) for c in columns), max(rows, 1.0))
    if candidate.predicate is not None and candidate.predicate.column in candidate.columns:
        distinct = min(distinct, 1.0) if len(columns) == 1 else distinct
    group = rows / distinct if distinct else 0.0
    if not deduplicates or any(c.type.startswith(NOT_DEDUPLICATED) for c in columns) or group < 1.5:
        total = rows * (entry + LINE_POINTER)
        how = "no deduplication"
    else:
        per_posting = max((POSTING_BYTES - entry) // HEAP_TID, 1)
        postings = distinct * math.ceil(group / per_posting)
        total = postings * (entry + LINE_POINTER) + rows * HEAP_TID
        how = f"deduplicated, about {group:,.0f} rows per key"
    leaves = max(math.ceil(total / LEAF_BYTES), 1)
    inner = math.ceil(leaves * (entry + LINE_POINTER) / LEAF_BYTES) if leaves > 1 else 0
    basis = f"pg_stats widths and distinct values, {rows:,.0f} rows"
    return SizeEstimate((1 + leaves + inner) * BLOCK, f"{basis}, {how}" if tells_keys else basis)


def _key_bytes(columns: Sequence[Column]) -> int:
    total = 0
    for column in columns:
        # A short varlena has no alignment.
        if column.length > 0:
            total = _aligned(total, _ALIGNMENT.get(column.alignment, 8))
        total += column.width
    return total


def _aligned(size: int, to: int) -> int:
    return (size + to - 1) // to * to


def estimate_build(table: Table, rows: float, ms_per_block: float | None, rows_per_second: float) -> BuildEstimate:
    """A concurrent build scans the table twice and sorts the entries once.

    ``ms_per_block`` comes from a statement that scans the same table on this server; without it only the assumed
    rate counts, and the basis says so.
    """
    scanned = 2 * (table.rows or 0.0)
    assumed = f"assumption: {rows_per_second:,.0f} rows/s"
    if ms_per_block is None:
        seconds = (scanned + rows) / rows_per_second
        work = f"two scans of {table.pages:,} blocks and a sort of {rows:,.0f} entries"
        return BuildEstimate(seconds, f"{work}; {assumed}")
    seconds = 2 * table.pages * ms_per_block / 1000 + rows / rows_per_second
    return BuildEstimate(
        seconds,
        f"two scans of {table.pages:,} blocks at {ms_per_block * 1000:,.1f} us per block, as captured statements scan "
        f"it, and a sort of {rows:,.0f} entries; {assumed}",
    )
