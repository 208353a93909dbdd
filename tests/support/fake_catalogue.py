"""A catalogue of a few tables, functions and views for proofs without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pg_architect.safety import catalogue_queries, deep_queries, expression_queries

# name: whether volatile, whether stable
FUNCTIONS = {"lower": (False, False), "count": (False, False), "sum": (False, False), "now": (False, True)}
FUNCTIONS |= {"random": (True, False), "set_config": (True, False), "current_setting": (False, True)}
FUNCTIONS |= {"pg_sleep": (True, False), "satisfies_hash_partition": (False, False), "extract": (False, True)}
OPERATORS = {"=", "<>", "<", ">", "<=", ">=", "+", "-", "~~", "->>"}
TYPES = {"int4", "text", "interval", "date", "numeric"}
RELATIONS = {
    ("public", "t"): (100, ["id", "a", "b", "count"]),
    ("public", "u"): (101, ["id", "t_id"]),
    ("one", "twice"): (102, ["id"]),
    ("two", "twice"): (103, ["id"]),
    ("one", "alone"): (104, ["id"]),
    ("public", "part"): (105, ["id"]),
    ("public", "dom"): (106, ["id", "d"]),
    ("pg_catalog", "pg_class"): (107, ["relname"]),
    ("pg_temp_3", "gone"): (108, ["id"]),
    ("public", "indexed"): (109, ["id"]),
    ("public", "secret"): (110, ["id"]),
}
PLAIN = {"persistence": "p", "kind": "r", "inherits": False, "policies": False, "rules": False, "heap": True}


class FakeDatabase:
    """Answers the catalogue's queries from the tables above."""

    def __init__(self) -> None:
        self.queries = 0

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        self.queries += 1
        answers: dict[str, Callable[..., list[dict[str, Any]]]] = {
            catalogue_queries.WIRED_USER_CODE: lambda _planning: [],
            catalogue_queries.ROLE: lambda name: [] if name == "gone" else [{"oid": 10, "path": '"$user", public'}],
            catalogue_queries.NAMED: lambda name: [
                {"oid": oid, "schema": schema} for (schema, known), (oid, _) in RELATIONS.items() if known == name
            ],
            catalogue_queries.TABLE: self._table,
            catalogue_queries.COLUMNS: lambda oid: [
                {"name": name, "number": number, "problem": "column dom.d has a domain" if name == "d" else None}
                for number, name in enumerate(self._find(oid)[2], 1)
            ],
            catalogue_queries.USER_CODE_OF_TABLE: lambda oid: (
                [{"problem": "index i depends on evil"}] if oid == 109 else []
            ),
            catalogue_queries.RIGHTS: lambda _role, oid: [
                {"name": name, "may": oid != 110} for name in ["", *self._find(oid)[2]]
            ],
            catalogue_queries.FUNCTIONS: lambda name: [
                {
                    "overloads": int(name in FUNCTIONS),
                    "user_made": False,
                    "volatile": FUNCTIONS.get(name, (False, False))[0],
                    "stable": FUNCTIONS.get(name, (False, False))[1],
                }
            ],
            catalogue_queries.OPERATORS: lambda name: [{"overloads": int(name in OPERATORS), "unsafe": False}],
            catalogue_queries.TYPE: lambda name: [{"plain": name in TYPES}] if name in {*TYPES, "regclass"} else [],
        }
        rows: list[dict[str, Any]] = answers[sql](*params) if sql in answers else [{"one": 1}]
        return rows

    @staticmethod
    def _find(oid: int) -> tuple[str, str, list[str]]:
        return next((schema, name, row[1]) for (schema, name), row in RELATIONS.items() if row[0] == oid)

    def _table(self, oid: int) -> list[dict[str, Any]]:
        schema, name, _ = self._find(oid)
        return [{**PLAIN, "schema": schema, "name": name, "kind": "p" if name == "part" else "r"}]

    def notice(self, message: str) -> None: ...

    def subtransaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


class DeepDatabase(FakeDatabase):
    """The same with views: their names and texts; and whether the session's path is pinned."""

    def __init__(self, views: dict[str, str], *, pinned: bool = True, uses: list[dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.views, self.pinned, self.uses = views, pinned, uses or []

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        names = {oid: name for (_, name), (oid, _) in RELATIONS.items()}
        answers: dict[str, Callable[..., list[dict[str, Any]]]] = {
            deep_queries.PATH_IS_PINNED: lambda: [{"pinned": self.pinned}],
            deep_queries.RELATION: lambda oid: [self._relation(oid, names[oid])],
            deep_queries.FAMILY: lambda oid: [
                {**self._relation(oid, names[oid]), "oid": oid, "name": names[oid], "is_read": True, "rules": False}
            ],
            deep_queries.STORED_QUERY: lambda oid: [{"rule": 7, "definition": self.views[names[oid]]}],
            deep_queries.USES: lambda *_: self.uses,
            deep_queries.FUNCTION_SCHEMAS: lambda *_: [],
            deep_queries.FUNCTION_COLUMNS: lambda name: {
                "lower": [{"columns": [], "scalar": True}],
                "sum": [{"columns": ["key", "value"], "scalar": False}] * 2,
                "count": [{"columns": [], "scalar": True}, {"columns": ["a"], "scalar": False}],
            }.get(name, []),
            catalogue_queries.USER_CODE_OF_TABLES: lambda _: [],
            expression_queries.TYPE: lambda schema, name: (
                [{"oid": 1}] if schema == "pg_catalog" and name in TYPES else []
            ),
            expression_queries.FUNCTIONS: lambda *_: [],
        }
        return answers[sql](*params) if sql in answers else super().query(sql, *params)

    def _relation(self, oid: int, name: str) -> dict[str, Any]:
        kind = "v" if name in self.views else "r"
        rules = ["_RETURN"] if kind == "v" else []
        return {**PLAIN, "schema": self._find(oid)[0], "kind": kind, "rules": rules}
