"""ATTACH and DETACH PARTITION."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.safety import locks, parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, SCAN, Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain_constraints
from pg_architect.safety.readers.fields import only
from pg_architect.safety.relation import INDEXES, Relation


def read_attach(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """ATTACH PARTITION of a table, or of an index to a partitioned one."""
    only(command, "subtype", "def_", "behavior")
    only(command.def_, "name", "bound")
    if relation.kind in INDEXES:
        child = context.names.resolve(command.def_.name, ("i",))
        facts = {"objects": {"partition_oid": child.oid}}
        return [Operation("attach_index", relation, locks.ACCESS_EXCLUSIVE, undo="none", facts=facts)]
    if relation.kind != "p":
        raise Refused("object-kind", f"{relation.display} is not partitioned")
    child = context.names.resolve(command.def_.name, ("r", "p"))
    check_bound(command.def_.bound, context)
    for row in context.db.query(sql.HAS_TRIGGER, child.oid):
        raise Refused("foreign-code", f"trigger {row['name']} of {child.display} would run for inserts into the parent")
    default = default_partition(relation, context)
    certain_constraints.check_bound(command.def_.bound, relation, default, context)
    certain_constraints.check_attached(child, relation, context)
    others = {**context.partners(relation, locks.SHARE_ROW_EXCLUSIVE), child.display: locks.ACCESS_EXCLUSIVE}
    if default is not None:
        others[default.display] = locks.ACCESS_EXCLUSIVE
    larger = max((one for one in (child, default) if one is not None), key=lambda one: one.bytes)
    return [
        Operation(
            "attach_partition",
            relation,
            locks.SHARE_UPDATE_EXCLUSIVE,
            others,
            work=BRIEF if larger.is_empty else SCAN,
            worked=larger,
            revert=(f"alter table {relation.display} detach partition {child.display}",),
            facts={
                "partition": child.display,
                "default": default.display if default else None,
                "may_fail": default is not None and not default.is_empty,
            },
        )
    ]


def read_detach(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """DETACH PARTITION, concurrently or not."""
    only(command, "subtype", "def_", "behavior")
    only(command.def_, "name", "concurrent")
    child = context.names.resolve(command.def_.name, ("r", "p"))
    rows = context.db.query(sql.PARTITION_BOUND, child.oid, relation.oid)
    if not rows:
        raise Refused("exists", f"{child.display} is no partition of {relation.display}")
    concurrent = bool(command.def_.concurrent)
    if concurrent and default_partition(relation, context) is not None:
        raise Refused("certain-to-fail", f"{relation.display} has a default partition: the server refuses concurrently")
    lock = locks.SHARE_UPDATE_EXCLUSIVE if concurrent else locks.ACCESS_EXCLUSIVE
    others = {**context.partners(relation, locks.ACCESS_EXCLUSIVE), child.display: locks.ACCESS_EXCLUSIVE}
    if (default := default_partition(relation, context)) is not None:
        others[default.display] = locks.ACCESS_EXCLUSIVE  # its constraint changes with the siblings
    return [
        Operation(
            "detach_partition",
            relation,
            lock,
            others,
            own_transaction=concurrent,
            revert=(f"alter table {relation.display} attach partition {child.display} {rows[0]['bound']}",),
            facts={"partition": child.display, "could_be_concurrent": not concurrent and default is None},
        )
    ]


def default_partition(relation: Relation, context: Context) -> Relation | None:
    """The default partition of a partitioned table, None without one."""
    rows = context.db.query(sql.DEFAULT_PARTITION, relation.oid)
    return context.names.of(rows[0]["oid"]) if rows else None


def check_bound(bound: Tree, context: Context) -> None:
    """Bounds are constants; an expression is evaluated when the partition is made."""
    only(bound, "strategy", "is_default", "modulus", "remainder", "listdatums", "lowerdatums", "upperdatums")
    for item in (*(bound.listdatums or ()), *(bound.lowerdatums or ()), *(bound.upperdatums or ())):
        if kind_of(item) == "ColumnRef" and (parse.strings(item.fields) or [""])[0] in ("minvalue", "maxvalue"):
            continue
        context.expressions.prove(item, {}, "the bound")
