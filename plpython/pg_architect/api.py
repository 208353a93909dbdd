"""The door from SQL: every PL/Python body of the extension loads this module and calls ``run`` or ``run_procedure``."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from pg_architect.core.db import call


def run(plpy: Any, module: str, function: str, *args: Any) -> Any:
    """Call ``pg_architect.<module>.<function>(db, *args)`` with ``plpy`` as its database.

    Modules are imported at their first call, so that a session pays only for what it uses. Errors of ours reach
    the caller with SQLSTATE, detail and hint.
    """
    return call(plpy, _target(module, function), args, commits=False)


def run_procedure(plpy: Any, module: str, function: str, *args: Any) -> Any:
    """The same for the body of a procedure, which commits and runs under the caller's search_path."""
    return call(plpy, _target(module, function), args, commits=True)


@functools.cache
def _target(module: str, function: str) -> Callable[..., Any]:
    target: Callable[..., Any] = getattr(importlib.import_module(f"pg_architect.{module}"), function)
    return target
