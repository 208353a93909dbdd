"""What the extension creates, who owns it, who may use it and which errors it raises: compared with tests/golden.

A change shows up as a diff of these files; `make golden` writes them anew, and the diff is read.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import catalogue, errors_seen
from support.cluster import Cluster

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["objects", "privileges", "schema"])
def test_catalogue(cluster: Cluster, database: str, name: str, request: pytest.FixtureRequest) -> None:
    with cluster.connect(database) as connection:
        found = catalogue.lines(connection, getattr(catalogue, name.upper()))
    if request.config.getoption("--regenerate-golden"):
        write(name, found)
    assert found == read(name), f"tests/golden/{name}.txt differs: run make golden and read the diff"


@pytest.mark.last
def test_errors(request: pytest.FixtureRequest) -> None:
    """Every message that some test met is listed; in a full run, every listed one was met."""
    found = sorted(errors_seen.seen)
    full = os.environ.get("ARCHITECT_FULL_RUN") == "1"
    if full and request.config.getoption("--regenerate-golden"):
        write("errors", found)
    known = read("errors")
    assert set(found) <= set(known), "new messages: run make golden and read the diff"
    if full:
        assert found == known, "listed messages that no test meets any more: run make golden and read the diff"


def read(name: str) -> list[str]:
    path = GOLDEN / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def write(name: str, found: list[str]) -> None:
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{name}.txt").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
