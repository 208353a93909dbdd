"""Which names of a query mean tables, which mean WITH queries, and what its column references may reach.

Where several readings are possible the dangerous one is assumed: a qualifier stands for every table of that name
anywhere in the statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pg_architect.safety import parse
from pg_architect.safety.catalogue import Table
from pg_architect.safety.parse import Tree, kind_of


class Unproved(Exception):  # noqa: N818  not an error: the outcome of a proof that failed, with its reason
    """What was to be proved cannot be."""


@dataclass(slots=True)
class Output:
    """The column names that a table or query surely has; a WITH query that refers to itself learns them late."""

    names: set[str]


@dataclass(frozen=True, slots=True)
class Range:
    """An item of a FROM list under the name by which columns refer to it; ``table`` is None for a query.

    ``built_in``: what a built-in function returns, whose whole row has a built-in type and no casts of a user's.
    ``complete``: there are surely no other columns.
    """

    name: str | None
    table: Table | None
    output: Output
    built_in: bool = False
    complete: bool = False

    @property
    def columns(self) -> set[str]:
        return self.output.names


@dataclass(slots=True)
class Scope:
    """All names of a statement, with no regard to nesting."""

    ranges: list[Range] = field(default_factory=list)
    column_references: list[tuple[str, ...]] = field(default_factory=list)
    joined_columns: set[str] = field(default_factory=set)
    tables: list[tuple[Tree, Table]] = field(default_factory=list)
    has_star: bool = False
    has_natural_join: bool = False

    @property
    def names(self) -> set[str]:
        return {item.name for item in self.ranges if item.name is not None}

    @property
    def rows_of_tables(self) -> set[str]:
        """The names that may stand for a whole row whose type somebody made."""
        return {item.name for item in self.ranges if item.name is not None and not item.built_in}

    def candidates(self, fields: tuple[str, ...]) -> list[Range]:
        """The ranges that a qualified name may mean, or all those of an unqualified one that have such a column."""
        if len(fields) == 1:
            return [item for item in self.ranges if fields[0] in item.columns]
        found = [item for item in self.ranges if item.name == fields[-2]]
        if len(fields) == 3:
            found = [item for item in found if item.table is not None and item.table.schema == fields[0]]
        return found


# Finds the table that a RangeVar node means.
Resolve = Callable[[Tree], Table | None]
# Finds the columns of a function in FROM, from the call and its alias: all of them, or none where that is not sure.
FunctionColumns = Callable[[Tree, str], set[str]]
_Queries = Mapping[str, Output]


def read_scope(tree: Tree, resolve: Resolve, function_columns: FunctionColumns | None = None) -> Scope:
    """Read the names of a SelectStmt; raises Unproved for a reference to a whole row as ``t.*`` in an expression.

    Without ``function_columns`` nothing is known of functions in FROM, which are to be refused then.
    """
    reading = _Reading(resolve, function_columns)
    reading.select(tree, {})
    return reading.scope


@dataclass(slots=True)
class _Reading:
    resolve: Resolve
    function_columns: FunctionColumns | None
    scope: Scope = field(default_factory=Scope)

    def select(self, node: Tree, outer: _Queries) -> Output:
        """Read a query in which the WITH queries ``outer`` are visible; what it returns are its columns."""
        visible = self._with(node.withClause, outer)
        arms = [self.select(arm, visible) for arm in (node.larg, node.rarg) if arm is not None]
        sources = [source for item in node.fromClause or () for source in self._from(item, visible)]
        for name in node.__slots__:
            if name not in ("withClause", "larg", "rarg", "fromClause"):
                self._visit_value(getattr(node, name), visible)
        if arms:
            return arms[0]
        if node.valuesLists:
            return Output({f"column{number}" for number in range(1, len(node.valuesLists[0]) + 1)})
        return Output({name for target in node.targetList or () for name in _target_names(target, sources)})

    def _with(self, clause: Tree, outer: _Queries) -> _Queries:
        if clause is None:
            return outer
        visible = dict(outer)
        outputs = [Output(set(parse.strings(query.aliascolnames) or ())) for query in clause.ctes]
        if clause.recursive:
            # Each sees all of them, itself and later ones included.
            visible.update((query.ctename, output) for query, output in zip(clause.ctes, outputs, strict=True))
        for query, output in zip(clause.ctes, outputs, strict=True):
            if kind_of(query.ctequery) != "SelectStmt":
                raise Unproved("it writes in a WITH query")
            columns = self.select(query.ctequery, visible)
            if not query.aliascolnames:
                output.names |= columns.names
            visible = {**visible, query.ctename: output}
        return visible

    def _from(self, node: Tree, visible: _Queries) -> list[Range]:
        kind = kind_of(node)
        if kind == "RangeVar":
            return [self._add(self._range_of(node, visible))]
        if kind == "RangeSubselect":
            columns = self.select(node.subquery, visible)
            renamed = _renamed(node.alias)
            return [self._add(Range(_alias(node.alias), None, Output(renamed) if renamed else columns))]
        if kind == "JoinExpr":
            both = self._from(node.larg, visible) + self._from(node.rarg, visible)
            self._visit_value(node.quals, visible)
            self.scope.has_natural_join |= bool(node.isNatural)
            using = parse.strings(node.usingClause) or []
            self.scope.joined_columns.update(using)
            if node.join_using_alias is not None:
                self._add(Range(node.join_using_alias.aliasname, None, Output(set(using))))
            if node.alias is None:
                return both
            names = _renamed(node.alias) or {name for item in both for name in item.columns}
            return [self._add(Range(node.alias.aliasname, None, Output(names)))]
        self._visit(node, visible)
        if kind == "RangeFunction" and self.function_columns is not None:
            return [self._add(self._function(node, self.function_columns))]
        return []

    @staticmethod
    def _function(node: Tree, function_columns: FunctionColumns) -> Range:
        # ((call, column definitions), ...): more than one is ROWS FROM.
        if len(node.functions) != 1 or node.is_rowsfrom or kind_of(node.functions[0][0]) != "FuncCall":
            raise Unproved("it calls a function in FROM in a form that is not supported yet")
        if node.coldeflist or node.functions[0][1]:
            raise Unproved("it defines the columns of a function in FROM")
        call = node.functions[0][0]
        name = _alias(node.alias) or call.funcname[-1].sval
        renamed, columns = _renamed(node.alias), function_columns(call, name)
        if columns and node.ordinality:
            columns.add("ordinality")
        complete = bool(columns) and not renamed
        return Range(name, None, Output(renamed or columns), built_in=True, complete=complete)

    def _range_of(self, node: Tree, visible: _Queries) -> Range:
        name = _alias(node.alias) or node.relname
        renamed = _renamed(node.alias)
        if node.schemaname is None and node.catalogname is None and node.relname in visible:
            output = visible[node.relname]
            return Range(name, None, Output(renamed) if renamed else output)
        table = self.resolve(node)
        if table is None:
            return Range(name, None, Output(set()))
        self.scope.tables.append((node, table))
        if not renamed:
            return Range(name, table, Output(set(table.columns)), complete=True)
        # Renamed columns cannot be looked up in the table: to be proved they would need a map of their own.
        raise Unproved(f"the columns of {table.display} are renamed in FROM")

    def _add(self, item: Range) -> Range:
        self.scope.ranges.append(item)
        return item

    def _visit(self, node: Tree, visible: _Queries) -> None:
        kind = kind_of(node)
        if kind == "SelectStmt":
            self.select(node, visible)
        elif kind in ("RangeVar", "RangeSubselect", "JoinExpr"):
            self._from(node, visible)
        elif kind == "ColumnRef":
            fields = parse.strings(node.fields)
            if fields is None:
                raise Unproved("it uses a whole row as a value")
            self.scope.column_references.append(tuple(fields))
        elif kind == "ResTarget" and kind_of(node.val) == "ColumnRef" and kind_of(node.val.fields[-1]) == "A_Star":
            # Only here does a star stand for the columns one by one.
            self.scope.has_star = True
        else:
            for child in parse.children(node):
                self._visit(child, visible)

    def _visit_value(self, value: object, visible: _Queries) -> None:
        if isinstance(value, tuple):
            for item in value:
                self._visit_value(item, visible)
        elif hasattr(value, "__slots__") and hasattr(type(value), "_ATTRS_TO_IGNORE_IN_COMPARISON"):
            self._visit(value, visible)


def _alias(alias: Tree) -> str | None:
    return None if alias is None else str(alias.aliasname)


def _renamed(alias: Tree) -> set[str]:
    """The column names that an alias gives; it may name only the first few of the columns."""
    return set() if alias is None else set(parse.strings(alias.colnames) or ())


def _target_names(target: Tree, sources: list[Range]) -> set[str]:
    if target.name is not None:
        return {target.name}
    if kind_of(target.val) == "ColumnRef" and kind_of(target.val.fields[-1]) == "A_Star":
        qualifier = [field.sval for field in target.val.fields[:-1]]
        chosen = [item for item in sources if not qualifier or item.name == qualifier[-1]]
        return {name for item in chosen for name in item.columns}
    name = _implied_name(target.val)
    return set() if name is None else {name}


def _implied_name(node: Tree) -> str | None:
    """The name that the server gives a column without AS (FigureColname of parse_target.c), where it is simple."""
    kind = kind_of(node)
    if kind == "ColumnRef":
        return str(node.fields[-1].sval)
    if kind == "FuncCall":
        return str(node.funcname[-1].sval)
    if kind == "CoalesceExpr":
        return "coalesce"
    if kind == "TypeCast" and kind_of(node.arg) in ("ColumnRef", "FuncCall"):
        return _implied_name(node.arg)
    return None
