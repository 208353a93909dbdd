"""The door from SQL: every PL/Python body of the extension loads this module and calls ``run`` or ``run_procedure``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pg_architect.core.db import entry


def run(plpy: Any, module: str, function: str, *args: Any) -> Any:
    """Call ``pg_architect.<module>.<function>(db, *args)`` with ``plpy`` as its database.

    Modules are imported at their first call, so that a session pays only for what it uses. Errors of ours reach
    the caller with SQLSTATE, detail and hint.
    """
    return entry(_target(module, function), commits=False)(plpy, *args)


def run_procedure(plpy: Any, module: str, function: str, *args: Any) -> Any:
    """The same for the body of a procedure, which commits and runs under the caller's search_path."""
    return entry(_target(module, function), commits=True)(plpy, *args)


def _target(module: str, function: str) -> Callable[..., Any]:
    target: Callable[..., Any] = getattr(importlib.import_module(f"pg_architect.{module}"), function)
    return target
