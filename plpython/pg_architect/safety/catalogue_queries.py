"""What the proof asks the system catalogue. OIDs below 16384 are initdb's: FirstNormalObjectId of access/transam.h."""

from __future__ import annotations

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
# merge joins look up by type or operator in every schema. The families matter only where a query is planned
# ($1).
WIRED_USER_CODE = """
select w.problem
from (
select format('cast from %s to %s runs user code',
        c.castsource::pg_catalog.regtype, c.casttarget::pg_catalog.regtype) as problem,
    false as only_planning
from pg_catalog.pg_cast c
where c.castsource < 16384 and c.casttarget < 16384 and c.castfunc >= 16384
union all
select format('operator class %I runs user code for a built-in type', o.opcname), false
from pg_catalog.pg_opclass o
join pg_catalog.pg_am a on a.oid = o.opcmethod
where o.oid >= 16384 and o.opcdefault and o.opcintype < 16384 and a.amname in ('btree', 'hash')
union all
select format('operator family %I of built-in operators was extended', f.opfname), true
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
select format('operator %s was added to pg_catalog', o.oprname), false
from pg_catalog.pg_operator o
where o.oprnamespace = 'pg_catalog'::regnamespace
    and o.oprname in ('=', '<>', '<', '<=', '>', '>=', '~~', '!~~', '~~*', '!~~*', '~')
    and (o.oid >= 16384 or o.oprcode::oid >= 16384 or o.oprrest::oid >= 16384 or o.oprjoin::oid >= 16384)
) w
where $1::boolean or not w.only_planning
limit 1
"""

# Configuration for the role in this database wins over that of the role, and that over the database's.
ROLE = """
select r.oid::bigint as oid, (
    select substr(item, 13)
    from pg_catalog.pg_db_role_setting s
    cross join lateral unnest(s.setconfig) as item
    where s.setrole in (r.oid, 0)
        and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
        and starts_with(item, 'search_path=')
    order by s.setrole = 0, s.setdatabase = 0
    limit 1
) as path
from pg_catalog.pg_roles r
where r.rolname = $1::name
"""

NAMED = """
select c.oid::bigint as oid, n.nspname::text as schema
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = $1::name and c.relkind in ('r', 'v', 'm', 'f', 'p', 'S', 'c')
order by n.nspname
"""

TABLE = """
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
COLUMNS = f"""
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
# What a partition's index has on its parent's (P, S) says nothing: its own expressions are recorded once more.
def _user_code(tables: str) -> str:
    return f"""
with part (classid, objid, what) as (
    select 'pg_catalog.pg_class'::regclass, i.indexrelid, format('index %I', c.relname)
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid {tables}
    union all
    select 'pg_catalog.pg_constraint'::regclass, c.oid, format('check constraint %I', c.conname)
    from pg_catalog.pg_constraint c
    where c.conrelid {tables} and c.contype = 'c'
    union all
    select 'pg_catalog.pg_statistic_ext'::regclass, s.oid, format('extended statistics %I', s.stxname)
    from pg_catalog.pg_statistic_ext s
    where s.stxrelid {tables}
    union all
    select 'pg_catalog.pg_attrdef'::regclass, d.oid, format('generated column %I', a.attname)
    from pg_catalog.pg_attrdef d
    join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid {tables} and a.attgenerated <> ''
)
select format('%s depends on %s', p.what, pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)) as problem
from part p
join pg_catalog.pg_depend d on d.classid = p.classid and d.objid = p.objid
where d.deptype not in ('P', 'S')
    and not (d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid {tables})
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
where i.indrelid {tables} and (o.oid >= 16384 or o.opcfamily >= 16384 or c.relam >= 16384)
limit 1
"""


USER_CODE_OF_TABLE = _user_code("= $1::oid")
USER_CODE_OF_TABLES = _user_code("= any ($1::text[]::oid[])")

# One row for the schema (name '') and one for each column.
RIGHTS = """
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
FUNCTIONS = """
select count(*)::int as overloads,
    coalesce(bool_or(p.oid >= 16384 or not (l.lanname = 'internal' or l.lanname = 'sql' and p.prosqlbody is not null)),
        false) as user_made,
    coalesce(bool_or(p.provolatile = 'v'), false) as volatile,
    coalesce(bool_or(p.provolatile = 's'), false) as stable
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
where p.proname = $1::name and p.pronamespace = 'pg_catalog'::regnamespace
"""

# Of || with something else than text the server has a body in SQL that is parsed when it is called, but names all with
# their schema: it casts to text, by a cast or output function of a type that is proved where the statement reaches it.
OPERATORS = """
select count(*)::int as overloads,
    coalesce(bool_or(
        o.oid >= 16384 or o.oprcode::oid >= 16384 or o.oprrest::oid >= 16384 or o.oprjoin::oid >= 16384
        or p.provolatile = 'v'
        or not (l.lanname = 'internal'
                or l.lanname = 'sql' and p.prosqlbody is not null
                or l.lanname = 'sql' and p.proconfig is null and p.prosrc in (
                    'select $1 operator(pg_catalog.||) $2::pg_catalog.text',
                    'select $1::pg_catalog.text operator(pg_catalog.||) $2'))
    ), false) as unsafe
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oprname = $1::name and o.oprnamespace = 'pg_catalog'::regnamespace
"""

COLLATION = """
select 1 as one
from pg_catalog.pg_collation
where collname = $1::name and collnamespace = 'pg_catalog'::regnamespace
limit 1
"""

# Types that look up catalogue objects by name are left out: what they find depends on who asks.
TYPE = """
select t.oid < 16384 and t.typtype in ('b', 'r', 'm')
    and t.typname !~ '^_?reg' and t.typname !~ '^_?(aclitem|pg_.*)$' or t.typname = 'pg_lsn' as plain
from pg_catalog.pg_type t
where t.typname = $1::name and t.typnamespace = 'pg_catalog'::regnamespace
"""
