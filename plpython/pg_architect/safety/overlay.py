"""The catalogue as it will be after the statements of a script that come before, without executing any.

It stands between the gate and the database, and answers the gate's questions: those about what earlier statements
made or changed from what is known of that, all others by the database. Default deny: a question that is on no list
here, or about something of which too little is known, ends in ``Depends``, once anything has changed.

New objects get numbers that no OID can be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pg_architect.core.db import Database, Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import catalogue_queries, deep_queries, expression_queries, index_queries, questions
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.judgement import Refused
from pg_architect.safety.readers import create_queries, object_queries

DEPENDS = "depends-on-earlier-statement"
FIRST_NEW = 1 << 33
# Columns that are added to a table get numbers that no column has.
FIRST_NEW_NUMBER = 10_000


class Depends(Refused):
    """What is asked depends on an earlier statement in a way that is not known without executing it."""


@dataclass(slots=True)
class Table:
    """What is known of a relation that is new or changed; None where it is not known.

    ``runs_code``: a refused statement may have given it triggers, rules or policies.
    """

    row: Row | None = None
    columns: dict[str, Row] | None = None
    constraints: dict[str, Row] | None = None
    indexes: list[Row] | None = None
    changed_defaults: set[int] = field(default_factory=set)
    is_new: bool = False
    runs_code: bool = False

    def forget(self) -> None:
        """Nothing is known of it any more, but that it is there."""
        self.row = self.columns = self.constraints = self.indexes = None


@dataclass(slots=True)
class Overlay:
    """A ``Database`` for the gate. ``names`` are relations by schema and name: a number, or None where one is gone.

    ``touched`` are names of all kinds that mean something else than in the database, or may. ``depended`` says, after
    a statement was judged, why its verdict is not proved. ``functions`` are names of functions that mean something
    else, ``labels`` the values of types of the database that got more. ``place`` is where the statement stands that is
    judged; ``changed_since`` and ``dependents_since`` are where the first one does that changed something.
    """

    db: Database
    names: dict[tuple[str, str], int | None] = field(default_factory=dict)
    schemas: dict[str, bool] = field(default_factory=dict)
    tables: dict[int, Table] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    enums: dict[tuple[str, str], int] = field(default_factory=dict)
    enum_rows: dict[int, Row] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    labels: dict[int, list[str]] = field(default_factory=dict)
    place: str = ""
    changed_since: str | None = None
    dependents_since: str | None = None
    types_changed: bool = False
    everything_changed: bool = False
    dependents_changed: bool = False
    depended: str | None = None
    _next: int = FIRST_NEW

    def begin(self) -> None:
        """The next statement begins."""
        self.depended = None

    def end(self) -> None:
        """The effects of the statement are noted."""
        if self.is_changed:
            self.changed_since = self.changed_since or self.place
        if self.dependents_changed:
            self.dependents_since = self.dependents_since or self.place

    @property
    def is_changed(self) -> bool:
        """Whether anything has."""
        known = (self.names, self.schemas, self.tables, self.touched, self.enums, self.functions, self.labels)
        return any(known) or self.dependents_changed or self.types_changed or self.everything_changed

    def new_number(self) -> int:
        """A number for something new."""
        self._next += 1
        return self._next

    def query(self, sql_text: str, *params: object) -> list[Row]:
        """The answer as it will be; Depends where that is not known."""
        if self.functions and sql_text in questions.OF_FUNCTIONS:
            self._check_functions(params)
        # What has no parameters is about the server or the session.
        if (
            not params
            or not self.is_changed
            or sql_text in questions.UNCHANGED
            or sql_text.startswith(questions.UNCHANGED_BEGINNINGS)
        ):
            return self.db.query(sql_text, *params)
        if self.everything_changed:
            raise self.depends("more than is followed")
        if sql_text in _BY_NAME:
            return _BY_NAME[sql_text](self, sql_text, [str(one) for one in params])
        if sql_text in questions.FACTS and params[0] in self.tables:
            return self._facts(questions.FACTS[sql_text], self.tables[_number(params[0])])
        if sql_text == sql.FOREIGN_KEYS_OVER:
            return self._foreign_keys_over(_number(params[0]), _number(params[1]))
        if sql_text in questions.OF_STORED_CODE:
            return self._stored_code(sql_text, params[0])
        if sql_text in questions.OF_TYPES and (answer := self._new_type(sql_text, params)) is not None:
            return answer
        return self._about_number(sql_text, params)

    def _about_number(self, sql_text: str, params: Sequence[object]) -> list[Row]:
        if sql_text in (sql.CONSTRAINT_TEXT, sql.INDEX_TEXT) and params[0] in self.texts:
            return [{"text": self.texts[_number(params[0])]}]
        if sql_text in questions.OF_INDEXES and params[0] in self.tables:
            # The reader of an index compares it in another way then.
            raise Refused(DEPENDS, "the table is changed by an earlier statement")
        if sql_text in questions.NOTHING_IF_NEW and self._is_plain_new(params[0]):
            return []
        if sql_text in questions.ABOUT_DEPENDENTS:
            return self._dependents(sql_text, params)
        return self._other(sql_text, params)

    def _other(self, sql_text: str, params: Sequence[object]) -> list[Row]:
        about_types = sql_text in questions.ABOUT_TYPES
        known = sql_text in questions.ABOUT_PARAMETERS or sql_text in questions.OF_INDEXES
        rest = sql_text in (*questions.ABOUT_REST, *questions.NOTHING_IF_NEW) or sql_text in questions.FACTS
        if about_types and self.types_changed:
            raise self.depends("a type that an earlier statement changes")
        if sql_text == object_queries.LABELS and _number(params[0]) in self.labels:
            return [{"label": label} for label in self.labels[_number(params[0])]]
        if sql_text == sql.DEFAULT_TEXT:
            self._check_default(params)
        elif sql_text == expression_queries.SEQUENCE:
            if any(name in str(params[0]) for name in self.touched):
                raise self.depends(f"{params[0]}, which an earlier statement makes or changes")
        elif about_types or known or rest:
            self._check(params, changed_matters=not rest)
        else:
            raise self.depends("something that earlier statements may have changed")
        return self.db.query(sql_text, *params)

    def _foreign_keys_over(self, oid: int, number: int) -> list[Row]:
        """The tables at the other end; where a foreign key of the script leads here, whichever the column is."""
        if any(table.constraints is None for table in self.tables.values()):
            raise self.depends("foreign keys of tables that earlier statements make or change")
        is_old = oid < FIRST_NEW and number < FIRST_NEW_NUMBER
        found = {int(row["oid"]) for row in self.db.query(sql.FOREIGN_KEYS_OVER, oid, number)} if is_old else set()
        for own, table in self.tables.items():
            for one in (table.constraints or {}).values():
                if one["type"] == "f" and own == oid and number in one["columns"]:
                    found.add(int(one["referenced_oid"]))
                elif one["type"] == "f" and one["referenced_oid"] == oid:
                    found.add(own)
        return [{"oid": other} for other in sorted(found - {0})]

    def _stored_code(self, sql_text: str, asked: object) -> list[Row]:
        """What runs when tables are worked on, and what they are read with: of new ones nothing that is not proved."""
        oids = [_number(one) for one in (asked if isinstance(asked, (list, tuple)) else [asked])]
        self._check([oid for oid in oids if oid not in self.tables], changed_matters=False)
        rows = [row for oid in oids if oid in self.tables for row in self._facts("row", self.tables[oid])]
        if sql_text not in (catalogue_queries.TABLE, deep_queries.FAMILY):
            old = [str(oid) for oid in oids if oid < FIRST_NEW]
            given = old if isinstance(asked, (list, tuple)) else asked
            return self.db.query(sql_text, given) if old else []
        if oids[0] < FIRST_NEW:
            found = self.db.query(sql_text, asked)
            renamed = {row["oid"]: {"schema": row["schema"], "name": row["name"]} for row in rows}
            self._check([row["oid"] for row in found if "oid" in row], changed_matters=False)
            return [{**row, **renamed.get(row.get("oid", oids[0]), {})} for row in found]
        if rows[0]["kind"] != "r":
            raise self.depends("a partitioned table that an earlier statement makes")
        code = self.tables[oids[0]].runs_code
        return [{
            **rows[0], "inherits": False, "policies": code, "rules": code, "is_read": True, "key_expressions": False,
            "key_classes": False, "key_columns": [],
        }]  # fmt: skip

    def _check_functions(self, params: Iterable[object]) -> None:
        for one in params:
            if isinstance(one, str) and one in self.functions:
                raise self.depends(f"function {one}, which an earlier statement makes or changes")

    def _new_type(self, sql_text: str, params: Sequence[object]) -> list[Row] | None:
        """What is asked about an enumerated type that the script made; None where it is about another."""
        if sql_text in (expression_queries.TYPE, object_queries.TYPE):
            schema, name = params if sql_text == expression_queries.TYPE else reversed(params)
            oid = self.enums.get((str(schema), str(name)))
            return None if oid is None else [{"oid": oid, **self.enum_rows[oid]}]
        oid = int(str(params[0]))
        if oid not in self.enum_rows:
            return None
        if sql_text == index_queries.DEFAULT_OPCLASS:
            return self.db.query(sql_text, questions.ANYENUM, params[1])
        if sql_text == expression_queries.TYPE_PARTS:
            return [_Known(self.enum_rows[oid])]
        if sql_text == object_queries.LABELS:
            return [{"label": label} for label in self.enum_rows[oid]["labels"]]
        return []  # no checked domain

    def add_enum(self, schema: str, name: str, labels: Sequence[str]) -> None:
        """Note a new enumerated type."""
        oid = self.new_number()
        display = self.db.query("select pg_catalog.format('%I.%I', $1::text, $2::text) as display", schema, name)
        self.enums[schema, name] = oid
        self.enum_rows[oid] = {
            "schema": schema, "name": name, "display": display[0]["display"], "labels": list(labels), "kind": "e",
            "type": "e", "built_in": False, "category": "E", "has_element": False, "relation_kind": None,
            "has_cast": False, "has_opclass": False, "expressions": [], "looks_up": False, "relation_oid": 0,
            "is_array": False, "is_row": False, "extension": None, "comment": None, "not_null": False,
            "default_sql": None,
        }  # fmt: skip

    def _check(self, params: Iterable[object], *, changed_matters: bool) -> None:
        for one in params:
            if isinstance(one, (list, tuple)):
                self._check(one, changed_matters=changed_matters)
            elif isinstance(one, str) and one.isdecimal():
                self._check([int(one)], changed_matters=changed_matters)
            elif isinstance(one, str) and one in self.touched:
                raise self.depends(f"{one}, which an earlier statement makes or changes")
            elif isinstance(one, int) and one >= FIRST_NEW:
                raise self.depends("something that an earlier statement makes")
            elif isinstance(one, int) and one in self.tables and (changed_matters or self.tables[one].row is None):
                raise self.depends("something that an earlier statement changes")

    def _check_default(self, params: Sequence[object]) -> None:
        table, number = self.tables.get(_number(params[0])), _number(params[1])
        if _number(params[0]) >= FIRST_NEW or number >= FIRST_NEW_NUMBER:
            raise self.depends("the default of a column that an earlier statement makes")
        if table is not None and (number in table.changed_defaults or table.columns is None):
            raise self.depends("a default that an earlier statement changes")

    def _dependents(self, sql_text: str, params: Sequence[object]) -> list[Row]:
        """What needs an object: certain for what nobody knows yet, else where nothing was made, changed or dropped."""
        if self.dependents_changed:
            raise self._dependents_unknown(self.dependents_since)
        if sql_text in questions.OF_A_COLUMN:
            if self._is_plain_new(params[0]) or _number(params[1]) >= FIRST_NEW_NUMBER:
                return []
            return self.db.query(sql_text, *params)
        oids = params[1] if isinstance(params[1], (list, tuple)) else [params[1]]
        if oids and all(self._is_plain_new(oid) for oid in oids):
            return []
        self._check(oids, changed_matters=True)
        rows = self.db.query(sql_text, *params)
        if rows:
            raise self._dependents_unknown(self.changed_since)
        return rows

    def _dependents_unknown(self, since: str | None) -> Depends:
        after = f"the statement of {since}" if since else "earlier statements"
        return self.depends(f"which views or constraints depend on it is not known after {after}", whole=True)

    def _is_plain_new(self, oid: object) -> bool:
        table = self.tables.get(oid) if isinstance(oid, int) else None
        return table is not None and table.is_new and table.row is not None and table.row["kind"] in ("r", "p")

    def _facts(self, what: str, table: Table) -> list[Row]:
        facts = getattr(table, what)
        if facts is None:
            raise self.depends("a relation that an earlier statement makes or changes in a way that is not followed")
        if isinstance(facts, Mapping):
            facts = [facts] if what == "row" else list(facts.values())
        return [_Known(one) for one in facts]

    def depends(self, what: str, *, whole: bool = False) -> Depends:
        """The refusal to answer, which is remembered: a reader may go on without the answer."""
        self.depended = self.depended or (what if whole else f"it needs to know of {what}")
        return Depends(DEPENDS, self.depended)

    def query_typed(self, sql_text: str, types: Sequence[str], values: Sequence[str | None]) -> list[Row]:
        """Not asked by the gate."""
        raise self.depends(f"the answer to a query of {len(types)} parameters ({len(values)} values): {sql_text[:40]}")

    def parse(self, sql_text: str) -> None:
        """The database's own grammar."""
        self.db.parse(sql_text)

    def notice(self, message: str) -> None:
        """Pass it on."""
        self.db.notice(message)

    def subtransaction(self) -> AbstractContextManager[None]:
        """That of the database."""
        return contextlib.nullcontext()

    def commit(self) -> None:
        """Never: nothing is done here."""

    def rollback(self) -> None:
        """Never: nothing is done here."""

    def end_session(self, why: ArchitectError) -> NoReturn:
        """Pass it on."""
        self.db.end_session(why)


