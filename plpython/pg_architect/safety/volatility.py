"""Whether an expression gives the same value at all times, where that is certain not to be so.

An index, a partition key and a generated column take nothing else. Types are inferred from columns, constants and
casts, and overloaded functions and operators are chosen as the server does (parse_func.c), as far as that is certain:
of several that it may choose all have to be mutable. What is not known is not said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_architect.core.db import Database, Row
from pg_architect.safety import expression_queries as sql
from pg_architect.safety import parse
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of

BOOL, INT4, INT8, NUMERIC = 16, 23, 20, 1700
_LARGEST_OID = 0xFFFFFFFF
_COMPARED = ("AEXPR_IN", "AEXPR_LIKE", "AEXPR_ILIKE", "AEXPR_OP")
_BOOLEAN = frozenset({"BoolExpr", "NullTest", "BooleanTest"})


def check_immutable(db: Database, node: Tree | None, types: Mapping[str, int | None], what: str) -> None:
    """Refused where an expression over these columns (with the OIDs of their types) is certainly not immutable."""
    if node is not None:
        _Reader(db, types, what).type_of(node)


def type_of(db: Database, node: Tree, types: Mapping[str, int | None] | None = None) -> int | None:
    """The type of an expression; None where it is not known, or a constant that has none yet."""
    return _Reader(db, types or {}, None).type_of(node) or None


def known_type(db: Database, oid: int | None) -> Row | None:
    """The type if it is a built-in one or an enumeration of the database."""
    if not oid or oid > _LARGEST_OID:
        return None
    rows = db.query(sql.KNOWN_TYPE, oid)
    return rows[0] if rows and rows[0]["oid"] is not None else None


def named_type(db: Database, node: Tree | None) -> int | None:
    """The known type that a TypeName means once its schema is written out."""
    names = (parse.strings(node.names) if node is not None else None) or [""]
    rows = db.query(sql.TYPE, names[0] if len(names) == 2 else "pg_catalog", names[-1])
    row = known_type(db, rows[0]["oid"]) if rows else None
    if row is None or node is None:
        return None
    return int(row["array_oid"]) or None if node.arrayBounds else int(row["oid"])


@dataclass(frozen=True, slots=True)
class _Reader:
    """Infers types: an OID, 0 for a constant without a type, None where it is not known. ``what`` None: no refusal."""

    db: Database
    types: Mapping[str, int | None]
    what: str | None

    def type_of(self, node: Tree) -> int | None:
        kind = kind_of(node)
        if kind == "ColumnRef":
            row = known_type(self.db, self.types.get((parse.strings(node.fields) or [""])[-1]))
            return None if row is None else int(row["oid"])
        if kind == "A_Const":
            return 0 if node.isnull else _constant(node.val)
        if kind == "TypeCast":
            return self._cast(node)
        if kind == "FuncCall":
            return self._call(node)
        if kind == "A_Expr":
            return self._operator(node)
        found = [self.type_of(item) for item in parse.children(node) if kind_of(item) != "TypeName"]
        if kind in _BOOLEAN:
            return BOOL
        if kind == "CollateClause":
            return found[0] if found else None
        same = kind == "CoalesceExpr" and found and all(one == found[0] for one in found)
        return found[0] if same else None

    def _cast(self, node: Tree) -> int | None:
        source, target = self.type_of(node.arg), named_type(self.db, node.typeName)
        if source and target and source != target:
            rows = self.db.query(sql.CAST, source, target)
            if rows and rows[0]["immutable"] is False:
                self._refuse(f"the cast from {rows[0]['source']} to {rows[0]['target']}")
        return target

    def _call(self, node: Tree) -> int | None:
        given = [self.type_of(item) for item in node.args or ()]
        names = parse.strings(node.funcname) or [""]
        if None in given or node.func_variadic or any(kind_of(item) == "NamedArgExpr" for item in node.args or ()):
            return None
        schema = names[0] if len(names) == 2 else "pg_catalog"
        found = self.db.query(sql.FUNCTION_CANDIDATES, schema, names[-1], given)
        # A function of one argument may be another way to write a cast.
        casts = len(given) == 1 and self.db.query(sql.TYPE, "pg_catalog", names[-1])
        return self._chosen(found, given, f"the function {names[-1]}", narrows=not casts)

    def _operator(self, node: Tree) -> int | None:
        kind, names = node.kind.name, parse.strings(node.name) or [""]
        right = node.rexpr if isinstance(node.rexpr, tuple) else (node.rexpr,)
        given = [self.type_of(item) for item in (*([node.lexpr] if node.lexpr is not None else []), *right)]
        if kind not in _COMPARED:
            return None if kind == "AEXPR_NULLIF" else BOOL
        pairs = [given] if node.lexpr is None else [[given[0], one] for one in given[1:]]
        results = {self._binary(names[-1], pair) for pair in pairs}
        return results.pop() if len(results) == 1 else None

    def _binary(self, name: str, given: list[int | None]) -> int | None:
        if None in given:
            return None
        what = f"the operator {name}"
        if len(given) == 2 and 0 in given and any(given):
            # A constant is first taken to be of the other's type (binary_oper_exact).
            both = [given[0] or given[1]] * 2
            exact = [row for row in self.db.query(sql.OPERATOR_CANDIDATES, name, both) if row["exact"] == 2]
            if exact:
                return self._chosen(exact, both, what)
        return self._chosen(self.db.query(sql.OPERATOR_CANDIDATES, name, given), given, what)

    def _chosen(
        self, found: Sequence[Row], given: Sequence[int | None], what: str, *, narrows: bool = True
    ) -> int | None:
        """The result of what the server chooses; Refused where all that it may choose are mutable."""
        exact = [row for row in found if row["exact"] == len(given) and not row["is_variadic"]]
        if exact and all(given):
            found = exact
        elif not narrows:
            return None
        elif not any(row["is_variadic"] for row in found):
            for count in ("exact", "preferred"):
                most = max((row[count] for row in found), default=0)
                found = [row for row in found if row[count] == most]
        if found and not any(row["immutable"] and not row["converts_mutably"] for row in found):
            self._refuse(what)
        results = {row["result"] for row in found}
        result = known_type(self.db, results.pop()) if len(results) == 1 else None
        return None if result is None else int(result["oid"])

    def _refuse(self, what: str) -> None:
        if self.what is not None:
            detail = f"{self.what} must be immutable: {what} depends on settings like the time zone, or on the time"
            raise Refused("certain-to-fail", detail)


def _constant(value: Tree) -> int | None:
    kind = kind_of(value)
    if kind == "String":
        return 0
    if kind == "Integer":
        return INT4
    if kind == "Float":
        return INT8 if value.fval.isdecimal() and int(value.fval) < 1 << 63 else NUMERIC
    return BOOL if kind == "Boolean" else None
