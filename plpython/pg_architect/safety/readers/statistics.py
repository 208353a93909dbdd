"""CREATE STATISTICS and ALTER STATISTICS … SET STATISTICS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pg_architect.core.db import Row
from pg_architect.core.identifier import shortened
from pg_architect.safety import locks, parse
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Reason, Refused
from pg_architect.safety.operation import Operation
from pg_architect.safety.parse import Tree
from pg_architect.safety.readers import object_queries as sql
from pg_architect.safety.readers.fields import only
from pg_architect.safety.readers.types import strings
from pg_architect.safety.relation import Relation, check_schema_is_users

_KINDS = frozenset({"ndistinct", "dependencies", "mcv"})
_MAX_COLUMNS = 8  # STATS_MAX_DIMENSIONS
_UNNAMED = 160000
# The widest range of all versions: 10 000 is the server's limit.
_TARGETS = range(-1, 10001)


def missing(names: tuple[Tree, ...] | None, context: Context) -> bool:
    """Whether no statistics object has this name on the role's path; Refused where nothing may be changed."""
    parts = _plain(names)
    if len(parts) == 2:
        check_schema_is_users(parts[0])
    return not _rows(parts, context)


def find(names: tuple[Tree, ...] | None, context: Context) -> tuple[Row, Relation]:
    """The statistics object that a list of names means, and its table; Refused where it is not a user's."""
    parts = _plain(names)
    rows = _rows(parts, context)
    if not rows:
        raise Refused("exists", f"statistics object {'.'.join(parts)} does not exist")
    row = rows[0]
    check_schema_is_users(row["schema"])
    if row["extension"] is not None:
        raise Refused("extension-member", f"{row['display']} belongs to the extension {row['extension']}")
    if len(parts) == 1:
        detail = f"{parts[0]} has no schema: it is taken to be {row['display']}, found by the role's search_path"
        context.names.notes.append(Reason("schema", detail, {"schema": row["schema"]}))
    return row, context.names.of(row["table_oid"])


def _plain(names: tuple[Tree, ...] | None) -> list[str]:
    parts = parse.strings(names) or []
    if not 1 <= len(parts) <= 2:
        raise Refused("names", "the statistics object is named in a way that is not understood")
    return parts


def _rows(parts: list[str], context: Context) -> Sequence[Row]:
    schemas = [parts[0]] if len(parts) == 2 else ["pg_catalog", *context.names.role.search_path]
    for schema in schemas:
        if rows := context.db.query(sql.STATISTICS, parts[-1], schema):
            return rows
    return []


def check_free(schema: str, name: str, context: Context) -> None:
    """Refused where the schema has a statistics object of that name; they share it with no other objects."""
    if context.db.query(sql.STATISTICS, name, schema):
        raise Refused("name-taken", f"{schema} already has a statistics object {name}")


def read_create(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE STATISTICS on columns and expressions of one table; the next ANALYZE fills it."""
    only(tree, "defnames", "stat_types", "exprs", "relations", "if_not_exists")
    if len(tree.relations or ()) != 1 or parse.kind_of(tree.relations[0]) != "RangeVar":
        raise Refused("not-understood", "statistics on anything but one table are not understood")
    only(tree.relations[0], "schemaname", "relname", "inh", "relpersistence")
    relation = context.names.resolve(tree.relations[0], ("r", "p", "m"))
    kinds = parse.strings(tree.stat_types)
    if kinds is None or set(kinds) - _KINDS:
        raise Refused("not-understood", "this kind of statistics is not understood")
    columns, expressions = _read_items(tree, relation, context)
    if len(columns) + expressions < 2 and (columns or kinds):
        raise Refused("certain-to-fail", "statistics of one column, or of a kind on one expression, cannot be made")
    parts = parse.strings(tree.defnames) or [] if tree.defnames else []
    if not parts:
        if context.version < _UNNAMED:
            raise Refused("server-syntax", "this server wants a name for the statistics object")
        base = shortened("_".join([relation.name, *(columns or ["expr"])]), 55)
        names = (f"{base}_stat{number or ''}" for number in range(999))
        parts = [
            relation.schema,
            next(one for one in names if not context.db.query(sql.STATISTICS, one, relation.schema)),
        ]
    if len(parts) > 2:
        raise Refused("names", "the statistics object is named in a way that is not understood")
    schema = context.names.check_schema(parts[0] if len(parts) == 2 else None)
    tree.defnames = strings(schema, parts[-1])
    display = context.names.display(schema, parts[-1])
    facts = {"name": display, "columns": columns, "expressions": expressions, "kinds": kinds}
    lock = locks.SHARE_UPDATE_EXCLUSIVE
    if tree.if_not_exists and (taken := context.db.query(sql.STATISTICS, parts[-1], schema)):
        if taken[0]["table_oid"] != relation.oid:
            raise Refused(
                "if-not-exists-hides", f"if not exists would report success, but {display} is of another table"
            )
        return [Operation("create_statistics", relation, lock, undo="not_needed", facts=facts)]
    check_free(schema, parts[-1], context)
    return [Operation("create_statistics", relation, lock, revert=(f"drop statistics {display}",), facts=facts)]


def _read_items(tree: Tree, relation: Relation, context: Context) -> tuple[list[str], int]:
    """The names of the columns, and how many expressions there are; each is proved."""
    known: Mapping[str, Row] = relation.columns(context.db)
    problems = {name: row["problem"] for name, row in known.items()}
    columns: list[str] = []
    expressions = 0
    for item in tree.exprs or ():
        only(item, "name", "expr")
        if item.name is None:
            context.expressions.prove(item.expr, problems, "the expression")
            expressions += 1
            continue
        if item.name not in known:
            raise Refused("exists", f"{relation.display} has no column {item.name}")
        if known[item.name]["problem"] is not None:
            raise Refused("foreign-code", known[item.name]["problem"])
        if item.name in columns:
            raise Refused("certain-to-fail", f"column {item.name} is given twice")
        columns.append(item.name)
    if len(columns) + expressions > _MAX_COLUMNS:
        raise Refused("certain-to-fail", f"statistics are on {_MAX_COLUMNS} columns at most")
    return columns, expressions


def read_alter(tree: Tree, context: Context) -> Sequence[Operation]:
    """ALTER STATISTICS … SET STATISTICS: how much the next ANALYZE samples for it. The table is not locked."""
    only(tree, "defnames", "stxstattarget", "missing_ok")
    value = tree.stxstattarget
    target = value if isinstance(value, int) or value is None else getattr(value, "ival", None)
    if target is not None and target not in _TARGETS:
        raise Refused("certain-to-fail", "the target must lie between -1 and 10000")
    if tree.missing_ok and missing(tree.defnames, context):
        return [Operation("alter_statistics", undo="not_needed", facts={"missing": True})]
    row, relation = find(tree.defnames, context)
    tree.defnames = strings(row["schema"], row["name"])
    revert = f"alter statistics {row['display']} set statistics {row['target']}"
    facts = {"name": row["display"], "target": target, "objects": {"statistics": {row["display"]: row["oid"]}}}
    return [Operation("alter_statistics", relation, revert=(revert,), facts=facts)]
