"""The door from SQL: every PL/Python body of the extension loads this module and calls ``run``."""

from __future__ import annotations

import importlib
from typing import Any

from pg_architect.core.db import entry


def run(plpy: Any, module: str, function: str, *args: Any) -> Any:
    """Call ``pg_architect.<module>.<function>(db, *args)`` with ``plpy`` as its database.

    Modules are imported at their first call, so that a session pays only for what it uses. Errors of ours reach
    the caller with SQLSTATE, detail and hint.
    """
    target = getattr(importlib.import_module(f"pg_architect.{module}"), function)
    return entry(target)(plpy, *args)
