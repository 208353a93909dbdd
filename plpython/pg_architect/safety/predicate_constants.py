"""The constants of an index's predicate: that they mean the same in every session, and how they are written back."""

from __future__ import annotations

import re
from dataclasses import replace

from pg_architect.core.db import Database, Row, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.safety.index_statement import Condition, Constant
from pg_architect.safety.judgement import Refused

FIRST_USER_OID = 16384  # access/transam.h: FirstNormalObjectId

# Types of a predicate's column by pg_type.typcategory: numbers, strings, dates and times, booleans, enumerated types,
# network addresses. Beside them uuid; money is left out, as its text depends on the locale.
_CATEGORIES = frozenset("NSDBEI")
# Texts of dates and times that mean the same in every session: ISO order, and a zone where the type has one.
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_TIME = r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
_DATE = r"\d{4}-\d\d-\d\d"
_TIME_TEXTS = {
    "date": _DATE,
    "time": _TIME,
    "timetz": _TIME + _ZONE,
    "timestamp": rf"{_DATE}([ T]{_TIME})?",
    "timestamptz": rf"{_DATE}[ T]{_TIME}{_ZONE}",
}


def _check_condition(condition: Condition, column: Row) -> None:
    """The constants mean the same in every session, and are of the column's type."""
    supported = column["category"] in _CATEGORIES or column["type"] == "uuid"
    if condition.constants and (not supported or column["type"] == "money"):
        raise Refused("predicate", f"a predicate on a column of type {column['type']} is not supported yet")
    for constant in condition.constants:
        _check_constant(constant, condition.column, column)


def server_form(db: Database, condition: Condition, column: Row) -> Condition:
    """The condition with its texts as the server prints them: 2024-01-01 00:00+00 is 2024-01-01 00:00:00+00.

    That calls the input and output functions of a built-in type. An enumeration's values are looked up instead: its
    owner may have added a cast since the catalogue was read, and the server would call it.
    """
    _check_condition(condition, column)
    constants = []
    for constant in condition.constants:
        if constant.kind == "text":
            try:
                text = _printed(db, constant.text, column)
            except ArchitectError as exc:
                if not handled(exc):
                    raise
                raise Refused("predicate", f"column {condition.column}: {exc.message}") from exc
            constant = replace(constant, text=text)
        constants.append(replace(constant, type_name=None))
    return replace(condition, constants=tuple(sorted(set(constants))))


def _printed(db: Database, text: str, column: Row) -> str:
    if column["type_oid"] >= FIRST_USER_OID:
        label = db.query("select from pg_enum where enumtypid = $1::oid and enumlabel = $2", column["type_oid"], text)
        if not label:
            raise Refused("predicate", f"'{text}' is not a value of column {column['name']}")
        if text.lstrip()[:1] in ("[", "(", "{"):
            raise Refused("predicate", f"'{text}' could be read as a composite value, if the column's type changed")
        return text
    with db.subtransaction():
        return str(db.query(f"select $1::text::{column['type_name']}::text as text", text)[0]["text"])


def type_of_text(column: Row) -> str | None:
    """The built-in type that a text constant is written with: without one, CREATE INDEX would call the input function
    of whatever type the column has by then, with the rights of who runs it. An enumeration could be replaced itself.
    """
    if column["type_oid"] >= FIRST_USER_OID:
        return None
    return "text" if column["type"] == "varchar" else str(column["type"])


def _check_constant(constant: Constant, name: str, column: Row) -> None:
    same_type = constant.type_name in (None, column["type"])
    if not same_type and not (constant.type_name == "text" and column["type"] == "varchar"):
        raise Refused("predicate", f"column {name} of type {column['type']} is compared with a {constant.type_name}")
    if constant.kind == "text" and column["category"] == "B":
        raise Refused("predicate", f"column {name} is a boolean: write true or false without quotes")
    expected = {"number": "N", "boolean": "B"}.get(constant.kind)
    if expected is not None and column["category"] != expected:
        raise Refused("predicate", f"column {name} of type {column['type']} is compared with a {constant.kind}")
    pattern = _TIME_TEXTS.get(column["type"]) if column["category"] == "D" else None
    if pattern is not None and not re.fullmatch(pattern, constant.text, re.ASCII):
        raise Refused(
            "predicate",
            f"'{constant.text}' may mean another {column['type']} in another session: write it in ISO 8601 form",
        )
