"""What the server would refuse about columns, constraints and partitions, however empty or idle the tables are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pg_architect.core.db import Row, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import expression_queries, parse, volatility
from pg_architect.safety.context import Context
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain_queries as sql
from pg_architect.safety.readers import object_queries
from pg_architect.safety.readers.fields import enum, options, value_text
from pg_architect.safety.relation import Relation

# Types that read a text alike in every session, without looking anything up; arrays of them; and those that read a
# text with digits as settings say, but one without not at all.
_ALIKE = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "bool", "uuid", "json", "jsonb", "inet"})
_ALIKE_ARRAYS = frozenset({"_int2", "_int4", "_int8", "_numeric", "_float8", "_bool", "_uuid", "_text", "_varchar"})
_OF_TIME = frozenset({"date", "time", "timetz", "timestamp", "timestamptz", "interval"})
_INTEGERS = {"int2": (21, 15), "int4": (23, 31), "int8": (20, 63)}
_FILLFACTOR = range(10, 101)


def fails(why: str) -> Refused:
    """The refusal."""
    return Refused("certain-to-fail", why)


def also(context: Context, *subtypes: str, column: str | None = None, but: Tree | None = None) -> bool:
    """Whether the ALTER TABLE has a subcommand of these kinds, too, which the server may do first."""
    return any(
        enum(one.subtype) in subtypes and one is not but and (column is None or one.name == column)
        for one in context.commands
    )


# Subcommands after which another value fits a column.
CHANGE_VALUE = ("AT_AlterColumnType", "AT_DropIdentity", "AT_DropExpression", "AT_DropColumn")


def check_fillfactor(items: tuple[Tree, ...] | None, method: str = "heap") -> None:
    """Refused for a fillfactor out of its range; which other parameters there are is not asked here."""
    if method not in ("heap", "btree", "hash", "gist", "spgist"):
        return
    text = value_text(options(items).get("fillfactor"))
    if text is None:
        return
    try:
        value = float(text)
    except ValueError as exc:
        raise fails(f"fillfactor is a number, not {text}") from exc
    if value not in _FILLFACTOR:
        raise fails(f"fillfactor {text} is out of range: whole numbers from 10 to 100")


def check_numbers(wanted: Mapping[str, str | None], old: Row | None = None) -> None:
    """Refused for options of a sequence that contradict each other (init_params in sequence.c); ``old`` is changed."""
    numbers = {
        name: int(value)
        for name, value in wanted.items()
        if name not in ("as", "cycle") and value is not None and value.lstrip("+-").isdecimal()
    }
    increment = numbers.get("increment", old["increment"] if old else 1)
    if increment == 0:
        raise fails("a sequence cannot be incremented by 0")
    if numbers.get("cache", 1) < 1:
        raise fails("a sequence's cache is at least 1")
    if old is not None and "as" in wanted:
        return  # its limits change along
    old_type = {"smallint": "int2", "integer": "int4"}.get(old["type"], "int8") if old else None
    limit = 1 << _INTEGERS[wanted.get("as") or old_type or "int8"][1]
    low, high = (1, limit - 1) if increment > 0 else (-limit, -1)
    lowest = numbers.get("minvalue", old["minimum"] if old and "minvalue" not in wanted else low)
    highest = numbers.get("maxvalue", old["maximum"] if old and "maxvalue" not in wanted else high)
    if lowest < -limit or highest >= limit:
        raise fails("a limit of the sequence is out of the range of its type")
    if lowest >= highest:
        raise fails(f"minvalue {lowest} is not less than maxvalue {highest}")
    start = numbers.get("start", old["start"] if old else lowest if increment > 0 else highest)
    for what, value in (("start", start), ("restart", numbers.get("restart", lowest))):
        if not lowest <= value <= highest:
            raise fails(f"{what} value {value} is not between {lowest} and {highest}")


def check_default(node: Tree | None, type_oid: int | None, what: str, context: Context) -> None:
    """Refused where a default certainly is no value of the column's type."""
    row = volatility.known_type(context.db, type_oid)
    if node is None or row is None:
        return
    text, cast = node, None
    if kind_of(node) == "TypeCast":
        text, cast = node.arg, volatility.type_of(context.db, node)
    if kind_of(text) == "A_Const" and not text.isnull and kind_of(text.val) == "String":
        read_as = volatility.known_type(context.db, cast) if cast is not None else row
        if read_as is not None and (cast is not None or kind_of(node) == "A_Const"):
            check_text(str(text.val.sval), read_as, what, context)
    found = volatility.type_of(context.db, node)
    if found is not None and found != row["oid"]:
        for one in context.db.query(expression_queries.CAST, found, row["oid"]):
            if not one["is_assignable"]:
                raise fails(f"{what} is of type {one['target']}, and the default of type {one['source']}")


