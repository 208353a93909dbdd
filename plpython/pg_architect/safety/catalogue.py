"""What the system catalogue says about the things a statement names, read once per name.

Objects with an OID below 16384 were made by initdb; everything else somebody added later, and it is user code
until proved otherwise. A superuser can add even to pg_catalog, so the schema alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pg_architect.core.db import Database

# FirstNormalObjectId of PostgreSQL's access/transam.h.
FIRST_USER_OID = 16384
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
# casts to json, which a user's type may have: an enumerated type with any cast is refused; see _ENUM_IS_PLAIN,
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
        return f"{self.schema}.{self.name}"


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


@dataclass(slots=True)
class Catalogue:
    """A cache over one database, for one transaction at most: share it over many statements."""

    db: Database
    _server: str | bool | None = False
    _roles: dict[str, Role | None] = field(default_factory=dict)
    _names: dict[str, tuple[Found, ...]] = field(default_factory=dict)
    _tables: dict[int, Table] = field(default_factory=dict)
    _functions: dict[str, str | None] = field(default_factory=dict)
    _operators: dict[str, str | None] = field(default_factory=dict)
    _types: dict[str, str | None] = field(default_factory=dict)
    _collations: dict[str, bool] = field(default_factory=dict)
    _rights: dict[tuple[int, int], dict[str, bool]] = field(default_factory=dict)

    def server_problem(self) -> str | None:
        """Why not even built-in operators and types can be trusted in this database; None if they can."""
        if isinstance(self._server, bool):
            rows = self.db.query(_WIRED_USER_CODE)
            self._server = str(rows[0]["problem"]) if rows else None
        return self._server

    def role(self, name: str) -> Role | None:
        """A role and the search_path that it has in this database by configuration."""
        if name not in self._roles:
            rows = self.db.query(_ROLE, name)
            self._roles[name] = None
            if rows:
                path = split_identifiers(rows[0]["path"] or '"$user", public')
                schemas = tuple(name if item == "$user" else item for item in path)
                self._roles[name] = Role(rows[0]["oid"], name, schemas)
        return self._roles[name]

    def find(self, schema: str | None, name: str, role: Role) -> Found | str:
        """The relation that ``role`` means by a name, or the reason why there is none."""
        if name not in self._names:
            rows = self.db.query(_NAMED, name)
            self._names[name] = tuple(Found(row["oid"], row["schema"]) for row in rows)
        found = self._names[name]
        if schema is not None:
            exact = [item for item in found if item.schema == schema]
            return exact[0] if exact else f"relation {schema}.{name} does not exist"
        for path_schema in ("pg_catalog", *role.search_path):
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
            rows = self.db.query(_TABLE, oid)
            if not rows:  # dropped since it was found
                return Table(oid, "", str(oid), f"relation {oid} does not exist", {})
            row = rows[0]
            columns = {item["name"]: Column(item["number"], item["problem"]) for item in self.db.query(_COLUMNS, oid)}
            problem = _table_problem(row)
            if problem is None:
                dependencies = self.db.query(_USER_CODE_OF_TABLE, oid)
                if dependencies:
                    problem = f"{row['schema']}.{row['name']}: {dependencies[0]['problem']}"
            self._tables[oid] = Table(oid, row["schema"], row["name"], problem, columns)
        return self._tables[oid]

    def may_read(self, role: Role, table: Table, columns: Sequence[str] | None) -> bool:
        """Whether the role may read these columns; None stands for all of them."""
        key = (role.oid, table.oid)
        if key not in self._rights:
            self._rights[key] = {
                str(row["name"]): bool(row["may"]) for row in self.db.query(_RIGHTS, role.oid, table.oid)
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
        row = self.db.query(_FUNCTIONS, name)[0]
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
            row = self.db.query(_OPERATORS, name)[0]
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
            rows = self.db.query(_TYPE, name)
            if not rows:
                self._types[name] = f"type {name} is not built in"
            else:
                self._types[name] = None if rows[0]["plain"] else f"type {name} is not known to be harmless"
        return self._types[name]

    def collation_exists(self, name: str) -> bool:
        """Whether pg_catalog has a collation of this name."""
        if name not in self._collations:
            rows = self.db.query(
                "select 1 as one from pg_catalog.pg_collation"
                " where collname = $1::name and collnamespace = 'pg_catalog'::regnamespace limit 1",
                name,
            )
            self._collations[name] = bool(rows)
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


# Whether an enumerated type (or an array of one) has a cast, an operator class or an opened door of another kind. The
# owner of a type may make implicit casts from and to it. %s is the type's row.
_ENUM_IS_PLAIN = """(
    not exists (
        select from pg_catalog.pg_cast c
        where (c.castsource in (%s.oid, %s.typarray) or c.casttarget in (%s.oid, %s.typarray))
            and c.oid >= 16384
    )
    and not exists (select from pg_catalog.pg_opclass o where o.opcintype in (%s.oid, %s.typarray))
)"""


def enum_is_plain(alias: str) -> str:
    """The SQL condition that no user code hangs on the enumerated type in the row ``alias``."""
    return _ENUM_IS_PLAIN.replace("%s", alias)


# User code that the server may reach from built-in types and operators alone. Only a superuser can have put it
# there. Casts; default operator classes and members of operator families, which sorting, grouping, hashing and
# merge joins look up by type or operator in every schema.
_WIRED_USER_CODE = """
select format('cast from %s to %s runs user code',
        c.castsource::pg_catalog.regtype, c.casttarget::pg_catalog.regtype) as problem
