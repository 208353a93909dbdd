"""Typical parameters of a normalised statement, from the statistics of the columns they are compared with.

Planning with NULL or with any odd value gives wrong plans, so a value is taken from its column: the one that explains
the rows observed per call where that can be computed, else one drawn as often as it occurs. What is asked for most may
be rare (the open orders of a queue), so common values that draws would miss are put among them. A parameter that no
column explains makes the statement not plannable, and the reason says so. What is guessed is called a guess.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pg_architect.safety import parse
from pg_architect.telemetry import distribution as values
from pg_architect.telemetry import name_resolution
from pg_architect.telemetry import predicates as p
from pg_architect.telemetry.tables import Column, Table

# A list of ten thousand constants is a join in disguise: no typical set says anything about it.
MAX_PARAMETERS = 500
# Values whose frequencies differ by less are alike: which of them ANALYZE called common is its sample's doing.
EVEN = 10.0
LIKELY_FACTOR = 3.0  # a frequency within this factor of the observed one explains it: pg_stats is no better

_GUESSES = {  # for constants that no table is asked about
    "boolean": "true",
    "interval": "1 day",
    "date": "2000-01-01",
    "timestamp without time zone": "2000-01-01 00:00:00",
    "timestamp with time zone": "2000-01-01 00:00:00+00",
    "text": "x",
    "character varying": "x",
    "character": "x",
    "unknown": "x",
}


Sets = tuple[tuple[str | None, ...], ...]
Asked = Mapping[tuple[int, str], Sequence[str]]  # relation and column: values that are known to be asked for


@dataclass(frozen=True, slots=True)
class Typical:
    """Parameter sets as text, the basis of each parameter in words, or the reason why there are none."""

    sets: Sets
    basis: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the statistics tell: rows per call, and the time that relative conditions are counted from."""

    rows_per_call: float
    now: datetime


