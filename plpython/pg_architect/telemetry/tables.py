"""What is known of the tables that statements touch: columns with their statistics, indexes, writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_architect.core.db import Database, Row
from pg_architect.core.identifier import shown


@dataclass(frozen=True, slots=True)
class Column:
    """One column with its planner statistics; the values are somebody's data and never leave the analysis."""

    name: str
    number: int
    type: str
    category: str  # pg_type.typcategory of the base type: N, S, D, B, E, …
    is_indexable: bool  # a built-in type with a default B-tree operator class
    length: int  # pg_type.typlen: -1 for variable length
    alignment: str
    is_not_null: bool
    has_statistics: bool
    null_frac: float
    n_distinct: float  # as in pg_stats: negative means a fraction of the rows
    correlation: float | None
    width: int
    common: tuple[str, ...]
    frequencies: tuple[float, ...]
    bounds: tuple[str, ...]

    def distinct(self, rows: float) -> float:
        """Estimated number of distinct values among that many rows."""
        estimate = -self.n_distinct * rows if self.n_distinct < 0 else self.n_distinct
        return max(estimate, len(self.common), 1.0)


@dataclass(frozen=True, slots=True)
class IndexKey:
    column: str | None  # None for an expression
    is_default_class: bool
    is_default_collation: bool
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Index:
    oid: int
    name: str
    method: str
    keys: tuple[IndexKey, ...]
    included: tuple[str, ...]
    is_partial: bool
    is_unique: bool
    is_valid: bool

    @property
    def columns(self) -> tuple[str | None, ...]:
        return tuple(key.column for key in self.keys)


