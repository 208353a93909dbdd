"""The JSON contract between generators and the cycle, and errors as values."""

from __future__ import annotations

from typing import Any

import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.errors import ArchitectError
from pg_architect.improvement.contract import GeneratedChange

GOOD: dict[str, Any] = {
    "change_type": "create_index",
    "title": "an index",
    "hypothesis": "it helps",
    "why": "it reads everything to return little",
    "apply_sql": "create index concurrently i on t (a)",
    "revert_sql": "drop index concurrently i",
    "risk_level": "low",
    "impact": "unknown",
    "target_file": None,
    "prediction": {"reduction_percent": None},
}


def test_a_good_change() -> None:
    change = GeneratedChange.from_json("rules", GOOD)
    assert (change.generator, change.title, change.target_file) == ("rules", "an index", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"title": ...}, "lacks title"),
        ({"extra": 1, "another": 2}, "has unknown keys another, extra"),
        ({"why": "  "}, "needs a text for why"),
        ({"apply_sql": None}, "needs a text for apply_sql"),
        ({"revert_sql": 5}, "needs a text for revert_sql"),
        ({"risk_level": "none"}, "risk_level or impact"),
        ({"impact": "huge"}, "risk_level or impact"),
        ({"prediction": []}, "needs an object for prediction"),
    ],
)
def test_a_bad_change(change: dict[str, Any], words: str) -> None:
    data = {name: value for name, value in {**GOOD, **change}.items() if value is not ...}
    with pytest.raises(ArchitectError, match=words) as caught:
        GeneratedChange.from_json("mine", data)
    assert caught.value.sqlstate == "22023"
    assert 'generator "mine"' in caught.value.message
    assert "docs/generators.md" in (caught.value.hint or "")


def test_typed_parameters_need_a_server() -> None:
    with pytest.raises(ArchitectError, match="inside the server"):
        PsycopgDatabase(None).query_typed("select $1", ["int"], ["1"])
