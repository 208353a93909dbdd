"""How much space and time a change takes, from sizes of the last ANALYZE and rates that the settings assume."""

from __future__ import annotations

from collections.abc import Mapping

from pg_architect.safety.judgement import Estimate
from pg_architect.safety.operation import BRIEF, BUILD, REWRITE, Operation

# Bytes of an index entry beside its key: item pointer and tuple header, filled to 90 % (nbtree/README).
_ENTRY_BYTES = 16
_KEY_BYTES = 8


def of(operation: Operation, settings: Mapping[str, float]) -> Estimate:
    """Space and duration of one operation; seconds None for a relation that was never analyzed and is not empty."""
    if operation.work == BRIEF:
        return Estimate()
    subject = operation.subject
    if subject is None or (subject.row["never_analyzed"] and not subject.rows and not subject.is_empty):
        return Estimate(None, None, "unknown: the table was never analyzed")
    if operation.facts.get("runs_query"):
        return Estimate(None, None, "unknown: it takes as long as its query")
    # Tables at the other end of foreign keys that are checked again are read, too.
    read = subject.bytes + sum(other.bytes for other in operation.facts.get("also_read", ()))
    scan = read / (1e6 * settings["scan_mb_per_second"])
    built = float(operation.facts.get("builds", 1)) * subject.rows
    sort = built / settings["build_rows_per_second"]
    rates = f"{settings['scan_mb_per_second']:g} MB/s read, {settings['build_rows_per_second']:g} index rows/s"
    if operation.work == BUILD:
        size = int(subject.rows * (_ENTRY_BYTES + _KEY_BYTES * int(operation.facts.get("keys", 1))))
        return Estimate(size, scan + sort, f"size at the last ANALYZE, assumed rates: {rates}")
    if operation.work == REWRITE:
        write = subject.bytes / (1e6 * settings["rewrite_mb_per_second"])
        sort = subject.rows * int(subject.row["indexes"]) / settings["build_rows_per_second"]
        rates = f"{rates}, {settings['rewrite_mb_per_second']:g} MB/s written"
        return Estimate(
            subject.bytes + int(subject.row["index_bytes"]),
            scan + write + sort,
            f"size at the last ANALYZE, assumed rates: {rates}",
        )
    return Estimate(0, scan, f"size at the last ANALYZE, assumed rate: {settings['scan_mb_per_second']:g} MB/s read")
