"""The rules of the gate: their shape, and the page that is written from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pg_architect.safety.rule_listing import listed
from support import rules_page

PAGE = Path(__file__).parents[2] / "docs" / "gate-rules.md"
SOURCES = Path(__file__).parents[2] / "plpython" / "pg_architect" / "safety"


def test_the_rules_have_one_shape() -> None:
    rules = listed()
    names = [rule["rule"] for rule in rules]
    assert len(set(names)) == len(names) > 50
    for rule in rules:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule["rule"])
        assert rule["level"] in ("note", "needs_approval", "refuse")
        assert all(rule[part] for part in ("title", "reads", "remedy", "decides")), rule["rule"]
        assert rule["remedy"].endswith("."), rule["rule"]
        assert all(re.fullmatch(r"[a-z_-]+: .+", peer) for peer in rule["peers"]), rule["rule"]


def test_every_refusal_names_a_listed_rule() -> None:
    """Also where a reader refuses: a reason without a section on the page would explain nothing."""
    known = {rule["rule"] for rule in listed()}
    executable = {"executable.py", "index_statement.py", "index_identity.py", "predicate_constants.py"}
    used = {
        name
        for path in SOURCES.rglob("*.py")
        if path.name not in executable
        for name in re.findall(r'(?:Refused|Reason)\(\s*"([^"]+)"', path.read_text())
    }
    assert used <= known
    assert len(used) > 15


def test_the_page_is_current(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--regenerate-golden"):
        PAGE.write_text(rules_page.page())
    assert PAGE.read_text() == rules_page.page(), "regenerate it with --regenerate-golden and read the difference"
