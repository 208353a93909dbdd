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
    return "\n".join([*lines, ""])