def check_text(text: str, type_row: Row, what: str, context: Context) -> None:
    """Refused where a text certainly is no value of a type (a row of volatility.known_type)."""
    name = str(type_row["name"])
    if type_row["kind"] == "e":
        labels = [one["label"] for one in context.db.query(object_queries.LABELS, type_row["oid"])]
        if text not in labels:
            raise fails(f"{what}: {name} has no value '{text}'")
        return
    # Words like now and infinity are read, in any case.
    if name not in _ALIKE | _ALIKE_ARRAYS and not (name in _OF_TIME and not any(one.isdigit() for one in text)):
        return
    try:
        with context.db.subtransaction():
            context.db.query(sql.READS.format(type=f"pg_catalog.{name}"), text)
    except ArchitectError as exc:
        if not handled(exc):
            raise
        if exc.sqlstate[:2] == "22":
            raise fails(f"{what}: {exc.message}") from exc


def check_definition(
    definition: Tree,
    type_oid: int | None,
    columns: Mapping[str, int | None],
    generated: Sequence[str],
    context: Context,
) -> None:
    """Refused for a column definition that contradicts itself.

    ``columns`` are all columns of the table with their types, ``generated`` the names of those that are generated.
    """
    what = f"column {definition.colname}"
    items = {enum(item.contype): item for item in definition.constraints or ()}
    makes = [enum(item.contype) for item in definition.constraints or () if enum(item.contype) in _VALUES]
    if definition.typeName is not None and (parse.strings(definition.typeName.names) or [""])[-1].endswith("serial"):
        makes.append("CONSTR_DEFAULT")
    if len(makes) > 1:
        words = " and ".join(_VALUES[kind] for kind in makes)
        raise fails(f"{what} has two values of its own: {words}")
    if "CONSTR_NULL" in items and items.keys() & {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"}:
        raise fails(f"{what} is null and not null")
    if (item := items.get("CONSTR_DEFAULT")) is not None:
        check_default(item.raw_expr, type_oid, what, context)
    if (item := items.get("CONSTR_IDENTITY")) is not None:
        check_identity_type(type_oid, what, context)
        size = next((name for name, (oid, _) in _INTEGERS.items() if oid == type_oid), "int8")
        given = {name: value_text(value) for name, value in options(item.options).items()}
        check_numbers({"as": size, **given})
    if (item := items.get("CONSTR_GENERATED")) is not None:
        volatility.check_immutable(context.db, item.raw_expr, columns, "a generated column")
        check_generated(item.raw_expr, [*generated, definition.colname], what)


_VALUES = {"CONSTR_DEFAULT": "a default", "CONSTR_IDENTITY": "identity", "CONSTR_GENERATED": "generated"}


def check_generated(node: Tree, generated: Sequence[str], what: str) -> None:
    """Refused where a generated column is made of another, or of itself."""
    for item in parse.walk(node):
        name = (parse.strings(item.fields) or [""])[-1] if kind_of(item) == "ColumnRef" else None
        if name in generated:
            raise fails(f"{what} is generated from {name}, which is generated itself")


def check_identity_type(type_oid: int | None, what: str, context: Context) -> None:
    """Refused for an identity column that is no integer."""
    row = volatility.known_type(context.db, type_oid)
    if row is not None and row["name"] not in _INTEGERS:
        raise fails(f"{what} is of type {row['name']}: identity takes smallint, integer or bigint")


def check_add_identity(row: Row, relation: Relation, context: Context) -> None:
    """Refused for ADD GENERATED AS IDENTITY to a column that cannot have it."""
    what = f"column {row['name']} of {relation.display}"
    if row["identity"]:
        raise fails(f"{what} is an identity column already")
    if row["has_default"]:
        raise fails(f"{what} has a default, or is generated: drop that first")
    if not row["not_null"]:
        raise fails(f"{what} may be null: set not null first")
    check_identity_type(row["type_oid"], what, context)


def check_add_column(definition: Tree, relation: Relation, columns: Mapping[str, Row], context: Context) -> None:
    """Refused for ADD COLUMN of what cannot be added; ``columns`` are those that are there."""
    if relation.row["is_partition"]:
        raise fails(f"{relation.display} is a partition: add the column to the table that it is a partition of")
    kinds = {enum(item.contype) for item in definition.constraints or ()}
    if "CONSTR_PRIMARY" in kinds:
        check_no_primary_key(relation, context)
    type_oid = volatility.named_type(context.db, definition.typeName)
    types = {**{name: row["type_oid"] for name, row in columns.items()}, definition.colname: type_oid}
    check_definition(
        definition, type_oid, types, [row["name"] for row in columns.values() if row["generated"]], context
    )


def check_no_primary_key(relation: Relation, context: Context) -> None:
    """Refused where the table has a primary key already."""
    if also(context, "AT_DropConstraint", "AT_DropColumn"):
        return
    for name, one in relation.constraints(context.db).items():
        if one["type"] == "p":
            raise fails(f"{relation.display} has a primary key already: {name}")
