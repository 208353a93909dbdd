"""Tables and statements made by hand, for tests of the pure parts of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pg_architect.safety import parse
from pg_architect.telemetry import name_resolution, predicates
from pg_architect.telemetry.examination import Examined
from pg_architect.telemetry.plans import Plan, PlanNode
from pg_architect.telemetry.statements import CapturedStatement
from pg_architect.telemetry.tables import Column, Index, IndexKey, Table

OID = 20000


def column(name: str, type_name: str = "bigint", **details: Any) -> Column:
    """A column; by default a unique bigint with a histogram from 0 to 100 and statistics."""
    values: dict[str, Any] = {
        "name": name, "number": 1, "type": type_name, "category": "N", "is_indexable": True,
        "length": 8, "alignment": "d", "is_not_null": True, "has_statistics": True, "null_frac": 0.0,
        "n_distinct": -1.0, "correlation": 0.0, "width": 8, "common": (), "frequencies": (),
        "bounds": tuple(str(i) for i in range(101)),
    }  # fmt: skip
    return Column(**(values | details))


def skewed(name: str, values: Mapping[str, float], type_name: str = "text", **details: Any) -> Column:
    """A column whose values and their frequencies are all known."""
    shape = {"category": "S", "length": -1, "alignment": "i", "width": 5} if type_name == "text" else {}
    rest: dict[str, Any] = {"n_distinct": float(len(values)), "common": tuple(values), "bounds": ()}
    return column(name, type_name, **(shape | rest | {"frequencies": tuple(values.values())} | details))


def index(name: str, *columns: str, **details: Any) -> Index:
    keys = tuple(IndexKey(c, True, True, False, False) for c in columns)
    values: dict[str, Any] = {
        "oid": 1, "name": name, "method": "btree", "keys": keys, "included": (), "is_partial": False,
        "is_unique": False, "is_valid": True,
    }  # fmt: skip
    return Index(**(values | details))


def table(*columns: Column, rows: float | None = 1_000_000, indexes: Sequence[Index] = (), **details: Any) -> Table:
    values: dict[str, Any] = {
        "oid": OID, "schema_name": "public", "name": "orders", "kind": "r", "persistence": "p", "is_partition": False,
        "is_system": False, "owner": "app", "pages": 10_000, "inserted": 0, "updated": 0, "deleted": 0,
        "hot_updated": 0, "fillfactor": 100,
    }  # fmt: skip
    made = values | details
    return Table(rows=rows, columns={c.name: c for c in columns}, indexes=tuple(indexes), **made)


def captured(statement_id: int = 1, **details: Any) -> CapturedStatement:
    values: dict[str, Any] = {
        "statement_id": statement_id, "query_id": statement_id, "role_oid": 10, "role_name": "app", "text": "select",
        "kind": "select", "calls": 100, "total_ms": 1000.0, "mean_ms": 10.0, "rows": 100, "rows_per_call": 1.0,
        "share": 0.5, "blocks_per_call": 10_000.0, "wal_bytes_per_call": 0.0, "relation_oids": (OID,),
        "relations": ("public.orders",), "written_oid": None, "plannable": True, "reason": None,
    }  # fmt: skip
    return CapturedStatement(**(values | details))


def examined(
    text: str, of: Table, sets: Sequence[Sequence[str | None]] = ((),), plan: Plan | None = None, **details: Any
) -> Examined:
    """A statement on one table, planned as a sequential scan unless a plan is given."""
    relation = name_resolution.Relation(of.oid, frozenset(of.columns))
    uses = predicates.column_uses(parse.parse_one(text), {(of.schema_name, of.name): relation})
    scan = PlanNode("Seq Scan", of.schema_name, of.name, None, 1.0, 1.0, True)
    plans = tuple(plan or Plan(20_000.0, 1.0, (scan,)) for _ in sets)
    one = captured(**details)
    return Examined(one, text, (of.oid,), uses, (), tuple(tuple(s) for s in sets), (), plans, one.reason)
