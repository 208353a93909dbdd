"""What counts as a surprise when a statement was tried on a copy."""

from __future__ import annotations

from typing import Any

import pytest

from pg_architect import cli_output
from pg_architect.safety import prove


def row(**changes: Any) -> dict[str, Any]:
    return {"objects": {"locks": {"app.t": "ShareUpdateExclusiveLock"}}, "rewrites": False, **changes}


@pytest.mark.parametrize(
    ("taken", "surprises"),
    [
        ({"app.t": "ShareUpdateExclusiveLock"}, []),
        ({"app.t": "AccessExclusiveLock"}, ["app.t is locked by AccessExclusiveLock, not ShareUpdateExclusiveLock"]),
        ({"app.u": "ShareLock"}, ["app.u is locked by ShareLock, not at all"]),
        ({"app.u": "AccessShareLock"}, []),
    ],
)
def test_locks(taken: dict[str, str], surprises: list[str]) -> None:
    assert prove._surprises(row(), taken, []) == surprises


def test_rewrites() -> None:
    assert prove._surprises(row(), {}, ["app.t"]) == ["app.t is written anew"]
    assert prove._surprises(row(rewrites=True), {}, ["app.t"]) == []


def test_how_a_proof_is_shown() -> None:
    shown = {
        "file": "-", "line": 1, "verdict": "allow", "kind": "add_column", "reasons": [], "safer_sql": [],
        "proof": {"locks": {"app.t": "ShareLock"}, "rewritten": [], "surprises": ["app.t is locked"], "error": None},
    }  # fmt: skip
    assert cli_output.lines(shown)[1] == "    not as predicted: app.t is locked"
    shown["proof"] = {"locks": {}, "rewritten": [], "surprises": [], "error": None}
    assert cli_output.lines(shown)[1] == "    proved: no lock on what was there"
    shown["proof"] = {"locks": {}, "rewritten": [], "surprises": [], "error": "no"}
    assert cli_output.lines(shown)[1] == "    not proved: no"
