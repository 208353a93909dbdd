"""Index candidates from column uses: equality columns first, then one range or the order; partial on a rare value.

Pure: which of them pays is for the planner to say (``what_if``). Nothing is proposed that an existing index already
does (same leading columns, operator classes, collations, directions and predicate).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pg_architect.telemetry import predicates as p
from pg_architect.telemetry.examination import Examined
from pg_architect.telemetry.predicates import ColumnUse
from pg_architect.telemetry.tables import Index, Table

MAX_KEYS = 3
MAX_KEY_BYTES = 500  # a B-tree entry must fit in a third of a page; long before that the index is as big as its table
COMMON_VALUE = 0.5  # a column is skewed when one value (or NULL) covers at least half of the rows


@dataclass(frozen=True, slots=True)
class Key:
    column: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Predicate:
    """``column = value``, or ``column is null`` where the value is None."""

    column: str
    value: str | None
    fraction: float  # of the table's rows that it keeps

    @property
    def contains_literal(self) -> bool:
        return self.value is not None


@dataclass(frozen=True, slots=True)
class Candidate:
    relation_oid: int
    keys: tuple[Key, ...]
    predicate: Predicate | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(key.column for key in self.keys)


@dataclass(frozen=True, slots=True)
class _Group:
    """The uses of one appearance of one table in a statement."""

    table: Table
    equal: tuple[str, ...]  # most selective first
    ranges: tuple[str, ...]
    joins: tuple[str, ...]
    order: tuple[Key, ...]
    rare: tuple[Predicate, ...]


def generate(examined: Sequence[Examined], tables: Mapping[int, Table], rare_fraction: float) -> list[Candidate]:
    """Distinct candidates for the planned statements, in a stable order."""
    found: dict[Candidate, None] = {}
    for item in examined:
        if not item.plans:
            continue
        for group in _groups(item, tables, rare_fraction):
            for candidate in _of_group(group):
                if not is_covered(candidate, group.table.indexes, set(group.equal)):
                    found.setdefault(candidate)
    return list(found)


def is_covered(candidate: Candidate, indexes: Iterable[Index], equal: set[str] | None = None) -> bool:
    """Whether a valid index already starts with the candidate's keys, under no predicate or the same one."""
    return any(_covers(index, candidate, equal or set()) for index in indexes)


def _covers(index: Index, candidate: Candidate, equal: set[str]) -> bool:
    count = len(candidate.keys)
    if index.method != "btree" or not index.is_valid or index.is_partial or len(index.keys) < count:
        return False
    have = index.keys[:count]
    if not all(key.column and key.is_default_class and key.is_default_collation for key in have):
        return False
    columns = [key.column for key in have]
    # Among equality columns the order does not matter.
    if set(columns) == set(candidate.columns) and set(candidate.columns) <= equal:
        return True
    if columns != list(candidate.columns):
        return False
    same = all(
        (h.descending, h.nulls_first) == (k.descending, k.nulls_first)
        for h, k in zip(have, candidate.keys, strict=True)
    )
    mirrored = all(
        (h.descending, h.nulls_first) == (not k.descending, not k.nulls_first)
        for h, k in zip(have, candidate.keys, strict=True)
    )
    # A single column is read in either direction; its direction does not matter for equality.
    return same or mirrored or set(candidate.columns) <= equal


def _groups(item: Examined, tables: Mapping[int, Table], rare_fraction: float) -> list[_Group]:
    grouped: dict[tuple[int, str], list[ColumnUse]] = {}
    for use in item.uses.columns:
        if use.usable and use.relation_oid in tables:
            grouped.setdefault((use.block, use.instance), []).append(use)
    found = []
    for uses in grouped.values():
        table = tables[uses[0].relation_oid]
        if table.unsupported or not table.rows:
            continue
        group = _group(item, table, uses, rare_fraction)
        if not _finds_one_row(group):
            found.append(group)
    return found


def _group(item: Examined, table: Table, uses: Sequence[ColumnUse], rare_fraction: float) -> _Group:
    rows = table.rows or 1.0

    def columns(*kinds: str) -> list[str]:
        named = (u.column for u in uses if u.use in kinds and not (u.use == p.NULL_TEST and u.literal != "null"))
        return [c for c in dict.fromkeys(named) if _can_be_key(table, c)]

    equal = sorted(columns(p.EQUALITY, p.IN_LIST, p.NULL_TEST), key=lambda c: -table.columns[c].distinct(rows))
    order = tuple(
        Key(u.column, u.descending, u.descending if u.nulls_first is None else u.nulls_first)
        for u in uses
        if u.use == p.ORDER and _can_be_key(table, u.column)
    )
    rare = tuple(r for u in uses if (r := rare_value(item, table, u, rare_fraction)) is not None)
    return _Group(
        table=table,
        equal=tuple(equal),
        ranges=tuple(c for c in columns(p.RANGE) if c not in equal),
        joins=tuple(c for c in columns(p.JOIN) if c not in equal),
        order=normalised(order),
        rare=tuple(dict.fromkeys(rare)),
    )


