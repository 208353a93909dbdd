"""The nodes of a query that a judgement looks deeper into: users' functions and types, text search, calls in FROM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pg_architect.safety import catalogue_queries, expression_queries, parse, user_code
from pg_architect.safety import deep_queries as sql
from pg_architect.safety.built_in import built_in_name, check_node
from pg_architect.safety.catalogue import Catalogue, Role
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.scope import Scope, Unproved

# With two arguments the first is the configuration.
_TEXT_SEARCH: Mapping[str, str] = {
    "to_tsvector": "tsvector",
    "to_tsquery": "tsquery",
    "plainto_tsquery": "tsquery",
    "phraseto_tsquery": "tsquery",
    "websearch_to_tsquery": "tsquery",
}
_MATCHES = frozenset({"@@", "@@@"})


def function_columns(catalogue: Catalogue) -> Callable[[Tree, str], set[str]]:
    """The columns of a call in FROM, where all built-in functions of that name have the same; none otherwise."""

    def columns(call: Tree, alias: str) -> set[str]:
        rows = catalogue.db.query(sql.FUNCTION_COLUMNS, built_in_name(call.funcname, "function in FROM"))
        if not rows:
            raise Unproved(f"function {call.funcname[-1].sval} in FROM is not built in")
        named = [set(row["columns"]) or ({alias} if row["scalar"] else set()) for row in rows]
        return named[0] if all(names == named[0] for names in named) else set()

    return columns


@dataclass(slots=True)
class NodeCheck:
    """Checks the nodes of one query, parents first; ``role`` is None where all names have their schema already."""

    catalogue: Catalogue
    role: Role | None
    scope: Scope
    proved: set[int] = field(default_factory=set)

    def check(self, node: Tree) -> None:
        """Raise Unproved where a node by itself may reach code that is not proved."""
        if id(node) in self.proved:
            return
        check = _CHECKS.get(kind_of(node))
        if check is None or not check(self, node):
            check_node(node, self.catalogue)

    def _call(self, node: Tree) -> bool:
        names = parse.strings(node.funcname) or []
        if self._text_search(node, names):
            return True
        schema = self._schema(names)
        if schema is None:
            return False
        problem = user_code.function_problem(self.catalogue.db, self.catalogue, schema, names[-1])
        if problem is not None:
            raise Unproved(problem)
        node.funcname = (parse.ast.String(schema), node.funcname[-1])
        return True

    def _schema(self, names: list[str]) -> str | None:
        """The schema of a user's function; None where the name means a built-in one or nothing."""
        if len(names) == 2:
            return None if names[0] == "pg_catalog" else names[0]
        if len(names) != 1 or self.role is None:
            return None
        if self.catalogue.db.query(catalogue_queries.FUNCTIONS, names[0])[0]["overloads"]:
            return None
        rows = self.catalogue.db.query(sql.FUNCTION_SCHEMAS, names[0], list(self.role.search_path))
        if len(rows) > 1:
            raise Unproved(f"function {names[0]} is in {rows[0]['schema']} and {rows[1]['schema']}: write its schema")
        return str(rows[0]["schema"]) if rows else None

    def _text_search(self, node: Tree, names: list[str]) -> bool:
        """Whether it is a call with a configuration, as a constant, that is made of nothing but built-in code."""
        if not _is_built_in(names) or names[-1] not in _TEXT_SEARCH or len(node.args or ()) != 2:
            return False
        given = node.args[0]
        parts = [given]
        if kind_of(given) == "TypeCast":
            if given.typeName.arrayBounds or (parse.strings(given.typeName.names) or [])[-1:] != ["regconfig"]:
                return False
            parts += [given.typeName, given.arg]
        constant = parts[-1]
        if kind_of(constant) != "A_Const" or kind_of(constant.val) != "String":
            return False
        facts = self.catalogue.db.query(catalogue_queries.FUNCTIONS, names[-1])[0]
        if facts["overloads"] == 0 or facts["user_made"]:
            return False
        name = constant.val.sval.removeprefix("pg_catalog.")
        rows = self.catalogue.db.query(expression_queries.BUILT_IN_CONFIGURATION, name)
        if not rows or (kind_of(given) == "TypeCast" and not _is_built_in(parse.strings(given.typeName.names))):
            return False
        constant.val.sval = rows[0]["display"]
        self.proved.update(id(part) for part in parts)
        return True

    def _type(self, node: Tree) -> bool:
        names = parse.strings(node.names) or []
        if node.setof or node.pct_type or not 1 <= len(names) <= 2:
            return False
        db = self.catalogue.db
        if len(names) == 2:
            schemas = [names[0]]
        else:
            schemas = ["pg_catalog", *(self.role.search_path if self.role is not None else ())]
        for schema in schemas:
            rows = db.query(expression_queries.TYPE, schema, names[-1])
            if rows and schema == "pg_catalog":
                return False
            if rows:
                problem = user_code.type_problem(db, self.catalogue, rows[0]["oid"])
                if problem is not None:
                    raise Unproved(problem)
                node.names = (parse.ast.String(schema), node.names[-1])
                return True
        return False

    def _match(self, node: Tree) -> bool:
        """Whether it is @@ between a tsvector and a tsquery: of a text it would ask the session's configuration."""
        names = parse.strings(node.name) or []
        if node.kind.name != "AEXPR_OP" or not names or names[-1] not in _MATCHES or not _is_built_in(names):
            return False
        row = self.catalogue.db.query(catalogue_queries.OPERATORS, names[-1])[0]
        if row["overloads"] == 0 or row["unsafe"]:
            return False
        return self._type_of(node.lexpr) in ("tsvector", "tsquery", "jsonb") or self._type_of(node.rexpr) == "tsvector"

    def _type_of(self, node: Tree) -> str | None:
        """The built-in type of a value where it is plain; None where it is not."""
        kind = kind_of(node)
        if kind == "FuncCall":
            names = parse.strings(node.funcname) or []
            return _TEXT_SEARCH.get(names[-1]) if _is_built_in(names) else None
        if kind == "TypeCast":
            names = parse.strings(node.typeName.names) or []
            return names[-1] if _is_built_in(names) and not node.typeName.arrayBounds else None
        if kind != "ColumnRef":
            return None
        fields = tuple(parse.strings(node.fields) or ())
        if not fields or (len(fields) == 1 and not all(item.complete for item in self.scope.ranges)):
            return None
        candidates = self.scope.candidates(fields)
        types = {self._column_type(item.table.oid, node.fields[-1].sval) for item in candidates if item.table}
        return types.pop() if len(types) == 1 and all(item.table for item in candidates) else None

    def _column_type(self, table: int, name: str) -> str | None:
        rows = self.catalogue.db.query(sql.COLUMN_TYPES, table)
        return next((_TYPES.get(int(row["type"])) for row in rows if row["name"] == name), None)

    def _range_function(self, _: Tree) -> bool:
        # Its form and name are checked where its columns are read; the call is a node of its own.
        return True


# Never changed by anybody: pg_type.dat.
_TYPES = {3614: "tsvector", 3615: "tsquery", 3802: "jsonb"}


def _is_built_in(names: list[str] | None) -> bool:
    return bool(names) and (len(names or ()) == 1 or (names or [])[:-1] == ["pg_catalog"])


_CHECKS: Mapping[str, Callable[[NodeCheck, Tree], bool]] = {
    "FuncCall": NodeCheck._call,
    "TypeName": NodeCheck._type,
    "A_Expr": NodeCheck._match,
    "RangeFunction": NodeCheck._range_function,
}
