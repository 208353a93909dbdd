"""What a generator hands to the cycle: one JSON object per change, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pg_architect.core.errors import INVALID_PARAMETER_VALUE, ArchitectError

LEVELS = ("low", "medium", "high")
AREAS = ("performance", "quality", "features", "cost")


@dataclass(frozen=True, slots=True)
class GeneratedChange:
    """One proposed change before the gate has seen it.

    ``apply_sql`` and ``revert_sql`` are what the generator asks for; what is run later is what the gate deparses.
    ``prediction`` holds reduction_percent (of the touched statements' cost, positive is better), reduction_low,
    reduction_high, basis, and what else the generator knows; a number it does not know is None.
    """

    generator: str
    change_type: str
    title: str
    hypothesis: str
    why: str
    apply_sql: str
    revert_sql: str
    risk_level: str
    impact: str
    target_file: str | None
    prediction: Mapping[str, Any]

    @classmethod
    def from_json(cls, generator: str, data: Mapping[str, Any]) -> GeneratedChange:
        """Check one object of the JSON contract; raises ArchitectError (22023) that says what is wrong."""
        names = {field.name for field in fields(cls)} - {"generator"}
        if missing := sorted(names - data.keys()):
            raise _invalid(generator, f"lacks {', '.join(missing)}")
        if unknown := sorted(data.keys() - names):
            raise _invalid(generator, f"has unknown keys {', '.join(unknown)}")
        for name in sorted(names - {"target_file", "prediction"}):
            if not isinstance(data[name], str) or not data[name].strip():
                raise _invalid(generator, f"needs a text for {name}")
        if data["risk_level"] not in LEVELS or data["impact"] not in (*LEVELS, "unknown"):
            raise _invalid(generator, "has a risk_level or impact that is not low, medium or high")
        if not isinstance(data["prediction"], Mapping):
            raise _invalid(generator, "needs an object for prediction")
        return cls(generator=generator, **data)


def _invalid(generator: str, what: str) -> ArchitectError:
    return ArchitectError(
        INVALID_PARAMETER_VALUE,
        f'a change of generator "{generator}" {what}',
        hint="The contract is documented in docs/generators.md.",
    )
