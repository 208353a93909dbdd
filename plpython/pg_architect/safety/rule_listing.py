"""All rules of the gate as rows: those that refuse what is not understood, and those that weigh what is."""

from __future__ import annotations

import sys

from pg_architect.core.db import Database, Row
from pg_architect.safety import rules
from pg_architect.safety.judgement import REFUSE
from pg_architect.safety.refusals import REFUSALS, SCRIPT_RULES
from pg_architect.safety.rule import Rule


def rows(_db: Database) -> list[Row]:
    """The rows of ``architect.gate_rules``."""
    return listed()


def listed() -> list[Row]:
    """Every rule with its title, level, what it reads, how it decides, remedy and peers."""
    refusals = [
        {
            "rule": name,
            "title": title,
            "level": REFUSE,
            "reads": "the statement and what its names mean",
            "remedy": remedy,
            "decides": "Refused before any other rule is asked.",
            "peers": list(peers),
        }
        for name, (title, remedy, peers) in REFUSALS.items()
    ]
    in_scripts = [
        {
            "rule": name,
            "title": title,
            "level": level,
            "reads": "the statements before it in the script",
            "remedy": remedy,
            "decides": decides,
            "peers": list(peers),
        }
        for name, (title, level, decides, remedy, peers) in SCRIPT_RULES.items()
    ]
    return refusals + in_scripts + [_row(rule) for rule in rules.all_rules()]


def _row(rule: Rule) -> Row:
    text = sys.modules[rule.check.__module__].__doc__ or ""
    return {
        "rule": rule.id,
        "title": rule.title,
        "level": rule.level,
        "reads": rule.reads,
        "remedy": rule.remedy,
        "decides": "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).strip(),
        "peers": list(rule.peers),
    }
