"""The registry of rules. A rule is a module with ``RULE`` and ``find(examination, settings)``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pg_architect.core.db import Database
from pg_architect.findings import slow_statement, unplannable_statement
from pg_architect.findings.finding import Finding
from pg_architect.telemetry.examination import Examination

RULES = (slow_statement, unplannable_statement)
_ORDER = {"high": 0, "medium": 1, "low": 2}


def find(_db: Database, examination: Examination, settings: Mapping[str, float]) -> list[Finding]:
    """What every rule finds, worst first; nothing is stored."""
    found = [finding for rule in RULES for finding in rule.find(examination, settings)]
    return sorted(found, key=lambda f: (_ORDER[f.severity], -(f.share or 0.0), f.rule, f.key))


def store(db: Database, examination: Examination, findings: Sequence[Finding]) -> list[int]:
    """Keep the findings of a snapshot, in place of those that it had; returns their numbers in order."""
    db.query(
        "update architect.snapshot set analysed_at = clock_timestamp() where snapshot_id = $1::bigint",
        examination.snapshot_id,
    )
    db.query("delete from architect.finding where snapshot_id = $1::bigint", examination.snapshot_id)
    rows = db.query(
        """
        insert into architect.finding
          (snapshot_id, deployment_id, rule, key, severity, title, statement_id, relation_oid, share, detail, evidence,
           remedy)
        select $1::bigint, architect._this_deployment(), f.rule, f.key, f.severity, f.title, f.statement_id,
               f.relation_oid, f.share, f.detail, f.evidence, f.remedy
          from pg_catalog.jsonb_to_recordset($2::jsonb) as f
               (rule text, key text, severity text, title text, statement_id bigint, relation_oid oid, share float8,
                detail text, evidence jsonb, remedy text)
        returning finding_id, rule, key
        """,
        examination.snapshot_id,
        json.dumps([asdict(f) for f in findings]),
    )
    numbers = {(row["rule"], row["key"]): row["finding_id"] for row in rows}
    return [numbers[f.rule, f.key] for f in findings]
