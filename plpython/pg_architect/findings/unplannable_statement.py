"""A statement that takes a large share of the time and cannot be looked into, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pg_architect.core.words import counted
from pg_architect.findings.finding import Finding, percent, severity
from pg_architect.telemetry.examination import Examination

RULE = "unplannable_statement"
BY_HAND = "Look at it by hand: pg_architect plans only what it understands and what is proved to run nobody's code."


def find(seen: Examination, _settings: Mapping[str, float]) -> Iterator[Finding]:
    for item in seen.examined:
        one = item.captured
        if not item.reason or one.kind == "insert":
            continue
        is_query = one.kind not in ("utility", "unparsed")
        names = f" on {', '.join(one.relations)}" if one.relations else ""
        yield Finding(
            rule=RULE,
            key=str(one.statement_id),
            severity=severity(one.share) if is_query else "low",
            title=f"{one.kind}{names} takes {percent(one.share)} of the statement time and is not plannable",
            statement_id=one.statement_id,
            relation_oid=next(iter(item.relation_oids), None),
            share=one.share,
            detail=f"{counted(f'{one.calls:,}', 'call')} of {one.mean_ms:,.2f} ms by {one.role_name}. "
            f"Not plannable: {item.reason}.",
            evidence={"calls": one.calls, "total_ms": one.total_ms, "mean_ms": one.mean_ms, "reason": item.reason},
            remedy=BY_HAND if is_query else "Nothing to plan.",
        )