def typical_sets(
    uses: p.Uses, types: Sequence[str], tables: Mapping[int, Table], observed: Observed, count: int, seed: int
) -> Typical:
    """Up to ``count`` distinct sets; the same seed gives the same sets."""
    if not types:
        return Typical(((),), ())
    if len(types) > MAX_PARAMETERS:
        return Typical((), (), f"it has {len(types)} parameters: no set of values is typical of it")
    for number in range(1, len(types) + 1):
        if reason := _unexplained(number, types[number - 1], uses, tables):
            return Typical((), (), reason)
    drawing = _Drawing(uses, types, tables, observed, random.Random(seed))
    sets: dict[tuple[str | None, ...], None] = {}
    # By turns, so that a replay that ends early has seen some of both.
    for stratum in drawing.strata(count // 2):
        sets.setdefault(drawing.draw())
        sets.setdefault(drawing.draw(stratum))
    for _ in range(10 * count):
        if len(sets) >= count:
            break
        sets.setdefault(drawing.draw())
    return Typical(tuple(sets)[:count], tuple(drawing.basis.get(n, "") for n in range(1, len(types) + 1)))


def asked_in(predicate: str, table: Table) -> Asked:
    """The constants that the predicate of a partial index compares columns with by equality."""
    columns = name_resolution.Relation(table.oid, frozenset(table.columns))
    query = parse.parse_one("select 1 from s.t where " + predicate)
    found: dict[tuple[int, str], tuple[str, ...]] = {}
    for use in p.column_uses(query, {("s", "t"): columns}).columns:
        if use.use not in (p.EQUALITY, p.IN_LIST) or use.literal is None or use.column not in table.columns:
            continue
        key, value = (table.oid, use.column), use.literal
        if table.columns[use.column].category == "B":
            value = {"true": "t", "false": "f"}.get(value, value)  # as pg_stats writes it
        found[key] = (*found.get(key, ()), value)
    return found


def with_asked(sets: Sets, uses: p.Uses, types: Sequence[str], asked: Asked) -> Sets:
    """The sets with one more for each value that is ``asked`` of a column that a parameter is compared with."""
    more = [
        (*sets[0][: use.parameter - 1], text, *sets[0][use.parameter :])
        for use in uses.columns
        if sets and use.parameter is not None and use.use in (p.EQUALITY, p.IN_LIST)
        for value in asked.get((use.relation_oid, use.column), ())
        for text in [values.array_literal([value]) if use.is_array else values.as_type(value, types[use.parameter - 1])]
    ]
    return tuple(dict.fromkeys((*sets[:1], *more, *sets[1:])))


def evident_selectivity(uses: p.Uses, tables: Mapping[int, Table], observed: Observed) -> float | None:
    """The fraction of its table that a call selects, where the statistics tell it: one table, no aggregate, no LIMIT.

    A page of rows tells nothing, however much was read for it: a sort reads all rows, and rare ones stand together.
    """
    if len(uses.blocks) != 1:
        return None
    (block,) = uses.blocks
    if block.aggregated or block.limited or len(block.instances) != 1:
        return None
    table = tables.get(block.instances[0][1])
    if table is None or not table.rows:
        return None
    return min(max(observed.rows_per_call, 0.1) / table.rows, 1.0)


def _unexplained(number: int, type_name: str, uses: p.Uses, tables: Mapping[int, Table]) -> str | None:
    place = uses.places.get(number, "other")
    if place in ("limit", "offset", "output", "unit"):
        return None
    for use in uses.columns:
        if use.parameter != number and number not in use.arithmetic:
            continue
        table = tables.get(use.relation_oid)
        column = table.columns.get(use.column) if table else None
        if table is None or column is None:
            return f"the table behind parameter ${number} is gone"
        if not column.has_statistics:
            return f"no statistics for {table.qualified_name}.{use.column}: ANALYZE it"
        if use.parameter == number:
            return None
        if values.same_family(type_name, column.type) or type_name == "interval":
            return None
    return f"no column tells which values parameter ${number} takes"


@dataclass(frozen=True, slots=True)
class _Stratum:
    use: p.ColumnUse
    value: str
    frequency: float


class _Drawing:
    def __init__(
        self,
        uses: p.Uses,
        types: Sequence[str],
        tables: Mapping[int, Table],
        observed: Observed,
        rng: random.Random,
    ) -> None:
        self.uses = uses
        self.types = types
        self.tables = tables
        self.observed = observed
        self.rng = rng
        self.basis: dict[int, str] = {}
        self.evidence = evident_selectivity(uses, tables, observed)
        comparing = [u for u in uses.columns if u.parameter or u.arithmetic]
        self.equalities = [u for u in comparing if u.use in (p.EQUALITY, p.IN_LIST)]
        self.others = [u for u in comparing if u not in self.equalities]
        # The column whose values the rows per call tell.
        self.skewed = self.most_skewed() if self.evidence is not None and not self.others else None

    def strata(self, most: int) -> list[_Stratum]:
        """Common values that are put into one set each, unless the rows tell which are asked for; the rarest first."""
        columns: dict[tuple[str, str], list[_Stratum]] = {}
        for use in self.equalities:
            table, column = self.column(use)
            frequencies = [option.frequency for option in values.options(column, table.rows or 1)]
            even = max(frequencies) <= EVEN * min(frequencies)
            if (use.instance, use.column) != self.skewed and not even:
                common = sorted(zip(column.frequencies, column.common, strict=False))
                strata = [_Stratum(use, value, frequency) for frequency, value in common]
                columns.setdefault((use.instance, use.column), strata)
        turns = [one for row in itertools.zip_longest(*columns.values()) for one in row if one is not None]
        # Where they are too many: spread, since the most common ones are drawn anyway.
        return turns if len(turns) <= most else [turns[i * len(turns) // most] for i in range(most)]

    def draw(self, stratum: _Stratum | None = None) -> tuple[str | None, ...]:
        chosen: dict[int, str | None] = {}
        remaining = self.draw_equalities(chosen, stratum)
        self.draw_ranges(chosen, remaining)
        for number, type_name in enumerate(self.types, 1):
            if number not in chosen:
                chosen[number] = self.guess(number, type_name)
        return tuple(chosen[number] for number in range(1, len(self.types) + 1))

    def column(self, use: p.ColumnUse) -> tuple[Table, Column]:
        table = self.tables[use.relation_oid]
        return table, table.columns[use.column]

    def put(self, chosen: dict[int, str | None], use: p.ColumnUse, value: str, basis: str) -> None:
        """Give the parameters of one comparison their values, so that the column is compared with ``value``."""
        table, column = self.column(use)
        name = f"{table.qualified_name}.{use.column}"
        if use.parameter is not None:
            type_name = self.types[use.parameter - 1]
            text = values.array_literal([value]) if use.is_array else values.as_type(value, type_name)
            chosen.setdefault(use.parameter, text)
            self.basis[use.parameter] = f"{name}: {basis}"
            return
        anchored = False
        for number in use.arithmetic:
            type_name = self.types[number - 1]
            if type_name == "interval":
                alone = len(use.arithmetic) == 1
                moment = values.moment(value) if alone else None
                text = "1 day" if moment is None else f"{(self.observed.now - moment).total_seconds():.0f} seconds"
                self.basis.setdefault(number, f"{name}: {basis}" if moment else "guess: one day")
            elif not anchored and values.same_family(type_name, column.type):
                text, anchored = values.as_type(value, type_name), True
                self.basis[number] = f"{name}: {basis}"
            else:
                text = "0"
                self.basis.setdefault(number, "guess: zero")
            chosen.setdefault(number, text)

    # equality

    def draw_equalities(self, chosen: dict[int, str | None], stratum: _Stratum | None) -> float | None:
        """Draw the values asked for by equality; the selectivity left for the ranges to explain, if evident."""
        target = left = self.evidence
        for use in self.equalities:
            table, column = self.column(use)
            wanted = None
            if (use.instance, use.column) == self.skewed and target is not None:
                wanted = target / self.selectivity_beside(use)
            value, frequency, basis = self.pick(column, table, wanted)
            if stratum is not None and use is stratum.use:
                value, frequency = stratum.value, stratum.frequency
            self.put(chosen, use, value, basis)
            if left is not None and use.usable:
                left = min(left / max(frequency, 1e-12), 1.0)
        return left

    def most_skewed(self) -> tuple[str, str] | None:
        """The equality whose value decides most about the rows per call."""
        best: tuple[float, tuple[str, str]] | None = None
        for use in self.equalities:
            _, column = self.column(use)
            if not use.usable or not column.common:
                continue
            spread = max(column.frequencies) / max(min(column.frequencies), 1e-9)
            if best is None or spread > best[0]:
                best = (spread, (use.instance, use.column))
        return best[1] if best else None

    def selectivity_beside(self, use: p.ColumnUse) -> float:
        """Selectivity of the other equalities together, each taken at its average, and the size of an IN list."""
        factor = float(max(sum(1 for u in self.equalities if (u.instance, u.column) == (use.instance, use.column)), 1))
        seen = {(use.instance, use.column)}
        for other in self.equalities:
            key = (other.instance, other.column)
            if key not in seen and other.usable:
                seen.add(key)
                table, column = self.column(other)
                factor *= (1 - column.null_frac) / column.distinct(table.rows or 1)
        return factor

    def pick(self, column: Column, table: Table, wanted: float | None) -> tuple[str, float, str]:
        """A value, its frequency, and why it."""
        options = values.options(column, table.rows or 1)
        basis = "drawn as often as the values occur" + (", and rare common ones" if column.common else "")
        if wanted is not None:
            errors = [abs(math.log(max(o.frequency, 1e-12) / wanted)) for o in options]
            limit = math.log(LIKELY_FACTOR)
            near = min(errors)
            told = near <= limit
            basis = "the rows per call tell which values are asked for" if told else "nearest to the rows per call"
            most = min(max(limit, near + 0.4), near + limit)
            options = [o for o, e in zip(options, errors, strict=True) if e <= most]
        option = self.rng.choices(options, weights=[max(o.mass, 1e-12) for o in options])[0]
        return option.value, option.frequency, basis

    # ranges and patterns

    def draw_ranges(self, chosen: dict[int, str | None], evident: float | None) -> None:
        grouped: dict[tuple[int, str, str], list[p.ColumnUse]] = {}
        for use in self.others:
            grouped.setdefault((use.block, use.instance, use.column), []).append(use)
        share = None if evident is None else evident ** (1 / max(len(grouped), 1))
        for group in grouped.values():
            _, column = self.column(group[0])
            lower = [u for u in group if u.use == p.RANGE and u.operator in (">", ">=")]
            upper = [u for u in group if u.use == p.RANGE and u.operator in ("<", "<=")]
            basis = "bounds that give the rows per call" if share is not None else "guess: quantiles of the histogram"
            both = bool(lower and upper)
            guesses = (0.001, 0.01, 0.1) if both else (0.5, 0.1, 0.01)
            width = share if share is not None else self.rng.choice(guesses)
            single = 1 - width if lower else 0.0
            start = self.rng.uniform(0, 1 - width) if both else single
            for use in lower:
                self.put(chosen, use, values.quantile(column, start), basis)
            for use in upper:
                self.put(chosen, use, values.quantile(column, start + width), basis)
            for use in group:
                if use in lower or use in upper:
                    continue
                value = values.quantile(column, self.rng.random())
                if use.use == p.PREFIX_LIKE:
                    self.put(chosen, use, values.like_prefix(value), "guess: a prefix of a value")
                else:
                    self.put(chosen, use, value, "drawn from the histogram")

    def guess(self, number: int, type_name: str) -> str | None:
        place = self.uses.places.get(number, "other")
        if place == "limit":
            # A full page is the usual case, so the rows per call are the page; without rows nobody knows.
            rows = round(self.observed.rows_per_call)
            simple = len(self.uses.blocks) == 1
            self.basis[number] = "guess: the rows per call" if simple and rows >= 1 else "guess: a page of ten"
            return str(rows if simple and rows >= 1 else 10)
        if place == "offset":
            self.basis[number] = "guess: the first page"
            return "0"
        if place == "unit":
            self.basis[number] = "guess: a unit of time"
            return "day"
        self.basis[number] = "guess: a constant of its type"
        if values.is_number(type_name):
            return "1"
        return _GUESSES.get(type_name)


def utc_now() -> datetime:
    return datetime.now(UTC)
