"""Storage parameters, persistence, the mark of CLUSTER and replica identity."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.safety import locks
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import REWRITE, Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers.certain import check_fillfactor
from pg_architect.safety.readers.fields import enum, only, options, value_text
from pg_architect.safety.relation import INDEXES, Relation

# Those that need no more than SHARE UPDATE EXCLUSIVE (reloptions.c); user_catalog_table and view options are others.
PARAMETERS = frozenset(
    [
        "fillfactor",
        "toast_tuple_target",
        "parallel_workers",
        "autovacuum_enabled",
        "vacuum_index_cleanup",
        "vacuum_truncate",
        "autovacuum_vacuum_threshold",
        "autovacuum_vacuum_max_threshold",
        "autovacuum_vacuum_scale_factor",
        "autovacuum_vacuum_insert_threshold",
        "autovacuum_vacuum_insert_scale_factor",
        "autovacuum_analyze_threshold",
        "autovacuum_analyze_scale_factor",
        "autovacuum_vacuum_cost_delay",
        "autovacuum_vacuum_cost_limit",
        "autovacuum_freeze_min_age",
        "autovacuum_freeze_max_age",
        "autovacuum_freeze_table_age",
        "autovacuum_multixact_freeze_min_age",
        "autovacuum_multixact_freeze_max_age",
        "autovacuum_multixact_freeze_table_age",
        "log_autovacuum_min_duration",
        "vacuum_max_eager_freeze_failure_rate",
    ]
)
# The other parameters of an index take ACCESS EXCLUSIVE.
_LIGHT_OF_INDEXES = frozenset({"fillfactor", "deduplicate_items"})
_OF_INDEXES = frozenset(
    [
        "fillfactor",
        "deduplicate_items",
        "fastupdate",
        "gin_pending_list_limit",
        "pages_per_range",
        "autosummarize",
        "buffering",
    ]
)
OF_VIEWS = frozenset({"security_barrier", "security_invoker", "check_option"})


def read_options(command: Tree, relation: Relation, _context: Context) -> Sequence[Operation]:
    """SET and RESET of storage parameters, and of a view's options."""
    only(command, "subtype", "def_", "behavior")
    known = {"i": _OF_INDEXES, "I": _OF_INDEXES, "v": OF_VIEWS}.get(relation.kind, PARAMETERS)
    wanted = {name: value_text(value) for name, value in options(command.def_).items()}
    for name in wanted:
        if name.removeprefix("toast.") not in known or (name.startswith("toast.") and relation.kind not in ("r", "m")):
            raise Refused("not-understood", f"storage parameter {name} is not understood")
    check_fillfactor(command.def_, "btree" if relation.kind in INDEXES else "heap")
    old = dict(item.split("=", 1) for item in relation.row["options"] or ())
    old |= {
        f"toast.{name}": value for name, value in (item.split("=", 1) for item in relation.row["toast_options"] or ())
    }
    is_reset = enum(command.subtype) == "AT_ResetRelOptions"
    for name in wanted.keys() & {"security_invoker", "security_barrier"}:
        if is_on(old.get(name)) and (is_reset or not is_on(wanted[name] or "true")):
            raise Refused("row-security-changed", f"{name} guards what the view shows to whom")
    what = {"i": "index", "I": "index", "m": "materialized view", "v": "view"}.get(relation.kind, "table")
    head = f"alter {what} {relation.display}"
    revert = [
        f"{head} set ({name} = {_literal(old[name])})" if name in old else f"{head} reset ({name})" for name in wanted
    ]
    light = relation.kind != "v" and (relation.kind not in INDEXES or wanted.keys() <= _LIGHT_OF_INDEXES)
    lock = locks.SHARE_UPDATE_EXCLUSIVE if light else locks.ACCESS_EXCLUSIVE
    facts = {"options": {} if is_reset else wanted, "reset": list(wanted) if is_reset else []}
    return [
        Operation(
            "set_view_options" if relation.kind == "v" else "set_storage_parameters",
            relation,
            lock,
            revert=tuple(revert),
            facts=facts,
        )
    ]


def is_on(value: str | None) -> bool:
    """Whether a stored boolean option is on; one without a value is."""
    return value is not None and value.lower() in ("true", "on", "yes", "1", "")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def read_cluster_mark(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """CLUSTER ON and SET WITHOUT CLUSTER: which index a later CLUSTER would follow."""
    only(command, "subtype", "name", "behavior")
    indexes = {one["name"]: one for one in relation.indexes(context.db)}
    if command.name is not None and command.name not in indexes:
        raise Refused("exists", f"{relation.display} has no index {command.name}")
    old = next((name for name, one in indexes.items() if one["is_clustered"]), None)
    head = f"alter table {relation.display}"
    revert = f"{head} set without cluster" if old is None else f"{head} cluster on {context.names.display(old)}"
    return [Operation("set_cluster_mark", relation, locks.SHARE_UPDATE_EXCLUSIVE, revert=(revert,))]


def read_persistence(command: Tree, relation: Relation, _context: Context) -> Sequence[Operation]:
    """SET LOGGED and SET UNLOGGED, which write the table anew."""
    only(command, "subtype", "behavior")
    logged = enum(command.subtype) == "AT_SetLogged"
    noop = logged == (relation.row["persistence"] == "p")
    revert = () if noop else (f"alter table {relation.display} set {'unlogged' if logged else 'logged'}",)
    return [
        Operation(
            "set_logged" if logged else "set_unlogged",
            relation,
            locks.ACCESS_EXCLUSIVE,
            work=REWRITE,
            undo="not_needed" if noop else "rebuild",
            revert=revert,
        )
    ]


def read_replica_identity(command: Tree, relation: Relation, context: Context) -> Sequence[Operation]:
    """REPLICA IDENTITY: what logical replication tells of an old row."""
    only(command, "subtype", "def_", "behavior")
    only(command.def_, "identity_type", "name")
    indexes = {one["name"]: one for one in relation.indexes(context.db)}
    if command.def_.name is not None and command.def_.name not in indexes:
        raise Refused("exists", f"{relation.display} has no index {command.def_.name}")
    old = next((name for name, one in indexes.items() if one["is_replica_identity"]), None)
    words = {"d": "default", "n": "nothing", "f": "full"}
    before = words.get(relation.row["replica_identity"]) or f"using index {context.names.display(old or '')}"
    others = {}
    if command.def_.name is not None:
        others[indexes[command.def_.name]["display"]] = locks.SHARE
    return [
        Operation(
            "set_replica_identity",
            relation,
            locks.ACCESS_EXCLUSIVE,
            others,
            revert=(f"alter table {relation.display} replica identity {before}",),
            facts={"identity": command.def_.identity_type},
        )
    ]