class _Known(dict[str, Any]):
    """A row of what is known; to ask for more is to ask for what is not."""

    def __missing__(self, key: str) -> NoReturn:
        raise Refused(DEPENDS, f"{key} of what an earlier statement makes is not known")


def _number(value: object) -> int:
    """An OID among the parameters of a query."""
    return int(str(value))


def _named(overlay: Overlay, sql_text: str, params: Sequence[str]) -> list[Row]:
    """Relations of a name: those of the database that are still called so, and the new ones."""
    name = params[0]
    rows = [row for row in overlay.db.query(sql_text, name) if (row["schema"], name) not in overlay.names]
    new = [
        {"oid": oid, "schema": schema}
        for (schema, known), oid in overlay.names.items()
        if known == name and oid is not None
    ]
    return sorted([*rows, *new], key=lambda row: str(row["schema"]))


def _named_in_schema(overlay: Overlay, sql_text: str, params: Sequence[str]) -> list[Row]:
    """The relation of a schema and a name, with whatever is asked of it."""
    schema, name = params
    if (schema, name) not in overlay.names:
        if sql_text == sql.NAME_TAKEN and (schema, name) in overlay.enums:
            return [{"one": 1}]
        if sql_text == sql.NAME_TAKEN and name in overlay.touched:
            raise overlay.depends(f"{name}, which an earlier statement makes or changes")
        return overlay.db.query(sql_text, schema, name)
    oid = overlay.names[schema, name]
    if oid is None:
        return []
    if sql_text == sql.NAME_TAKEN:
        return [{"one": 1}]
    table = overlay.tables.get(oid)
    if sql_text == create_queries.RELATION_NAMED and table is not None and table.row is not None:
        return [{"oid": oid, "kind": table.row["kind"]}]
    for known in overlay.tables.values():
        for index in known.indexes or ():
            if index["oid"] == oid and sql_text == index_queries.RELATION_NAMED and known.row is not None:
                return [{"display": index["display"], "table_oid": known.row["oid"], "valid": True}]
    raise overlay.depends(f"{name}, which an earlier statement makes or changes")


def _schema(overlay: Overlay, sql_text: str, params: Sequence[str]) -> list[Row]:
    name = params[0]
    if name not in overlay.schemas:
        return overlay.db.query(sql_text, name)
    if not overlay.schemas[name]:
        return []
    display = overlay.db.query("select pg_catalog.format('%I', $1::text) as display", name)[0]["display"]
    return [{"oid": FIRST_NEW, "display": display, "extension": None, "holds": None, "comment": None}]


_BY_NAME = {
    sql.NAMED: _named,
    catalogue_queries.NAMED: _named,
    sql.NAME_TAKEN: _named_in_schema,
    create_queries.RELATION_NAMED: _named_in_schema,
    index_queries.RELATION_NAMED: _named_in_schema,
    sql.SCHEMA: _schema,
    object_queries.SCHEMA: _schema,
}
