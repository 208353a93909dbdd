"""What the system catalogue says about the things a statement names, read once per name.

Objects with an OID below 16384 were made by initdb; everything else somebody added later, and it is user code
until proved otherwise. A superuser can add even to pg_catalog, so the schema alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pg_architect.core.db import Database
from pg_architect.core.identifier import shown
from pg_architect.safety import catalogue_queries as sql

OWN_SCHEMA = "architect"
SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "pg_toast"})
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})

# Stable functions that may run: they read and write nothing, and their results depend only on
# the clock and the time zone,
_CLOCK = (
    "now statement_timestamp transaction_timestamp age date date_part date_trunc extract timezone overlaps time timetz"
    " timestamp timestamptz make_timestamptz generate_series"
)
# the locale and the output functions of their arguments' types (built in or enumerated, as every type here),
_FORMATS = "to_char to_date to_timestamp to_number concat concat_ws format array_to_string quote_literal quote_nullable"
# casts to json, which a user's type may have: an enumerated type with any cast is refused; see catalogue_queries,
_JSON = (
    "to_json to_jsonb array_to_json row_to_json json_agg jsonb_agg json_build_array jsonb_build_array"
    " json_build_object jsonb_build_object json_object_agg jsonb_object_agg"
)
# the database, and an encoding's name as an argument (length of bytea).
_SESSION = "current_database pg_typeof length"
STABLE_FUNCTIONS = frozenset(" ".join((_CLOCK, _FORMATS, _JSON, _SESSION)).split())
# Marked immutable, and yet they reach objects that users make: a partition key's operator class, a dictionary.
REACHING_FUNCTIONS = frozenset({"satisfies_hash_partition", "ts_lexize"})
PG_FUNCTIONS = frozenset({"pg_size_pretty", "pg_size_bytes", "pg_typeof"})
# Full text search by the session's configuration, which may name dictionaries of a user.
REACHING_OPERATORS = frozenset({"@@", "@@@"})

_RELKINDS: Mapping[str, str] = {
    "v": "views are",
    "m": "materialised views are",
    "f": "foreign tables are",
    "p": "partitioned tables are",
    "S": "sequences are",
    "c": "composite types are",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; ``problem`` says why its type cannot be trusted, None if it can."""

    number: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A relation, and the first reason why reading it may run more than built-in code (None: it cannot)."""

    oid: int
    schema: str
    name: str
    problem: str | None
    columns: Mapping[str, Column]

    @property
    def display(self) -> str:
        return shown(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Role:
    oid: int
    name: str
    search_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A relation by name only."""

    oid: int
    schema: str


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a relation: the first reason why reading it is not harmless, and the tables it leads to."""

    problem: str | None
    reached: tuple[Table, ...] = ()


@dataclass(slots=True)
class Catalogue:
    """A cache over one database, for one transaction at most: share it over many statements.

    ``deep``: look into views, partitions and functions of users. What is proved that way is for a judgement; a
    statement that is planned with lent rights gets the plain proof, which takes nothing of a user's but tables.
    """

    db: Database
    deep: bool = False
    behind: dict[int, Behind] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    _server: dict[bool, str | None] = field(default_factory=dict)
    proved_types: dict[int, str | None] = field(default_factory=dict)
    proved_functions: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _roles: dict[str, Role | None] = field(default_factory=dict)
    _names: dict[str, tuple[Found, ...]] = field(default_factory=dict)
    _tables: dict[int, Table] = field(default_factory=dict)
    _functions: dict[str, str | None] = field(default_factory=dict)
    _operators: dict[str, str | None] = field(default_factory=dict)
    _types: dict[str, str | None] = field(default_factory=dict)
    _collations: dict[str, bool] = field(default_factory=dict)
    _rights: dict[tuple[int, int], dict[str, bool]] = field(default_factory=dict)

    def deeper(self) -> Catalogue:
        """The same cache for proofs that look deeper."""
        return replace(self, deep=True)

    def server_problem(self, *, planning: bool = True) -> str | None:
        """Why not even built-in operators and types can be trusted in this database; None if they can.

        ``planning``: whether a query will be planned, where the planner looks for operators by itself.
        """
        if planning not in self._server:
            rows = self.db.query(sql.WIRED_USER_CODE, planning)
            self._server[planning] = str(rows[0]["problem"]) if rows else None
        return self._server[planning]

    def role(self, name: str) -> Role | None:
        """A role and the search_path that it has in this database by configuration."""
        if name not in self._roles:
            rows = self.db.query(sql.ROLE, name)
            self._roles[name] = None
            if rows:
                path = split_identifiers(rows[0]["path"] or '"$user", public')
                schemas = tuple(name if item == "$user" else item for item in path)
                self._roles[name] = Role(rows[0]["oid"], name, schemas)
        return self._roles[name]

    def find(self, schema: str | None, name: str, role: Role | None) -> Found | str:
        """The relation that ``role`` means by a name, or the reason why there is none; no role has no path."""
        if name not in self._names:
            rows = self.db.query(sql.NAMED, name)
            self._names[name] = tuple(Found(row["oid"], row["schema"]) for row in rows)
        found = self._names[name]
        if schema is not None:
            exact = [item for item in found if item.schema == schema]
            return exact[0] if exact else f"relation {schema}.{name} does not exist"
        for path_schema in ("pg_catalog", *(role.search_path if role is not None else ())):
            for item in found:
                if item.schema == path_schema:
                    return item
        users = [item for item in found if item.schema not in SYSTEM_SCHEMAS and not item.schema.startswith("pg_")]
        if len(users) == 1:
            return users[0]
        if users:
            return f"relation {name} is ambiguous: {', '.join(f'{item.schema}.{name}' for item in users)}"
        return f"relation {name} is temporary or does not exist" if found else f"relation {name} does not exist"

    def table(self, oid: int) -> Table:
        """A relation's columns, and whether reading it is harmless."""
        if oid not in self._tables:
            rows = self.db.query(sql.TABLE, oid)
            if not rows:  # dropped since it was found
                return Table(oid, "", str(oid), f"relation {oid} does not exist", {})
            row = rows[0]
            columns = {
                item["name"]: Column(item["number"], item["problem"]) for item in self.db.query(sql.COLUMNS, oid)
            }
            problem = _table_problem(row)
            if problem is None:
                dependencies = self.db.query(sql.USER_CODE_OF_TABLE, oid)
                if dependencies:
                    problem = f"{row['schema']}.{row['name']}: {dependencies[0]['problem']}"
            self._tables[oid] = Table(oid, row["schema"], row["name"], problem, columns)
        return self._tables[oid]

    def may_read(self, role: Role, table: Table, columns: Sequence[str] | None) -> bool:
        """Whether the role may read these columns; None stands for all of them."""
        key = (role.oid, table.oid)
        if key not in self._rights:
            self._rights[key] = {
                str(row["name"]): bool(row["may"]) for row in self.db.query(sql.RIGHTS, role.oid, table.oid)
            }
        rights = self._rights[key]
        if not rights.get("", False):  # the schema
            return False
        if columns is None:
            return all(rights.values())
        if not columns:
            return any(may for name, may in rights.items() if name)
        # System columns have no entry: reading them takes the right to the whole table.
        return all(rights.get(name, all(rights.values())) for name in columns)

    def function_problem(self, name: str) -> str | None:
        """Why calling pg_catalog's function of this name may do more than compute; None if it cannot."""
        if name not in self._functions:
            self._functions[name] = self._function_problem(name)
        return self._functions[name]

    def _function_problem(self, name: str) -> str | None:
        if name in REACHING_FUNCTIONS or (name.startswith("pg_") and name not in PG_FUNCTIONS):
            return f"function {name} is not known to be harmless"
        row = self.db.query(sql.FUNCTIONS, name)[0]
        if row["overloads"] == 0:
            return f"function {name} is not built in"
        if row["user_made"]:
            return f"function {name} was added to pg_catalog"
        if row["volatile"]:
            return f"function {name} is volatile"
        if row["stable"] and name not in STABLE_FUNCTIONS:
            return f"function {name} is not known to be harmless"
        return None

    def operator_problem(self, name: str) -> str | None:
        """Why pg_catalog's operators of this name may do more than compute; None if they cannot."""
        if name not in self._operators:
            row = self.db.query(sql.OPERATORS, name)[0]
            problem = None
            if row["overloads"] == 0:
                problem = f"operator {name} is not built in"
            elif row["unsafe"] or name in REACHING_OPERATORS:
                problem = f"operator {name} is not known to be harmless"
            self._operators[name] = problem
        return self._operators[name]

    def type_problem(self, name: str) -> str | None:
        """Why a literal or cast of pg_catalog's type of this name may run user code; None if it cannot."""
        if name not in self._types:
            rows = self.db.query(sql.TYPE, name)
            if not rows:
                self._types[name] = f"type {name} is not built in"
            else:
                self._types[name] = None if rows[0]["plain"] else f"type {name} is not known to be harmless"
        return self._types[name]

    def collation_exists(self, name: str) -> bool:
        """Whether pg_catalog has a collation of this name."""
        if name not in self._collations:
            self._collations[name] = bool(self.db.query(sql.COLLATION, name))
        return self._collations[name]


