"""Expressions, types and functions of a change: what they reach is written out, and is proved to be built-in code.

Defaults, checks, index keys and predicates run now or later with somebody's rights. A name without a schema means
pg_catalog's here, because that is the path under which the statement is applied; where the asking role's own
search_path would lead elsewhere, the statement is refused as shadowed rather than silently given another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pg_architect.core.db import Database
from pg_architect.safety import built_in, parse, user_code
from pg_architect.safety import expression_queries as sql
from pg_architect.safety.catalogue import Catalogue, Role
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.scope import Unproved

# Built-in, volatile, and they change nothing but their own state: what defaults are made of.
VOLATILE = frozenset({"gen_random_uuid", "uuidv4", "uuidv7", "random", "random_normal", "clock_timestamp", "timeofday"})
_QUERIES = frozenset({"SelectStmt", "SubLink", "RangeVar", "RangeSubselect", "JoinExpr", "WithClause", "A_Star"})


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proved expression uses: columns by name, sequences, and whether its value differs from row to row.

    ``immutable`` is False where it certainly is not.
    """

    columns: frozenset[str] = frozenset()
    volatile: bool = False
    immutable: bool = True
    sequences: tuple[str, ...] = ()
    functions: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """What the nodes of an expression have shown so far."""

    columns: set[str] = field(default_factory=set)
    sequences: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    volatile: bool = False
    immutable: bool = True


