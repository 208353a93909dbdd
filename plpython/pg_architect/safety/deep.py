"""What stands behind the tables of a query: stored queries, partitions and children, policies.

A judgement looks there (Catalogue.deep). Every answer gives the path to the first thing that cannot be proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pg_architect.core.db import Row
from pg_architect.core.identifier import shown
from pg_architect.safety import catalogue_queries, user_code
from pg_architect.safety import deep_queries as sql
from pg_architect.safety.catalogue import OWN_SCHEMA, SYSTEM_SCHEMAS, Behind, Catalogue, Table
from pg_architect.safety.scope import Unproved

# Views over views over views: deeper than this nobody can follow either.
MAX_VIEWS = 8

_KINDS = {
    "f": "is a foreign table, whose wrapper runs when it is read",
    "S": "is a sequence",
    "c": "is a composite type",
}

# Proves the text of a stored query and returns the tables that it names; raises Unproved.
ProveStored = Callable[[str], Sequence[Table]]


def path_problem(catalogue: Catalogue) -> str | None:
    """Why texts that the server prints could mean something else than they say; None if they cannot."""
    (row,) = catalogue.db.query(sql.PATH_IS_PINNED)
    return None if row["pinned"] else "names can only be proved under search_path = pg_catalog, pg_temp"


def look_behind(catalogue: Catalogue, table: Table, prove_stored: ProveStored) -> Behind:
    """Whether reading a relation is harmless, looked at once for all proofs that share the catalogue."""
    known = catalogue.behind.get(table.oid)
    if known is not None:
        return known
    if table.oid in catalogue.opened or len(catalogue.opened) >= MAX_VIEWS:
        return Behind(f"view {table.display}: views are nested too deeply")
    catalogue.opened.append(table.oid)
    try:
        found = _look(catalogue, table, prove_stored)
    except Unproved as exc:
        found = Behind(str(exc))
    finally:
        catalogue.opened.pop()
    catalogue.behind[table.oid] = found
    return found


def column_problem(catalogue: Catalogue, table: Table, name: str) -> str | None:
    """Why the values of a column may run code of a user, once its type is looked into; None if they cannot."""
    plain = table.columns[name].problem
    if plain is None:
        return None
    types = {str(row["name"]): int(row["type"]) for row in catalogue.db.query(sql.COLUMN_TYPES, table.oid)}
    if name not in types:
        return plain
    problem = user_code.type_problem(catalogue.db, catalogue, types[name])
    return None if problem is None else f"{plain}: {problem}"


def stored_code_problem(catalogue: Catalogue, oid: int, *, has_family: bool = True) -> str | None:
    """Why maintaining a table (scanning, rewriting, building, analyzing) may run code of a user; None if it cannot.

    Its own indexes, checks, generated columns and statistics count, those of its partitions, and every partition key.
    """
    table = catalogue.table(oid)
    try:
        members = _check_family(catalogue, table) if has_family else [oid]
    except Unproved as exc:
        return str(exc)
    for row in catalogue.db.query(catalogue_queries.USER_CODE_OF_TABLES, [str(one) for one in {oid, *members}]):
        return f"{table.display}: {row['problem']}"
    return None


def _look(catalogue: Catalogue, table: Table, prove_stored: ProveStored) -> Behind:
    rows = catalogue.db.query(sql.RELATION, table.oid)
    if not rows:
        raise Unproved(f"relation {table.oid} does not exist")
    (row,) = rows
    if row["schema"] in SYSTEM_SCHEMAS or row["schema"].startswith("pg_"):
        raise Unproved(f"{table.display} belongs to the system")
    if row["schema"] == OWN_SCHEMA:
        raise Unproved(f"{table.display} belongs to pg_architect")
    if row["kind"] in _KINDS:
        raise Unproved(f"{table.display} {_KINDS[row['kind']]}")
    if row["persistence"] == "t":
        raise Unproved(f"{table.display} is temporary")
    if row["kind"] == "v":
        return Behind(None, _check_view(catalogue, table, row, prove_stored))
    members = [table.oid]
    if row["kind"] == "m":
        # Its query runs when it is refreshed and not when it is read.
        _check_storage(table.display, row)
    else:
        members = _check_family(catalogue, table)
    for dependency in catalogue.db.query(catalogue_queries.USER_CODE_OF_TABLES, [str(oid) for oid in members]):
        raise Unproved(f"{table.display}: {dependency['problem']}")
    if row["policies"]:
        _check_policies(catalogue, table)
    return Behind(None)


def _check_storage(name: str, row: Row) -> None:
    if not row["heap"]:
        raise Unproved(f"{name} is not stored in a heap")


def _check_view(catalogue: Catalogue, table: Table, row: Row, prove_stored: ProveStored) -> tuple[Table, ...]:
    """Prove the stored query of a view; what it reads, and what stands behind that."""
    name = f"view {table.display}"
    if row["rules"] != ["_RETURN"]:
        raise Unproved(f"{name} has rules of its own")
    (query,) = catalogue.db.query(sql.STORED_QUERY, table.oid)
    try:
        read = prove_stored(str(query["definition"]))
        _check_uses(catalogue, "pg_catalog.pg_rewrite", int(query["rule"]), {table.oid, *(one.oid for one in read)})
    except Unproved as exc:
        raise Unproved(f"{name}: {exc}") from exc
    return tuple({one.oid: one for one in read}.values())


def _check_uses(catalogue: Catalogue, of: str, oid: int, read: set[int]) -> None:
    """What the server stored is a tree and not the text: nothing of a user's is in it but what the proof saw."""
    for row in catalogue.db.query(sql.USES, of, oid):
        problem: str | None = f"it uses {row['object']}"
        if row["class"] == "pg_class" and row["oid"] in read:
            problem = None
        elif row["class"] == "pg_type":
            problem = user_code.type_problem(catalogue.db, catalogue, row["oid"])
        elif row["class"] == "pg_proc":
            problem = user_code.function_problem(catalogue.db, catalogue, row["function_schema"], row["function_name"])
        if problem is not None:
            raise Unproved(problem)


