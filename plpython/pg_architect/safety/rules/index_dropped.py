"""Counters are of this server and since their last reset only: a replica or a yearly job may need the index. A
unique index is also a constraint on the data.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

KINDS = frozenset({"drop_index", "drop_index_concurrently"})


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides, with the number of scans."""
    if operation.kind in KINDS and "scans" in operation.facts:
        scans, unique = operation.facts["scans"], operation.facts.get("unique")
        detail = f"used by {scans} scans since the statistics were reset" + ("; it is unique" if unique else "")
        yield Reason(RULE.id, detail, {"scans": scans, "bytes": operation.facts.get("index_bytes")}, NEEDS_APPROVAL)


RULE = Rule(
    "index-dropped",
    "Statements lose an index that they may use",
    NEEDS_APPROVAL,
    "pg_stat_user_indexes: scans since the last reset; pg_index",
    "Look at its use over a whole business cycle and on every replica; keep the definition.",
    check,
)