@dataclass(slots=True)
class Expressions:
    """Proves expressions and types for one role."""

    db: Database
    catalogue: Catalogue
    role: Role
    functions: dict[str, list[int]] = field(default_factory=dict)
    _shadows: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def prove(self, node: Tree | None, columns: Mapping[str, str | None], what: str) -> Proved:
        """Prove an expression over these columns (name to problem of its type); Refused with the first reason.

        Names of users' own functions and types get their schema written into the tree.
        """
        if node is None:
            return Proved()
        if (problem := self.catalogue.server_problem(planning=False)) is not None:
            raise Refused("foreign-code", problem)
        found = _Found()
        pending = [node]
        while pending:
            item = pending.pop()
            pending.extend(self._visit(item, columns, what, found))
        return Proved(
            frozenset(found.columns),
            found.volatile,
            found.immutable,
            tuple(found.sequences),
            frozenset(found.functions),
        )

    def _visit(self, node: Tree, columns: Mapping[str, str | None], what: str, found: _Found) -> Sequence[Tree]:
        """Prove one node; the nodes below it that are still to be proved."""
        kind = kind_of(node)
        if kind in _QUERIES:
            raise Refused("foreign-code", f"{what} contains a query")
        if kind == "ParamRef":
            raise Refused("certain-to-fail", f"{what} has a parameter, which has no value here")
        if kind == "ColumnRef":
            found.columns.add(self._column(node, columns, what))
            return ()
        if kind == "TypeName":
            self.prove_type(node, what)
            return ()
        if kind == "FuncCall":
            return self._call(node, what, found)
        found.immutable &= kind != "SQLValueFunction"
        self._node(node, what)
        return parse.children(node)

    def _call(self, node: Tree, what: str, found: _Found) -> Sequence[Tree]:
        if sequence := self._sequence(node):
            found.sequences.append(sequence)
            found.volatile, found.immutable = True, False
            return ()
        if self._text_search(node):
            return tuple(node.args[1:])
        found.volatile |= self._function(node, what, found)
        return parse.children(node)

    def prove_type(self, node: Tree, what: str) -> int:
        """Prove a type and write out its schema if it is a user's; its OID."""
        if node.setof or node.pct_type:
            raise Refused("foreign-code", f"{what} names the type of a column or a set")
        names = parse.strings(node.names) or []
        if not 1 <= len(names) <= 2:
            raise Refused("names", f"{what} names a type in a way that is not understood")
        schemas = [names[0]] if len(names) == 2 else ["pg_catalog", *self.role.search_path]
        for schema in schemas:
            rows = self.db.query(sql.TYPE, schema, names[-1])
            if rows:
                problem = user_code.type_problem(self.db, self.catalogue, rows[0]["oid"])
                if problem is not None:
                    raise Refused("foreign-code", f"{what}: {problem}")
                if schema != "pg_catalog" and len(names) == 1:
                    node.names = (_string(schema), *node.names)
                return int(rows[0]["oid"])
        raise Refused("exists", f"{what}: type {'.'.join(names)} does not exist")

    def prove_collation(self, node: Tree | None, what: str) -> None:
        """Prove a CollateClause or a list of names: only pg_catalog's collations are taken."""
        names = parse.strings(node.collname if kind_of(node) == "CollateClause" else node) if node else None
        if node is None:
            return
        if not names or len(names) > 2 or (len(names) == 2 and names[0] != "pg_catalog"):
            raise Refused("foreign-code", f"{what}: the collation is not built in")
        if not self.catalogue.collation_exists(names[-1]):
            raise Refused("exists", f"{what}: collation {names[-1]} is not built in")
        self._shadowed("collation", names)

    def _column(self, node: Tree, columns: Mapping[str, str | None], what: str) -> str:
        fields = parse.strings(node.fields)
        if fields is None or len(fields) != 1:
            raise Refused("foreign-code", f"{what} refers to something else than a column of its own table")
        if fields[0] not in columns:
            raise Refused("exists", f"{what}: there is no column {fields[0]}")
        problem = columns[fields[0]]
        if problem is not None:
            raise Refused("foreign-code", f"{what}: {problem}")
        return fields[0]

    def _function(self, node: Tree, what: str, found: _Found) -> bool:
        """Whether a call that is proved is volatile."""
        names = parse.strings(node.funcname) or []
        if node.over is not None or node.agg_filter is not None or node.agg_within_group:
            raise Refused("foreign-code", f"{what} calls an aggregate or a window function")
        self._shadowed("function", names)
        if len(names) == 1 or names[0] == "pg_catalog":
            facts = self.db.query(sql.BUILT_IN_FUNCTION, names[-1])[0]
            if facts["no_value"]:
                raise Refused("certain-to-fail", f"{what}: {names[-1]} returns a set or is an aggregate")
            found.immutable &= not facts["never_immutable"]
            if names and names[-1] in VOLATILE and self._is_built_in(names[-1]):
                return True
            if not (len(names) == 1 and self._user_schema(names[0])):
                self._node(node, what)
                return False
        schema = names[0] if len(names) == 2 else self._user_schema(names[0])
        if schema is None or len(names) > 2:
            raise Refused("foreign-code", f"{what}: function {'.'.join(names)} is not built in")
        problem = user_code.function_problem(self.db, self.catalogue, schema, names[-1])
        if problem is not None:
            raise Refused("foreign-code", f"{what}: {problem}")
        if len(names) == 1:
            node.funcname = (_string(schema), *node.funcname)
        found.functions.add(f"{schema}.{names[-1]}")
        overloads = self.db.query(sql.FUNCTIONS, schema, names[-1])
        self.functions[f"{schema}.{names[-1]}"] = [int(row["oid"]) for row in overloads]
        return False

    def _sequence(self, node: Tree) -> str | None:
        """The name in a call of nextval with a constant; None for any other call."""
        names = parse.strings(node.funcname) or []
        if names[-1:] != ["nextval"] or len(node.args or ()) != 1 or names[:-1] not in ([], ["pg_catalog"]):
            return None
        argument = node.args[0]
        if kind_of(argument) == "TypeCast" and (parse.strings(argument.typeName.names) or [])[-1:] == ["regclass"]:
            argument = argument.arg
        if kind_of(argument) != "A_Const" or kind_of(argument.val) != "String":
            return None
        written = argument.val.sval if '"' in argument.val.sval else argument.val.sval.lower()  # as the server folds it
        rows = self.db.query(sql.SEQUENCE, written, list(self.role.search_path))
        if not rows:
            raise Refused("foreign-code", f"sequence {argument.val.sval} does not exist or is not a user's")
        argument.val.sval = rows[0]["display"]
        self._shadowed("function", names)
        return str(rows[0]["display"])

    def _text_search(self, node: Tree) -> bool:
        """Whether it is to_tsvector with a built-in configuration as a constant; the name gets its schema."""
        names = parse.strings(node.funcname) or []
        if names[-1:] != ["to_tsvector"] or names[:-1] not in ([], ["pg_catalog"]) or len(node.args or ()) != 2:
            return False
        constant = node.args[0].arg if kind_of(node.args[0]) == "TypeCast" else node.args[0]
        if kind_of(constant) != "A_Const" or kind_of(constant.val) != "String":
            return False
        self._shadowed("function", names)
        rows = self.db.query(sql.BUILT_IN_CONFIGURATION, constant.val.sval.removeprefix("pg_catalog."))
        if rows:
            constant.val.sval = rows[0]["display"]
        return bool(rows)

    def _node(self, node: Tree, what: str) -> None:
        if kind_of(node) == "A_Expr":
            self._shadowed("operator", parse.strings(node.name) or [])
        elif kind_of(node) == "CollateClause":
            self.prove_collation(node, what)
        try:
            built_in.check_node(node, self.catalogue)
        except Unproved as exc:
            raise Refused("foreign-code", f"{what}: {exc}") from exc

    def _is_built_in(self, name: str) -> bool:
        row = self.db.query(sql.BUILT_IN_FUNCTION, name)[0]
        return bool(row["overloads"]) and not row["user_made"]

    def _user_schema(self, name: str) -> str | None:
        """The schema on the role's path that has a function of this name, if pg_catalog has none."""
        if self.db.query(sql.BUILT_IN_FUNCTION, name)[0]["overloads"]:
            return None
        rows = self.db.query(sql.OWN_FUNCTION, name, list(self.role.search_path))
        return str(rows[0]["schema"]) if rows else None

    def _shadowed(self, kind: str, names: list[str]) -> None:
        """Refused where an unqualified built-in name may mean a user's object on the role's own path."""
        if len(names) != 1:
            return
        key = (kind, names[0])
        if key not in self._shadows:
            rows = self.db.query(sql.SHADOWING[kind], names[0], list(self.role.search_path))
            self._shadows[key] = rows[0]["display"] if rows else None
        shadow = self._shadows[key]
        if shadow is not None:
            raise Refused(
                "shadowed",
                f"{kind} {names[0]} may mean {shadow} on the search_path of role {self.role.name}: write pg_catalog's "
                "with its schema",
            )


def _string(text: str) -> Tree:
    return parse.ast.String(text)
