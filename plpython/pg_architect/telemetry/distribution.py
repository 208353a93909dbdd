"""Values of a column from its statistics (pg_stats): common values, histogram, interpolation between bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pg_architect.telemetry.tables import Column

_INTEGERS = frozenset({"smallint", "integer", "bigint", "oid"})
_NUMBERS = _INTEGERS | {"numeric", "real", "double precision"}
_MOMENTS = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_TEXTS = frozenset({"text", "character varying", "character", "name", "unknown"})


@dataclass(frozen=True, slots=True)
class Option:
    """A value that may be asked for: the fraction of rows that have it, and of rows that it stands for."""

    value: str
    frequency: float
    mass: float


def options(column: Column, rows: float) -> list[Option]:
    """The values known for a column; a column with statistics has at least one, unless it is all NULL."""
    found = [Option(v, f, f) for v, f in zip(column.common, column.frequencies, strict=False)]
    if column.bounds:
        rest = max(1 - column.null_frac - sum(column.frequencies), 0.0)
        others = max(column.distinct(rows) - len(column.common), len(column.bounds) - 1.0, 1.0)
        mass = rest / len(column.bounds)
        found += [Option(v, max(rest / others, 1 / max(rows, 1)), mass) for v in column.bounds]
    return found or [Option(_placeholder(column.type), 1 / max(rows, 1), 1.0)]


def quantile(column: Column, q: float) -> str:
    """The value below which a fraction ``q`` of the column's values lies; between histogram bounds by interpolation."""
    steps = _steps(column)
    if not steps:
        return column.bounds[0] if column.bounds else _placeholder(column.type)
    wanted = min(max(q, 0.0), 1.0) * sum(step.mass for step in steps)
    for step in steps:
        if wanted <= step.mass:
            break
        wanted -= step.mass
    if step.low == step.high:
        return step.high
    fraction = min(wanted / step.mass, 1.0) if step.mass else 1.0
    between = interpolate(step.low, step.high, fraction, column.type)
    return (step.low if fraction < 0.5 else step.high) if between is None else between


@dataclass(frozen=True, slots=True)
class _Step:
    """A part of a column in its order: one common value, or the values between two bounds of the histogram."""

    low: str
    high: str
    mass: float


def _steps(column: Column) -> list[_Step]:
    bounds = column.bounds
    common = [_Step(v, v, f) for v, f in zip(column.common, column.frequencies, strict=False)]
    rest = max(1 - column.null_frac - sum(column.frequencies), 0.0) / max(len(bounds) - 1, 1)
    between = [_Step(low, high, rest) for low, high in itertools.pairwise(bounds)]
    try:
        return sorted([*common, *between], key=lambda step: _sort_key(step.high, column.type))
    except ValueError:
        return between or common  # an order that only the server knows


def _sort_key(value: str, type_name: str) -> tuple[float, str]:
    name = base(type_name)
    if name in _NUMBERS:
        return (float(value), "")
    if name in _MOMENTS and (found := moment(value)) is not None:
        return (found.timestamp(), "")
    if name in _MOMENTS:
        raise ValueError(value)
    return (0.0, value)


def _placeholder(type_name: str) -> str:
    name = base(type_name)
    if name in _NUMBERS:
        return "0"
    if name in _MOMENTS:
        return "2000-01-01"
    return "true" if name == "boolean" else ""


def interpolate(low: str, high: str, fraction: float, type_name: str) -> str | None:
    """The value that far between two bounds of a number or a time; None where that has no meaning."""
    name = base(type_name)
    if name in _NUMBERS:
        first, last = float(low), float(high)
        if not (math.isfinite(first) and math.isfinite(last)):
            return None
        value = first + (last - first) * fraction
        return str(round(value)) if name in _INTEGERS else repr(value)
    if name in _MOMENTS:
        start, end = moment(low), moment(high)
        if start is None or end is None:
            return None
        between = start + (end - start) * fraction
        if name == "date":
            return between.date().isoformat()
        if name.endswith("without time zone"):
            between = between.replace(tzinfo=None)
        return between.isoformat(" ")
    return None


def moment(value: str) -> datetime | None:
    """A date or time in ISO style; None for infinity, BC and whatever else Python has no date for."""
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def base(type_name: str) -> str:
    """The name of a type without its modifier: numeric for numeric(10,2)."""
    head, bracket, tail = type_name.partition("(")
    return (head + tail.partition(")")[2]).strip() if bracket else type_name


def is_number(type_name: str) -> bool:
    return base(type_name) in _NUMBERS


def same_family(one: str, other: str) -> bool:
    """Whether a value of one type reads as a value of the other."""
    first, second = base(one), base(other)
    return first == second or any(first in family and second in family for family in (_NUMBERS, _MOMENTS, _TEXTS))


def as_type(value: str, type_name: str) -> str:
    """A column's value as text that the parameter's type accepts."""
    if base(type_name) in _INTEGERS:
        try:
            return str(int(value))
        except ValueError:
            try:
                return str(round(float(value)))
            except (ValueError, OverflowError):
                return value
    return value


def array_literal(items: Sequence[str]) -> str:
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"


def like_prefix(value: str) -> str:
    """A LIKE pattern for the beginning of a value."""
    head = value[:3].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return head + "%"