from pg_catalog.pg_cast c
where c.castsource < 16384 and c.casttarget < 16384 and c.castfunc >= 16384
union all
select format('operator class %I runs user code for a built-in type', o.opcname)
from pg_catalog.pg_opclass o
join pg_catalog.pg_am a on a.oid = o.opcmethod
where o.oid >= 16384 and o.opcdefault and o.opcintype < 16384 and a.amname in ('btree', 'hash')
union all
select format('operator family %I of built-in operators was extended', f.opfname)
from pg_catalog.pg_opfamily f
join pg_catalog.pg_am a on a.oid = f.opfmethod
where a.amname in ('btree', 'hash')
    and (f.oid < 16384 or exists (
        select from pg_catalog.pg_amop m where m.amopfamily = f.oid and m.amopopr < 16384
    ))
    and (exists (select from pg_catalog.pg_amproc p where p.amprocfamily = f.oid and p.amproc::oid >= 16384)
        or f.oid < 16384
            and exists (select from pg_catalog.pg_amop m where m.amopfamily = f.oid and m.amopopr >= 16384))
union all
select format('operator %s was added to pg_catalog', o.oprname)
from pg_catalog.pg_operator o
where o.oprnamespace = 'pg_catalog'::regnamespace
    and o.oprname in ('=', '<>', '<', '<=', '>', '>=', '~~', '!~~', '~~*', '!~~*', '~')
    and (o.oid >= 16384 or o.oprcode::oid >= 16384 or o.oprrest::oid >= 16384 or o.oprjoin::oid >= 16384)
limit 1
"""

# Configuration for the role in this database wins over that of the role, and that over the database's.
_ROLE = """
select r.oid::bigint as oid, (
    select substr(item, 13)
    from pg_catalog.pg_db_role_setting s
    cross join lateral unnest(s.setconfig) as item
    where s.setrole in (r.oid, 0)
        and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
        and item like 'search\\_path=%'
    order by s.setrole = 0, s.setdatabase = 0
    limit 1
) as path
from pg_catalog.pg_roles r
where r.rolname = $1::name
"""

_NAMED = """
select c.oid::bigint as oid, n.nspname::text as schema
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = $1::name and c.relkind in ('r', 'v', 'm', 'f', 'p', 'S', 'c')
order by n.nspname
"""

_TABLE = """
select n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
    c.relpersistence::text as persistence,
    c.relispartition
        or exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) as inherits,
    c.relrowsecurity or c.relforcerowsecurity as policies,
    exists (select from pg_catalog.pg_rewrite w where w.ev_class = c.oid and w.ev_type = '1') as rules,
    c.relam = (select a.oid from pg_catalog.pg_am a where a.amname = 'heap' and a.oid < 16384) as heap
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = $1::oid
"""

# The type behind a column is e: itself, or its elements' type where it is an array.
_COLUMNS = f"""
select a.attname::text as name, a.attnum::int as number,
    case
        when t.oid < 16384 and t.typtype in ('b', 'r', 'm') and e.typtype in ('b', 'r', 'm') then null
        when e.typtype = 'e' and t.oid in (e.oid, e.typarray) and {enum_is_plain("e")} then null
        else format('column %s.%s has the user-defined type %s', c.relname, a.attname, t.typname)
    end as problem
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""

