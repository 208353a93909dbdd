"""CREATE VIEW, CREATE TABLE AS, CREATE MATERIALIZED VIEW and REFRESH MATERIALIZED VIEW: what stands for a query."""

from __future__ import annotations

from collections.abc import Sequence

from pg_architect.core.db import Row
from pg_architect.safety import catalogue_queries, locks, parse, user_code
from pg_architect.safety.context import Context
from pg_architect.safety.harmless import prove_harmless
from pg_architect.safety.judgement import Refused
from pg_architect.safety.operation import BRIEF, REWRITE, SCAN, Operation
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import certain_views
from pg_architect.safety.readers import create_queries as sql
from pg_architect.safety.readers.create_table import check_parameters, new_relation
from pg_architect.safety.readers.fields import enum, only, options, value_text
from pg_architect.safety.readers.query import Query, check_proof, prove
from pg_architect.safety.readers.storage import OF_VIEWS, is_on
from pg_architect.safety.relation import Relation


def read_view(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE [OR REPLACE] VIEW, for the asking role's rights unless it is security_invoker."""
    only(tree, "view", "aliases", "query", "replace", "options", "withCheckOption")
    only(tree.view, "catalogname", "schemaname", "relname", "inh", "relpersistence")
    for name, value in options(tree.options).items():
        if name not in OF_VIEWS:
            raise Refused("not-understood", f"view option {name} is not understood")
        value_text(value)
    display, existing = new_relation(tree.view, ("v",) if tree.replace else (), context)
    query = prove(tree.query, "the view's query", context)
    tree.query = query.tree
    aliases = parse.strings(tree.aliases)
    certain_views.check_names(query.tree, aliases, "the view")
    if existing is not None:
        certain_views.check_replaced(query.tree, aliases, existing, context)
    if existing is None:
        return [Operation("create_view", others=query.others, revert=(f"drop view {display}",))]
    _check_security(tree, existing)
    same_columns = _width(query) == len(existing.columns(context.db))
    return [
        Operation(
            "replace_view",
            existing,
            locks.ACCESS_EXCLUSIVE,
            query.others,
            undo="exact" if same_columns else "none",
            revert=(_replace(existing, context),) if same_columns else (),
            facts={"adds_columns": not same_columns},
        )
    ]


def _check_security(tree: Tree, existing: Relation) -> None:
    """OR REPLACE takes away the options that it does not name again."""
    guarding = {"security_invoker", "security_barrier"}
    before = {item.split("=", 1)[0]: item.split("=", 1)[1] for item in existing.row["options"] or ()}
    after = {name: value_text(value) for name, value in options(tree.options).items()}
    for name in guarding:
        if is_on(before.get(name)) != is_on(after.get(name, "true" if name in after else None)):
            raise Refused("row-security-changed", f"{name} of {existing.display} would change: name it as it is")


def read_create_as(tree: Tree, context: Context) -> Sequence[Operation]:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW; SELECT INTO is a SELECT and never comes here."""
    only(tree, "query", "into", "objtype", "if_not_exists")
    only(tree.into, "rel", "colNames", "accessMethod", "options", "skipData")
    only(tree.into.rel, "catalogname", "schemaname", "relname", "inh", "relpersistence")
    is_table = enum(tree.objtype) == "OBJECT_TABLE"
    if not is_table and enum(tree.objtype) != "OBJECT_MATVIEW":
        raise Refused("not-understood", f"create {enum(tree.objtype)} as a query is not understood")
    if tree.into.accessMethod not in (None, "heap"):
        raise Refused("foreign-code", f"access method {tree.into.accessMethod} is not built in")
    if not is_table and tree.into.rel.relpersistence == "u":
        raise Refused("certain-to-fail", "a materialized view cannot be unlogged")
    check_parameters(tree.into.options)
    kinds = ("r", "p") if is_table else ("m",)
    display, existing = new_relation(tree.into.rel, kinds if tree.if_not_exists else (), context)
    query = prove(tree.query, "the query", context)
    tree.query = query.tree
    certain_views.check_names(query.tree, parse.strings(tree.into.colNames), "the table")
    reads = not tree.into.skipData and query.largest is not None and existing is None
    return [
        Operation(
            "create_table_as" if is_table else "create_materialized_view",
            others=query.others,
            work=SCAN if reads else BRIEF,
            worked=query.largest if reads else None,
            undo="exact" if existing is None else "not_needed",
            revert=(f"drop {'table' if is_table else 'materialized view'} {display}",) if existing is None else (),
            facts={"with_data": not tree.into.skipData},
        )
    ]


def read_refresh(tree: Tree, context: Context) -> Sequence[Operation]:
    """REFRESH MATERIALIZED VIEW: runs the stored query with the owner's rights, so that is proved for the owner."""
    only(tree, "concurrent", "skipData", "relation")
    only(tree.relation, "schemaname", "relname", "inh", "relpersistence")
    relation = context.names.resolve(tree.relation, ("m",))
    (view,) = context.db.query(sql.VIEW, relation.oid)
    if tree.concurrent:
        _check_concurrently(relation, view, tree.skipData, context)
    sources = _stored_query(relation, str(view["definition"]), context)
    lock = locks.EXCLUSIVE if tree.concurrent else locks.ACCESS_EXCLUSIVE
    others = {one.display: locks.ACCESS_SHARE for one in sources}
    empties = bool(tree.skipData) and bool(view["populated"])
    return [
        Operation(
            "refresh_materialized_view",
            relation,
            lock,
            others,
            work=BRIEF if tree.skipData else REWRITE,
            undo="rebuild" if empties else "not_needed",
            revert=(f"refresh materialized view {relation.display}",) if empties else (),
            facts={
                "concurrent": bool(tree.concurrent),
                "with_data": not tree.skipData,
                "runs_query": not tree.skipData,
            },
        )
    ]


def _width(query: Query) -> int | None:
    """How many columns a query returns; None where that is not plain."""
    tree = query.tree
    while tree.larg is not None:
        tree = tree.larg
    if tree.valuesLists:
        return len(tree.valuesLists[0])
    targets = [target.val for target in tree.targetList or ()]
    if any(kind_of(value) == "ColumnRef" and kind_of(value.fields[-1]) == "A_Star" for value in targets):
        return None
    return len(targets)


def _replace(view: Relation, context: Context) -> str:
    """The statement that makes a view again as it is."""
    (row,) = context.db.query(sql.VIEW, view.oid)
    stored = [item.split("=", 1) for item in view.row["options"] or ()]
    values = ", ".join(f"{name} = '{value}'" for name, value in stored)
    columns = ", ".join(context.names.display(name) for name in view.columns(context.db))
    head = f"create or replace view {view.display} ({columns})"
    definition = str(row["definition"]).strip().rstrip(";")
    return f"{head}{f' with ({values})' if values else ''} as {definition}"


def _check_concurrently(relation: Relation, view: Row, no_data: bool, context: Context) -> None:
    if no_data or not view["populated"]:
        raise Refused("certain-to-fail", f"{relation.display} can be refreshed concurrently only with data in it")
    for index in relation.indexes(context.db):
        if index["is_unique"] and index["valid"] and not index["has_expressions"] and not index["is_partial"]:
            return
    raise Refused("certain-to-fail", f"{relation.display} has no unique index over columns, which concurrently needs")


def _stored_query(relation: Relation, definition: str, context: Context) -> list[Relation]:
    """The tables that a materialized view reads, once its query and its indexes are proved.

    The definition is text again, and its names are read as its owner's search_path says. What the server stored is
    the query itself: nothing of a user's may be in it but the tables that the proof saw, and types and functions that
    are proved.
    """
    catalogue = context.expressions.catalogue.deeper()
    proof = prove_harmless(context.db, definition, str(relation.row["owner"]), catalogue)
    check_proof(proof, f"the query of {relation.display}")
    read = {one.oid for one in proof.relations}
    used = context.db.query(sql.RULE_USES, relation.oid)
    for row in used:
        if row["class"] == "pg_class" and row["oid"] in read:
            continue
        if _is_proved(row, context):
            continue
        raise Refused("foreign-code", f"the query of {relation.display} uses {row['object']}")
    if read - {row["oid"] for row in used if row["class"] == "pg_class"}:
        raise Refused("foreign-code", f"the query of {relation.display} reads other tables than its text says")
    for row in context.db.query(catalogue_queries.USER_CODE_OF_TABLE, relation.oid):
        raise Refused("foreign-code", f"{relation.display}: {row['problem']}")
    return [context.names.of(oid) for oid in sorted({*read, *(one.oid for one in proof.behind)})]


def _is_proved(row: Row, context: Context) -> bool:
    """Whether a type or function of a user that a stored query uses is proved."""
    catalogue = context.expressions.catalogue
    if row["class"] == "pg_type":
        return user_code.type_problem(context.db, catalogue, row["oid"]) is None
    if row["class"] == "pg_proc":
        schema, name = row["function_schema"], row["function_name"]
        return user_code.function_problem(context.db, catalogue, schema, name) is None
    return False
