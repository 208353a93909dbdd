"""ANALYZE, VACUUM, CLUSTER and REINDEX: what is stored is read or written anew, what it says stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pg_architect.core.db import Row
from pg_architect.safety import locks, parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, BUILD, REWRITE, SCAN, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers.fields import enum, only, options, value_text
from pg_architect.safety.relation import Relation

_BOOLEAN = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
# The options that are true or false, and the version that brought each.
_OF_ANALYZE = {"verbose": 0, "skip_locked": 120000}
_OF_VACUUM = {
    **_OF_ANALYZE,
    "full": 0,
    "freeze": 0,
    "analyze": 0,
    "disable_page_skipping": 90600,
    "truncate": 120000,
    "process_toast": 140000,
    "process_main": 160000,
    "skip_database_stats": 160000,
    "only_database_stats": 160000,
}
_BUFFER_USAGE_LIMIT = 160000
_MAX_PARALLEL = 1024
# CLUSTER needs an order.
_CLUSTERABLE = frozenset({"btree", "gist"})


def read_vacuum(tree: Tree, context: Context) -> Sequence[Operation]:
    """VACUUM and ANALYZE: each table that is named is one operation, and each of its partitions where it matters."""
    only(tree, "options", "rels", "is_vacuumcmd")
    wanted = _vacuum_options(tree, context)
    full = bool(wanted.get("full"))
    kind = "vacuum_full" if full else "vacuum" if tree.is_vacuumcmd else "analyze"
    if full and ("parallel" in wanted or wanted.get("disable_page_skipping")):
        raise Refused("certain-to-fail", "VACUUM FULL takes no PARALLEL and no DISABLE_PAGE_SKIPPING")
    if not tree.rels:
        return [_whole_database(kind, wanted)]
    operations = []
    for item in tree.rels:
        only(item, "relation", "va_cols")
        only(item.relation, "schemaname", "relname", "inh", "relpersistence")
        relation = context.names.resolve(item.relation, ("r", "p", "m"))
        names = parse.strings(item.va_cols) or []
        if names and tree.is_vacuumcmd and not wanted.get("analyze"):
            raise Refused("certain-to-fail", "columns are named for ANALYZE only")
        known = relation.columns(context.db)
        for name in names:
            if name not in known:
                raise Refused("exists", f"{relation.display} has no column {name}")
        if len(set(names)) != len(names):
            raise Refused("certain-to-fail", f"a column of {relation.display} is named twice")
        operations += [_vacuum(kind, one, wanted, names) for one in _with_leaves(relation, context)]
    return operations


def _vacuum(kind: str, relation: Relation, wanted: Mapping[str, Any], columns: list[str]) -> Operation:
    # ANALYZE reads a sample of at most 300 pages per unit of the statistics target.
    work = {"analyze": BRIEF, "vacuum": SCAN, "vacuum_full": REWRITE}[kind]
    return Operation(
        kind,
        relation,
        locks.ACCESS_EXCLUSIVE if kind == "vacuum_full" else locks.SHARE_UPDATE_EXCLUSIVE,
        work=BRIEF if relation.kind == "p" else work,
        own_transaction=kind != "analyze",
        undo="not_needed",
        facts={"table": relation.display, "options": dict(wanted), "columns": columns, "whole_database": False},
    )


def _whole_database(kind: str, wanted: Mapping[str, Any]) -> Operation:
    if kind == "vacuum_full":
        raise Refused("not-understood", "VACUUM FULL of the whole database writes every table anew: name tables")
    facts = {"options": dict(wanted), "whole_database": True}
    return Operation(
        kind,
        lock=locks.SHARE_UPDATE_EXCLUSIVE,
        work=BRIEF if kind == "analyze" or wanted.get("only_database_stats") else SCAN,
        own_transaction=True,
        undo="not_needed",
        facts=facts,
    )


def _with_leaves(relation: Relation, context: Context) -> list[Relation]:
    """A partitioned table and those of its partitions that hold rows; any other table alone."""
    rows = context.db.query(sql.LEAVES, relation.oid) if relation.kind == "p" else []
    return [relation, *(context.names.of(row["oid"]) for row in rows)]


def _vacuum_options(tree: Tree, context: Context) -> dict[str, Any]:
    known = _OF_VACUUM if tree.is_vacuumcmd else _OF_ANALYZE
    found: dict[str, Any] = {}
    for name, value in options(tree.options).items():
        if name in known:
            _check_version(name, known[name], context)
            found[name] = _boolean(name, value)
        elif name == "buffer_usage_limit":
            _check_version(name, _BUFFER_USAGE_LIMIT, context)
            found[name] = value_text(value)
        elif name == "index_cleanup" and tree.is_vacuumcmd:
            text = (value_text(value) or "on").lower()
            found[name] = text if text == "auto" else _boolean(name, value)
        elif name == "parallel" and tree.is_vacuumcmd:
            text = value_text(value) or ""
            if not text.isdecimal() or int(text) > _MAX_PARALLEL:
                raise Refused("certain-to-fail", f"PARALLEL takes a number up to {_MAX_PARALLEL}")
            found[name] = int(text)
        else:
            raise Refused("not-understood", f"option {name} is not understood")
    return found


def _check_version(name: str, version: int, context: Context) -> None:
    if context.version < version:
        raise Refused("server-syntax", f"this server does not know the option {name}")


def _boolean(name: str, value: Tree | None) -> bool:
    text = (value_text(value) or "true").lower()
    if text not in _BOOLEAN:
        raise Refused("certain-to-fail", f"option {name} takes true or false")
    return _BOOLEAN[text]


def read_cluster(tree: Tree, context: Context) -> Sequence[Operation]:
    """CLUSTER of one table, which is written anew in the order of an index."""
    only(tree, "relation", "indexname", "params")
    if tree.relation is None:
        raise Refused("not-understood", "CLUSTER without a table writes all that were ever clustered anew: name one")
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    for name, value in options(tree.params).items():
        if name != "verbose":
            raise Refused("not-understood", f"option {name} is not understood")
        _boolean(name, value)
    relation = context.names.resolve(tree.relation, ("r", "p", "m"))
    indexes = relation.indexes(context.db)
    wanted = next(
        (one for one in indexes if (one["name"] == tree.indexname if tree.indexname else one["is_clustered"])), None
    )
    if wanted is None:
        what = f"no index {tree.indexname}" if tree.indexname else "not been clustered before: name an index"
        raise Refused("exists", f"{relation.display} has {what}")
    detail = context.db.query(sql.INDEX, wanted["oid"])[0]
    if detail["method"] not in _CLUSTERABLE or detail["is_partial"] or not detail["valid"]:
        raise Refused("certain-to-fail", f"{wanted['display']} is partial, invalid, or has no order to follow")
    partitioned = relation.kind == "p"
    operations = []
    for one in _with_leaves(relation, context):
        facts = {"table": one.display, "index": wanted["display"] if one is relation else None}
        operations.append(
            Operation(
                "cluster", one, locks.ACCESS_EXCLUSIVE, _indexes_locked(one, locks.ACCESS_EXCLUSIVE, context),
                work=BRIEF if one.kind == "p" else REWRITE, own_transaction=partitioned, undo="not_needed", facts=facts,
            )
        )  # fmt: skip
    return operations


def _indexes_locked(relation: Relation, lock: str, context: Context) -> dict[str, str]:
    return {str(one["display"]): lock for one in relation.indexes(context.db)}


def read_reindex(tree: Tree, context: Context) -> Sequence[Operation]:
    """REINDEX of an index or of a table, concurrently or not."""
    kind = enum(tree.kind)
    if kind not in ("REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE") or tree.relation is None:
        raise Refused("not-understood", "REINDEX of more than one table is not understood: name tables")
    only(tree, "kind", "relation", "params")
    concurrent = False
    for name, value in options(tree.params).items():
        if name not in ("verbose", "concurrently"):
            raise Refused("not-understood", f"option {name} is not understood")
        concurrent |= _boolean(name, value) and name == "concurrently"
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    if kind == "REINDEX_OBJECT_TABLE":
        relation = context.names.resolve(tree.relation, ("r", "p", "m"))
        partitioned, word = relation.kind == "p", "table"
        operations = [
            _reindex(one, one.indexes(context.db), concurrent, partitioned) for one in _with_leaves(relation, context)
        ]
    else:
        relation = context.names.resolve(tree.relation, ("i", "I"))
        partitioned, word = relation.kind == "I", "index"
        operations = _reindex_index(relation, concurrent, partitioned, context)
    exclusion = word == "index" and context.db.query(sql.INDEX, relation.oid)[0]["is_exclusion"]
    safer = () if concurrent or exclusion else (f"reindex {word} concurrently {relation.display}",)
    return [replace(one, safer=safer) for one in operations]


def _reindex_index(index: Relation, concurrent: bool, partitioned: bool, context: Context) -> list[Operation]:
    rows = context.db.query(sql.LEAVES, index.oid) if partitioned else [{"oid": index.oid}]
    operations = []
    for row in rows:
        detail = context.db.query(sql.INDEX, row["oid"])[0]
        if concurrent and detail["is_exclusion"]:
            raise Refused("certain-to-fail", "the index of an exclusion constraint is not built anew concurrently")
        table = context.names.of(detail["table_oid"])
        mine = [one for one in table.indexes(context.db) if one["oid"] == row["oid"]]
        operations.append(_reindex(table, mine, concurrent, partitioned))
    return operations or [Operation(_kind(concurrent), undo="not_needed", own_transaction=True)]


def _kind(concurrent: bool) -> str:
    return "reindex_concurrently" if concurrent else "reindex"


def _reindex(table: Relation, indexes: Sequence[Row], concurrent: bool, partitioned: bool) -> Operation:
    lock = locks.SHARE_UPDATE_EXCLUSIVE if concurrent else locks.ACCESS_EXCLUSIVE
    return Operation(
        _kind(concurrent),
        table,
        locks.SHARE_UPDATE_EXCLUSIVE if concurrent else locks.SHARE,
        {str(one["display"]): lock for one in indexes},
        work=BUILD if indexes and table.kind != "p" else BRIEF,
        # The server does one partition after the other, each in a transaction.
        own_transaction=concurrent or partitioned,
        undo="not_needed",
        facts={
            "builds": len(indexes),
            "keys": max((len(one["columns"]) for one in indexes), default=1),
            "indexes": [one["display"] for one in indexes],
            "objects": {"index_oids": {one["display"]: one["oid"] for one in indexes}},
        },
    )
