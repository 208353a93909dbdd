"""Without autovacuum a table bloats and ends in a forced vacuum against wraparound; a fill factor below 50 % makes
the table twice as large.
"""

from __future__ import annotations

from collections.abc import Iterable

from pg_architect.safety.context import Context
from pg_architect.safety.judgement import NEEDS_APPROVAL, Reason
from pg_architect.safety.operation import Operation
from pg_architect.safety.rule import Rule

# Below it a table takes more than twice the space.
LEAST_FILLFACTOR = 50


def check(operation: Operation, _context: Context) -> Iterable[Reason]:
    """A person decides."""
    wanted = operation.facts.get("options", {}) if operation.kind == "set_storage_parameters" else {}
    for name, value in wanted.items():
        if name.endswith("autovacuum_enabled") and str(value).lower() in ("false", "off", "no", "0"):
            yield Reason(RULE.id, "autovacuum is switched off for the table", {}, NEEDS_APPROVAL)
        if name == "fillfactor" and str(value).isdigit() and int(value) < LEAST_FILLFACTOR:
            yield Reason(RULE.id, f"a fill factor of {value} leaves most of each page empty", {}, NEEDS_APPROVAL)


RULE = Rule(
    "storage-parameter-extreme",
    "A storage parameter that harms the table in time",
    NEEDS_APPROVAL,
    "the new value",
    "Tune the thresholds of autovacuum instead of switching it off.",
    check,
    ("atlas: PG320",),
)
