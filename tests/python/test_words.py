"""Figures as a person would write them."""

from __future__ import annotations

import pytest

from pg_architect.core.words import counted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (counted(1, "call"), "1 call"),
        (counted("1", "call"), "1 call"),
        (counted(0, "call"), "0 calls"),
        (counted("2,300", "call"), "2,300 calls"),
        (counted("1.0", "row"), "1.0 rows"),
        (counted(1, "index", "indexes"), "1 index"),
        (counted(2, "table belongs", "tables belong"), "2 tables belong"),
    ],
)
def test_the_noun_agrees_with_the_number(words: str, expected: str) -> None:
    assert words == expected
