"""docs/gate-rules.md, written from the rules themselves."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pg_architect.safety.rule_listing import listed

INTRODUCTION = """# Rules of the safety gate

Every reason of a verdict names one of these rules. The strictest level of all reasons is the verdict: a *note* tells
something and changes nothing, *needs_approval* leaves it to a person, *refuse* ends it. `select * from
architect.gate_rules` shows the same list in the database. This page is written from the rules; a test keeps it so.
"""


_POLICY = "a policy of a house, and no danger"
# Rules of the same tools that have no counterpart, and why.
NOT_ASKED = {
    "atlas: NM101 to NM106": _POLICY,
    "atlas: PG110": "the order of columns for padding: a matter of space, not of danger",
    "atlas: SA101": "bodies of functions are not judged: creating one is refused",
    "django-pg-zero-downtime-migrations: IDEMPOTENT_SQL": "what is there is looked up: nothing has to be tried twice",
    "eugene: W12": "each scan is told by itself",
    "eugene: W13": _POLICY,
    "pgsafe: forbid-nullable-fk, forbidden-column-type, naming-convention, require-columns, require-comment": _POLICY,
    "pgsafe: require-if-exists": "IF [NOT] EXISTS hides what is there: see if-not-exists-hides",
    "pgsafe: require-not-null": _POLICY,
    "squawk: ban-create-domain-with-constraint": _POLICY,
    "squawk: prefer-robust-stmts": "IF [NOT] EXISTS hides what is there: see if-not-exists-hides",
    "squawk: require-enum-value-ordering": _POLICY,
    "squawk: require-statement-timeout": "a build that is cut off leaves an invalid index: see statement-timeout-short",
    "strong_migrations: add_index_corruption": "only servers older than 15, which are not supported",
    "strong_migrations: statement_timeout": "see statement-timeout-short",
}


def page() -> str:
    """The whole page."""
    rules = sorted(listed(), key=lambda rule: rule["rule"])
    sections = [_section(rule) for rule in rules]
    return "\n".join([INTRODUCTION, *sections, _peers(rules)])


def _section(rule: dict[str, Any]) -> str:
    lines = [
        f"## {rule['rule']}",
        "",
        f"**{rule['title']}** (at most: {rule['level']})",
        "",
        rule["decides"],
        "",
        f"- Reads: {rule['reads']}.",
        f"- Remedy: {rule['remedy']}",
    ]
    return "\n".join([*lines, ""])


def _peers(rules: list[dict[str, Any]]) -> str:
    asked: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for peer in rule["peers"]:
            asked[peer].append(rule["rule"])
    lines = ["## The same question elsewhere", "", "| tool | rule | here |", "|---|---|---|"]
    for peer in sorted(asked):
        tool, name = peer.split(": ", 1)
        lines.append(f"| {tool} | {name} | {', '.join(f'[{one}](#{one})' for one in asked[peer])} |")
    lines += ["", "Not asked here:", "", "| tool | rule | why |", "|---|---|---|"]
    for peer, why in NOT_ASKED.items():
        lines.append(f"| {' | '.join(peer.split(': ', 1))} | {why} |")
    return "\n".join([*lines, ""])