# What the planner evaluates when it looks at a table: expressions and predicates of indexes and of extended
# statistics, check constraints (constraint exclusion), and generated columns where they are virtual. A dependency on
# something pinned, that is built in, is not recorded; any other one but on the table's own columns is refused.
# An operator class made later is refused too, an extension's included: opening an index calls its access method and
# the class's options function, costing a GIN index calls its extractQuery, and running the scan calls the rest.
_USER_CODE_OF_TABLE = f"""
with part (classid, objid, what) as (
    select 'pg_catalog.pg_class'::regclass, i.indexrelid, format('index %I', c.relname)
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid = $1::oid
    union all
    select 'pg_catalog.pg_constraint'::regclass, c.oid, format('check constraint %I', c.conname)
    from pg_catalog.pg_constraint c
    where c.conrelid = $1::oid and c.contype = 'c'
    union all
    select 'pg_catalog.pg_statistic_ext'::regclass, s.oid, format('extended statistics %I', s.stxname)
    from pg_catalog.pg_statistic_ext s
    where s.stxrelid = $1::oid
    union all
    select 'pg_catalog.pg_attrdef'::regclass, d.oid, format('generated column %I', a.attname)
    from pg_catalog.pg_attrdef d
    join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid = $1::oid and a.attgenerated <> ''
)
select format('%s depends on %s', p.what, pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)) as problem
from part p
join pg_catalog.pg_depend d on d.classid = p.classid and d.objid = p.objid
where not (d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = $1::oid)
    and d.refclassid not in (
        'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_collation'::regclass,
        'pg_catalog.pg_namespace'::regclass
    )
    and not (d.refclassid = 'pg_catalog.pg_type'::regclass and exists (
        select from pg_catalog.pg_type t
        join pg_catalog.pg_type e on e.oid = case when t.typcategory = 'A' then t.typelem else t.oid end
        where t.oid = d.refobjid and e.typtype = 'e' and t.oid in (e.oid, e.typarray) and {enum_is_plain("e")}
    ))
union all
select format('index %I uses the operator class %I, which is not built in', c.relname, o.opcname)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_opclass o on o.oid = any (i.indclass)
where i.indrelid = $1::oid and (o.oid >= 16384 or o.opcfamily >= 16384 or c.relam >= 16384)
limit 1
"""

# One row for the schema (name '') and one for each column.
_RIGHTS = """
select '' as name, pg_catalog.has_schema_privilege($1::oid, c.relnamespace, 'USAGE') as may
from pg_catalog.pg_class c
where c.oid = $2::oid
union all
select a.attname::text, pg_catalog.has_table_privilege($1::oid, $2::oid, 'SELECT')
    or pg_catalog.has_column_privilege($1::oid, $2::oid, a.attnum, 'SELECT')
from pg_catalog.pg_attribute a
where a.attrelid = $2::oid and a.attnum > 0 and not a.attisdropped
"""

# A body in SQL is as good as one in C where it was parsed when the server was built (prosqlbody): no search_path
# can change what it means.
_FUNCTIONS = """
select count(*)::int as overloads,
    coalesce(bool_or(p.oid >= 16384 or not (l.lanname = 'internal' or l.lanname = 'sql' and p.prosqlbody is not null)),
        false) as user_made,
    coalesce(bool_or(p.provolatile = 'v'), false) as volatile,
    coalesce(bool_or(p.provolatile = 's'), false) as stable
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
where p.proname = $1::name and p.pronamespace = 'pg_catalog'::regnamespace
"""

_OPERATORS = """
select count(*)::int as overloads,
    coalesce(bool_or(
        o.oid >= 16384 or o.oprcode::oid >= 16384 or o.oprrest::oid >= 16384 or o.oprjoin::oid >= 16384
        or p.provolatile = 'v' or not (l.lanname = 'internal' or l.lanname = 'sql' and p.prosqlbody is not null)
    ), false) as unsafe
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oprname = $1::name and o.oprnamespace = 'pg_catalog'::regnamespace
"""

# Types that look up catalogue objects by name are left out: what they find depends on who asks.
_TYPE = """
select t.oid < 16384 and t.typtype in ('b', 'r', 'm')
    and t.typname !~ '^_?reg' and t.typname !~ '^_?(aclitem|pg_.*)$' or t.typname = 'pg_lsn' as plain
from pg_catalog.pg_type t
where t.typname = $1::name and t.typnamespace = 'pg_catalog'::regnamespace
"""