def normalised(order: Sequence[Key]) -> tuple[Key, ...]:
    """An index is read in both directions, so the first key ascends."""
    if order and order[0].descending:
        return tuple(Key(k.column, not k.descending, not k.nulls_first) for k in order)
    return tuple(order)


def _can_be_key(table: Table, name: str) -> bool:
    column = table.columns.get(name)
    return column is not None and column.is_indexable and column.has_statistics and column.width <= MAX_KEY_BYTES


def _finds_one_row(group: _Group) -> bool:
    """A unique index on the columns asked by equality cannot be beaten."""
    for index in group.table.indexes:
        if index.is_unique and index.is_valid and not index.is_partial and set(index.columns) <= set(group.equal):
            return True
    return False


def rare_value(item: Examined, table: Table, use: ColumnUse, rare_fraction: float) -> Predicate | None:
    """The predicate of a partial index, if what the statement asks for is a rare value of a skewed column."""
    column = table.columns.get(use.column)
    if column is None or not column.has_statistics:
        return None
    top = max((column.null_frac, *column.frequencies))
    if use.use == p.NULL_TEST and use.literal == "null":
        is_rare = 0 < column.null_frac <= rare_fraction and top >= COMMON_VALUE
        return Predicate(use.column, None, column.null_frac) if is_rare else None
    if use.use != p.EQUALITY or top < COMMON_VALUE:
        return None
    if use.literal is not None:
        wanted: set[str | None] = {_stored(use.literal, column.category)}
    elif use.parameter is not None:
        # Every typical set asks for the same value only if the rows per call leave no other.
        wanted = {values[use.parameter - 1] for values in item.sets}
    else:
        return None
    if len(wanted) != 1:
        return None
    value = next(iter(wanted))
    frequency = dict(zip(column.common, column.frequencies, strict=False)).get(value or "")
    if value is None or frequency is None or frequency > rare_fraction:
        return None
    shown = {"t": "true", "f": "false"}.get(value, value) if column.category == "B" else value
    return Predicate(use.column, shown, frequency)


def _stored(literal: str, category: str) -> str:
    return {"true": "t", "false": "f"}.get(literal, literal) if category == "B" else literal


def _of_group(group: _Group) -> list[Candidate]:
    equal = [Key(c) for c in group.equal]
    ranges = [Key(c) for c in group.ranges]
    joins = [Key(c) for c in group.joins]
    order = list(group.order)
    lists: list[list[Key]] = []
    lists += [[key] for key in (*equal, *ranges, *joins)]
    lists += [equal[:n] for n in range(2, MAX_KEYS + 1) if len(equal) >= n]
    lists += [[*equal[: MAX_KEYS - 1], key] for key in (*ranges, *joins) if equal]
    lists += [[key, *equal[: MAX_KEYS - 1]] for key in joins if equal]
    lists += [[key, other] for key in joins for other in ranges]
    if order:
        lists += [order, [*equal[: max(MAX_KEYS - len(order), 0)], *order]]
    if len(joins) > 1:
        lists.append(joins)
    found = [Candidate(group.table.oid, keys) for keys in _tidy(lists)]
    for predicate in group.rare:
        rest = [[k for k in keys if k.column != predicate.column] for keys in lists]
        smaller = [keys for keys in _tidy(rest) if len(keys) <= 2]
        found += [Candidate(group.table.oid, keys, predicate) for keys in [*smaller, (Key(predicate.column),)]]
    return found


def _tidy(lists: Iterable[Sequence[Key]]) -> list[tuple[Key, ...]]:
    """Each list without repeated columns, cut to the most keys, once."""
    found: dict[tuple[Key, ...], None] = {}
    for keys in lists:
        unique = {key.column: key for key in reversed(keys)}
        ordered = tuple(unique[column] for column in dict.fromkeys(key.column for key in keys))[:MAX_KEYS]
        if ordered:
            found.setdefault(ordered)
    return list(found)