def _check_family(catalogue: Catalogue, table: Table) -> list[int]:
    """Check a table with its partitions, children and parents; the OIDs of those that are read with it."""
    members = []
    for row in catalogue.db.query(sql.FAMILY, table.oid):
        name = shown(row["schema"], row["name"])
        path = name if row["oid"] == table.oid else f"{table.display}: {name}"
        if row["is_read"]:
            _check_member(path, row)
            members.append(int(row["oid"]))
        _check_key(path, row, catalogue)
    return members


def _check_member(name: str, row: Row) -> None:
    if row["kind"] in _KINDS:
        raise Unproved(f"{name} {_KINDS[row['kind']]}")
    if row["kind"] not in ("r", "p"):
        raise Unproved(f"{name} is no table")
    if row["persistence"] == "t":
        raise Unproved(f"{name} is temporary")
    if row["rules"]:
        raise Unproved(f"{name} has a rule on select")
    if row["kind"] == "r":
        _check_storage(name, row)


def _check_key(name: str, row: Row, catalogue: Catalogue) -> None:
    """The planner compares by a partition key's operator class, and evaluates what the key is made of."""
    if row["kind"] != "p":
        return
    if row["key_expressions"]:
        raise Unproved(f"{name} is partitioned by an expression")
    if row["key_classes"]:
        raise Unproved(f"{name} is partitioned by an operator class that is not built in")
    columns = catalogue.table(row["oid"]).columns
    for column in row["key_columns"]:
        problem = columns[column].problem if column in columns else f"column {column} is gone"
        if problem is not None:
            raise Unproved(f"{name} is partitioned by a column that is not proved: {problem}")


def _check_policies(catalogue: Catalogue, table: Table) -> None:
    """Policies are expressions that run for every row, whoever reads: any role is assumed."""
    columns = {name for name, column in table.columns.items() if column.problem is None}
    for row in catalogue.db.query(sql.POLICIES, table.oid):
        name = f"policy {row['name']} of {table.display}"
        for problem in _expression_problems(catalogue, row["expressions"], columns):
            raise Unproved(f"{name} {problem}")
        try:
            _check_uses(catalogue, "pg_catalog.pg_policy", int(row["oid"]), {table.oid})
        except Unproved as exc:
            raise Unproved(f"{name}: {exc}") from exc


def _expression_problems(catalogue: Catalogue, texts: Iterable[str], columns: set[str]) -> Iterable[str]:
    for text in texts:
        problem = user_code.expression_problem(catalogue.db, catalogue, text, columns)
        if problem is not None:
            yield problem