@dataclass(frozen=True, slots=True)
class Table:
    oid: int
    schema_name: str
    name: str
    kind: str  # pg_class.relkind
    persistence: str
    is_partition: bool
    is_system: bool
    owner: str
    rows: float | None  # pg_class.reltuples; None if never analysed
    pages: int  # pg_class.relpages
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...]
    inserted: int  # cumulative, pg_stat_all_tables
    updated: int
    deleted: int
    hot_updated: int
    fillfactor: int

    @property
    def qualified_name(self) -> str:
        return shown(self.schema_name, self.name)

    @property
    def unsupported(self) -> str | None:
        """Why no index is proposed on it, if so."""
        kinds = {"p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}
        if self.kind in kinds:
            return f"an index on a {kinds[self.kind]} is not supported yet"
        if self.kind != "r":
            return "it is not an ordinary table"
        if self.is_system:
            return "it belongs to the system"
        if self.persistence == "t":
            return "it is a temporary table"
        if self.is_partition:
            return "an index on a partition is not supported yet"
        return None


_TABLES = """
select c.oid, n.nspname as schema_name, c.relname as name, c.relkind as kind, c.relpersistence as persistence,
       c.relispartition as is_partition,
       n.nspname in ('pg_catalog', 'information_schema', 'pg_toast', 'architect') or c.oid < 16384 as is_system,
       pg_catalog.pg_get_userbyid(c.relowner) as owner,
       c.reltuples::float8 as rows,
       -- not pg_relation_size, which waits for whoever has locked the table
       c.relpages as pages,
       coalesce(s.n_tup_ins, 0) as inserted, coalesce(s.n_tup_upd, 0) as updated,
       coalesce(s.n_tup_del, 0) as deleted, coalesce(s.n_tup_hot_upd, 0) as hot_updated,
       coalesce((select o.option_value::int from pg_catalog.pg_options_to_table(c.reloptions) as o
                  where o.option_name = 'fillfactor'), 100) as fillfactor
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  left join pg_catalog.pg_stat_all_tables as s on s.relid = c.oid
 where c.oid = any ($1::oid[])
"""

_COLUMNS = """
select a.attrelid as relation, a.attname as name, a.attnum as number, a.attnotnull as is_not_null,
       b.typcategory as category, b.typlen as length, b.typalign as alignment,
       (b.oid < 16384 or b.typtype = 'e') and b.typcategory not in ('A', 'P') and exists (
         select from pg_catalog.pg_opclass as o
          where o.opcmethod = (select oid from pg_catalog.pg_am where amname = 'btree') and o.opcdefault
            and o.opcintype in (b.oid,
                                case when b.typtype = 'e' then 'pg_catalog.anyenum'::regtype end,
                                case when b.typtype = 'r' then 'pg_catalog.anyrange'::regtype end,
                                case when b.oid = 'pg_catalog.varchar'::regtype then 'pg_catalog.text'::regtype end)
       ) as is_indexable,
       s.type, s.null_frac, s.n_distinct, s.correlation, s.avg_width, s.most_common_vals, s.most_common_freqs,
       s.histogram_bounds
  from unnest($1::oid[]) as r (oid)
 cross join lateral architect._reader_column_statistics(r.oid) as s
  join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attname = s.column_name
  join pg_catalog.pg_type as t on t.oid = a.atttypid
  join pg_catalog.pg_type as b on b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
 order by a.attrelid, a.attnum
"""

_INDEXES = """
select i.indrelid as relation, i.indexrelid as oid, c.relname as name, m.amname as method, i.indisunique as is_unique,
       i.indisvalid and i.indisready and i.indislive as is_valid, i.indnkeyatts as key_count,
       i.indpred is not null as is_partial,
       k.position, a.attname as "column",
       coalesce(exists (select from pg_catalog.pg_opclass as d
                         where d.opcfamily = o.opcfamily and d.opcmethod = o.opcmethod and d.opcdefault), false)
         as is_default_class,
       coalesce(i.indcollation[k.position - 1] = a.attcollation, false) as is_default_collation,
       coalesce(i.indoption[k.position - 1]::int & 1 = 1, false) as descending,
       coalesce(i.indoption[k.position - 1]::int & 2 = 2, false) as nulls_first
  from pg_catalog.pg_index as i
  join pg_catalog.pg_class as c on c.oid = i.indexrelid
  join pg_catalog.pg_am as m on m.oid = c.relam
 cross join lateral unnest(i.indkey::int2[]) with ordinality as k (number, position)
  left join pg_catalog.pg_opclass as o on o.oid = i.indclass[k.position - 1]
  left join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number and k.number > 0
 where i.indrelid = any ($1::oid[])
 order by i.indrelid, i.indexrelid, k.position
"""


def load_tables(db: Database, oids: Sequence[int]) -> dict[int, Table]:
    """The relations with these oids that still exist."""
    wanted = sorted(set(oids))
    if not wanted:
        return {}
    columns: dict[int, dict[str, Column]] = {}
    for row in db.query(_COLUMNS, wanted):
        columns.setdefault(int(row["relation"]), {})[row["name"]] = _column(row)
    indexes = _indexes(db.query(_INDEXES, wanted))
    return {
        int(row["oid"]): _table(row, columns.get(int(row["oid"]), {}), tuple(indexes.get(int(row["oid"]), ())))
        for row in db.query(_TABLES, wanted)
    }


def _table(row: Row, columns: Mapping[str, Column], indexes: tuple[Index, ...]) -> Table:
    return Table(
        oid=int(row["oid"]),
        schema_name=row["schema_name"],
        name=row["name"],
        rows=None if row["rows"] < 0 else float(row["rows"]),
        columns=columns,
        indexes=indexes,
        kind=row["kind"],
        persistence=row["persistence"],
        is_partition=row["is_partition"],
        is_system=row["is_system"],
        owner=row["owner"],
        pages=int(row["pages"]),
        inserted=int(row["inserted"]),
        updated=int(row["updated"]),
        deleted=int(row["deleted"]),
        hot_updated=int(row["hot_updated"]),
        fillfactor=int(row["fillfactor"]),
    )


def _column(row: Row) -> Column:
    return Column(
        name=row["name"],
        number=int(row["number"]),
        type=row["type"],
        category=row["category"],
        is_indexable=bool(row["is_indexable"]),
        length=int(row["length"]),
        alignment=row["alignment"],
        is_not_null=bool(row["is_not_null"]),
        has_statistics=row["n_distinct"] is not None,
        null_frac=float(row["null_frac"] or 0),
        n_distinct=float(row["n_distinct"] or 0),
        correlation=None if row["correlation"] is None else float(row["correlation"]),
        width=int(row["avg_width"] or max(int(row["length"]), 8)),
        common=tuple(row["most_common_vals"] or ()),
        frequencies=tuple(float(f) for f in row["most_common_freqs"] or ()),
        bounds=tuple(row["histogram_bounds"] or ()),
    )


def _indexes(rows: Sequence[Row]) -> dict[int, list[Index]]:
    grouped: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        grouped.setdefault((int(row["relation"]), int(row["oid"])), []).append(row)
    found: dict[int, list[Index]] = {}
    for (relation, oid), parts in grouped.items():
        head, count = parts[0], int(parts[0]["key_count"])
        keys = tuple(
            IndexKey(p["column"], p["is_default_class"], p["is_default_collation"], p["descending"], p["nulls_first"])
            for p in parts[:count]
        )
        found.setdefault(relation, []).append(
            Index(
                oid=oid,
                name=head["name"],
                method=head["method"],
                keys=keys,
                included=tuple(p["column"] for p in parts[count:]),
                is_partial=head["is_partial"],
                is_unique=head["is_unique"],
                is_valid=head["is_valid"],
            )
        )
    return found
