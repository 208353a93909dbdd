"""Functions and types of users, proved harmless by looking inside: labels such as IMMUTABLE prove nothing."""

from __future__ import annotations

from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import built_in, parse
from pg_architect.safety import expression_queries as sql
from pg_architect.safety.catalogue import Catalogue
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.scope import Unproved

# Deeper than any sane call tree; recursion of a function into itself ends here.
MAX_DEPTH = 8
# Functions and types that one judgement looks into: a verdict has to come in time.
MOST_PROVED = 200
_NO_QUERY = frozenset({"RangeVar", "RangeSubselect", "JoinExpr", "WithClause", "SubLink", "A_Star"})


def type_problem(db: Database, catalogue: Catalogue, oid: int, depth: int = 0) -> str | None:
    """Why values of this type may run code of a user; None if they cannot."""
    known = catalogue.proved_types
    if oid not in known:
        # Also what it is while it is being proved: a type that is made of itself.
        known[oid] = "a type is made of itself, or of too many others"
        if depth <= MAX_DEPTH and len(known) < MOST_PROVED:
            problems = (_part_problem(db, catalogue, row, depth) for row in db.query(sql.TYPE_PARTS, oid))
            known[oid] = next((problem for problem in problems if problem is not None), None)
    return known[oid]


def _part_problem(db: Database, catalogue: Catalogue, row: Row, depth: int) -> str | None:
    name = row["name"]
    if row["built_in"]:
        if row["looks_up"]:
            return f"type {name} looks up objects by name"
        return f"{name} is a pseudo-type" if row["type"] == "p" else None
    if row["schema"] in ("architect", "information_schema"):
        return f"type {name} is not a user's"
    if row["has_cast"] or row["has_opclass"]:
        return f"type {name} has casts or operator classes of a user"
    if row["category"] == "A" and row["has_element"]:
        return None
    if row["type"] not in ("e", "d", "c", "r", "m"):
        return f"type {name} has code of its own"
    if row["type"] == "c" and row["relation_kind"] != "c":
        return f"type {name} is the row of a table"
    for text in row["expressions"]:
        if (problem := _text_problem(db, catalogue, text, {"value"}, depth)) is not None:
            return f"domain {name} has a check or default that {problem}"
    return None


def function_problem(db: Database, catalogue: Catalogue, schema: str, name: str, depth: int = 0) -> str | None:
    """Why calling ``schema.name``, with whatever arguments, may do more than compute; None if it cannot."""
    if schema in ("architect", "information_schema") or schema.startswith("pg_"):
        return f"function {schema}.{name} is not a user's"
    known = catalogue.proved_functions
    if (schema, name) not in known:
        known[schema, name] = f"function {schema}.{name} calls itself, or too deep"
        if depth <= MAX_DEPTH and len(known) < MOST_PROVED:
            known[schema, name] = _overloads_problem(db, catalogue, schema, name, depth)
    return known[schema, name]


def _overloads_problem(db: Database, catalogue: Catalogue, schema: str, name: str, depth: int) -> str | None:
    overloads = db.query(sql.FUNCTIONS, schema, name)
    if not overloads:
        return f"function {schema}.{name} does not exist"
    for row in overloads:
        problem = _problem(db, catalogue, row, depth)
        if problem is not None:
            return f"function {schema}.{name} {problem}"
    # Where no function fits the one argument, the call is a cast to the type of that name.
    for row in db.query(sql.TYPE, schema, name):
        if (problem := type_problem(db, catalogue, row["oid"], depth + 1)) is not None:
            return f"function {schema}.{name} may also mean a type: {problem}"
    return None


def _problem(db: Database, catalogue: Catalogue, row: Row, depth: int) -> str | None:
    if (problem := _form_problem(row)) is not None:
        return problem
    for oid in row["types"]:
        if (problem := type_problem(db, catalogue, oid, depth + 1)) is not None:
            return f"takes or returns a type that is not proved: {problem}"
    if row["defaults"] is not None:
        # All of them in one text, between commas, as in a list of targets.
        problem = _text_problem(db, catalogue, str(row["defaults"]), set(), depth)
        if problem is not None:
            return f"has a default of an argument that {problem}"
    return _body_problem(db, catalogue, row, depth)


def _form_problem(row: Row) -> str | None:
    if row["extension"] is not None:
        return f"belongs to the extension {row['extension']}"
    if row["language"] != "sql":
        return f"is written in {row['language']}, which is not looked into"
    if row["kind"] != "f" or row["returns_set"]:
        return "is no plain function"
    if row["security_definer"]:
        return "runs with its owner's rights"
    if row["has_support"]:
        return "has a support function, which the planner calls"
    if not row["parsed"] and row["config"] != ["search_path=pg_catalog, pg_temp"]:
        return "has a body whose names mean what the caller's search_path says"
    return "changes settings" if row["parsed"] and row["config"] else None


def _body_problem(db: Database, catalogue: Catalogue, row: Row, depth: int) -> str | None:
    if not row["parsed"] and "\\" in str(row["source"]):
        return "has a backslash in its body, which means what standard_conforming_strings says"
    text = str(row["body"] if row["parsed"] else row["source"]).strip().rstrip(";")
    if text.upper().startswith("RETURN "):
        text = text[len("RETURN ") :]
    elif text[:7].lower() == "select ":
        text = text[len("select ") :]
    return _text_problem(db, catalogue, text, set(row["argument_names"] or ()), depth)


def expression_problem(db: Database, catalogue: Catalogue, text: str, names: set[str]) -> str | None:
    """Why a stored expression over these columns, as the server writes it, may do more than compute."""
    return _text_problem(db, catalogue, text, names, 0)


def _text_problem(db: Database, catalogue: Catalogue, text: str, arguments: set[str], depth: int) -> str | None:
    """Why an expression, written as the server or its author wrote it, may do more than compute."""
    text = f"select {text}"
    try:
        tree = parse.parse_one(text)
    except ArchitectError:
        return "has a body of several statements, or one that is not understood"
    if kind_of(tree) != "SelectStmt" or tree.fromClause:
        return "is more than one expression"
    for node in parse.walk(tree):
        problem = _node_problem(db, catalogue, node, arguments, depth)
        if problem is not None:
            return problem
    return None


def _node_problem(db: Database, catalogue: Catalogue, node: Tree, arguments: set[str], depth: int) -> str | None:
    kind = kind_of(node)
    if kind in _NO_QUERY:
        return "contains a query"
    if kind == "ColumnRef":
        fields = parse.strings(node.fields) or ["?", "?"]
        return None if len(fields) == 1 and fields[0] in arguments else "refers to something else than its arguments"
    if kind == "FuncCall":
        names = parse.strings(node.funcname) or []
        if len(names) == 2 and names[0] != "pg_catalog":
            problem = function_problem(db, catalogue, names[0], names[1], depth + 1)
            return None if problem is None else f"calls: {problem}"
    if kind == "TypeName":
        names = parse.strings(node.names) or []
        rows = db.query(sql.TYPE, names[0] if len(names) == 2 else "pg_catalog", names[-1]) if names else []
        if not rows:
            return "names an unknown type"
        return type_problem(db, catalogue, rows[0]["oid"], depth + 1)
    try:
        built_in.check_node(node, catalogue)
    except Unproved as exc:
        return f"is not made of built-in code: {exc}"
    return None