def split_identifiers(text: str) -> list[str]:
    """Split a list such as search_path's as the server does (SplitIdentifierString of varlena.c)."""
    names: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in " \t\n\r\f\v,":
            position += 1
        elif text[position] == '"':
            name = ""
            position += 1
            while position < len(text):
                if text[position] == '"':
                    if text[position + 1 : position + 2] != '"':
                        break
                    position += 1
                name += text[position]
                position += 1
            position += 1
            names.append(name)
        else:
            end = position
            while end < len(text) and text[end] not in " \t\n\r\f\v,":
                end += 1
            names.append(text[position:end].lower())
            position = end
    return names


def _table_problem(row: Mapping[str, object]) -> str | None:
    name = f"{row['schema']}.{row['name']}"
    if row["schema"] in SYSTEM_SCHEMAS:
        return f"{name} belongs to the system"
    if row["schema"] == OWN_SCHEMA:
        return f"{name} belongs to pg_architect"
    if row["persistence"] == "t":
        return f"{name} is temporary"
    if row["kind"] != "r":
        return f"{name}: {_RELKINDS.get(str(row['kind']), 'relations of this kind are')} not supported yet"
    if row["inherits"]:
        return f"{name}: partitioned tables and inheritance are not supported yet"
    if row["policies"]:
        return f"{name} has row-level security"
    if row["rules"]:
        return f"{name} has a rule on select"
    if not row["heap"]:
        return f"{name} is not stored in a heap"
    return None
