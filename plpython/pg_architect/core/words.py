"""Figures in words."""

from __future__ import annotations


def counted(shown: str | int, one: str, many: str | None = None) -> str:
    """A number as it is shown, with its noun: 1 call, 2,300 calls, 1.0 rows; ``many`` where it is not just an s."""
    return f"{shown} {one if str(shown) == '1' else many or one + 's'}"
