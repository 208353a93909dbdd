"""What the extension creates, who owns it, who may use it and which errors it raises: compared with tests/golden.

A change shows up as a diff of these files; `make golden` writes them anew, and the diff is read.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from support import catalogue, error_templates, errors_seen
from support.cluster import Cluster

GOLDEN = Path(__file__).parents[1] / "golden"
# Some tests need a second OS user.
IS_FULL_RUN = os.environ.get("ARCHITECT_FULL_RUN") == "1" and os.geteuid() == 0
# The limit on tokens speaks first with the parser that is locked: this one is for one with a smaller stack.
UNMET = frozenset({"statement is nested too deeply to be parsed"})


@pytest.mark.parametrize("name", ["objects", "privileges", "schema"])
def test_catalogue(cluster: Cluster, database: str, name: str, request: pytest.FixtureRequest) -> None:
    with cluster.connect(database) as connection:
        found = catalogue.lines(connection, getattr(catalogue, name.upper()))
    if request.config.getoption("--regenerate-golden"):
        write(name, found)
    compare(name, found)


def test_errors(request: pytest.FixtureRequest) -> None:
    found = error_templates.templates()
    if request.config.getoption("--regenerate-golden"):
        write("errors", found)
    compare("errors", found)


@pytest.mark.last
@pytest.mark.skipif(not IS_FULL_RUN, reason="only a full run as root meets every error")
def test_every_error_was_met() -> None:
    """Whatever message the source can raise, some test has produced it and read it."""
    missing = [
        template
        for template in error_templates.templates()
        if template not in UNMET and not any(error_templates.pattern(template).fullmatch(m) for m in errors_seen.seen)
    ]
    assert missing == []


def read(name: str) -> list[str]:
    path = GOLDEN / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def compare(name: str, found: list[str]) -> None:
    lines = list(difflib.unified_diff(read(name), found, f"tests/golden/{name}.txt", "found", n=0, lineterm=""))
    if lines:
        pytest.fail("\n".join(["run make golden and read the diff", *lines]), pytrace=False)


def write(name: str, found: list[str]) -> None:
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{name}.txt").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
