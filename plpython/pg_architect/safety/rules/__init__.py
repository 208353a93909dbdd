"""The rules of the gate, one a file, in the order of their ids."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pg_architect.safety.rule import Rule


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule; each module of this package has one as ``RULE``."""
    modules = (importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__))
    return tuple(sorted((module.RULE for module in modules), key=lambda rule: rule.id))
