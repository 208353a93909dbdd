"""Settings in force. Defaults, units and limits live in SQL (``architect._default_settings()``)."""

from __future__ import annotations

from collections.abc import Mapping

from pg_architect.core.db import Database


def load(db: Database) -> Mapping[str, float]:
    """All settings by name, each a number in the unit that ``architect.settings`` shows."""
    return {row["name"]: float(row["value"]) for row in db.query("select name, value from architect.settings")}
