"""What the readers of CREATE TABLE, CREATE VIEW and queries ask the system catalogue."""

from __future__ import annotations

# What LIKE copies from a table, by the bit of the option that copies it (TableLikeOption of parsenodes.h): texts are
# lists of expressions, empty where there are none.
_PARTS = """
with part (option, what, classid, objid, expressions) as (
    select case a.attgenerated when '' then 8 else 16 end, format('the default of %I', a.attname),
        'pg_catalog.pg_attrdef'::regclass, d.oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
    from pg_catalog.pg_attrdef d
    join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid = $1::oid and not a.attisdropped
    union all
    select case k.contype when 'c' then 4 else 64 end, format('constraint %I', k.conname),
        'pg_catalog.pg_constraint'::regclass, k.oid, coalesce(pg_catalog.pg_get_expr(k.conbin, k.conrelid), '')
    from pg_catalog.pg_constraint k
    where k.conrelid = $1::oid and k.contype in ('c', 'p', 'u', 'x')
    union all
    select 64, format('index %I', c.relname), 'pg_catalog.pg_class'::regclass, i.indexrelid,
        concat_ws(', ', pg_catalog.pg_get_expr(i.indexprs, i.indrelid), pg_catalog.pg_get_expr(i.indpred, i.indrelid))
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid = $1::oid
    union all
    select 128, format('statistics %I', s.stxname), 'pg_catalog.pg_statistic_ext'::regclass, s.oid,
        coalesce(pg_catalog.pg_get_expr(s.stxexprs, s.stxrelid), '')
    from pg_catalog.pg_statistic_ext s
    where s.stxrelid = $1::oid
)
"""

# One row for each part, with the expressions that it holds.
LIKE_EXPRESSIONS = f"""{_PARTS}
select p.option, p.what, p.expressions
from part p
where p.option & $2::int <> 0
order by p.what
"""

# What an object is, that another depends on; nothing is recorded of dependencies on what is built in.
_USED = """
    d.refclassid::regclass::text as class, d.refobjid::bigint as oid,
    pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) as object,
    f.pronamespace::regnamespace::text as function_schema, f.proname::text as function_name, c.relkind::text as relkind
"""
_USED_FROM = """
join pg_catalog.pg_depend d on d.classid = p.classid and d.objid = p.objid
left join pg_catalog.pg_proc f on d.refclassid = 'pg_catalog.pg_proc'::regclass and f.oid = d.refobjid
left join pg_catalog.pg_class c on d.refclassid = 'pg_catalog.pg_class'::regclass and c.oid = d.refobjid
where d.refclassid not in ('pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_namespace'::regclass)
"""

# A partition's indexes and constraints depend on its parent's (P, S), which is not copied.
LIKE_USES = f"""{_PARTS}
select distinct p.what, {_USED}
from part p
{_USED_FROM}
    and d.deptype not in ('P', 'S') and p.option & $2::int <> 0
    and not (d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = $1::oid)
order by p.what, object
"""

# What the stored query of a view or materialized view uses, but the view itself.
RULE_USES = f"""
with part (what, classid, objid) as (
    select 'the query', 'pg_catalog.pg_rewrite'::regclass, w.oid
    from pg_catalog.pg_rewrite w
    where w.ev_class = $1::oid and w.ev_type = '1'
)
select distinct p.what, {_USED}
from part p
{_USED_FROM}
    and not (d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = $1::oid)
order by object
"""

VIEW = """
select pg_catalog.pg_get_viewdef(c.oid) as definition, c.relispopulated as populated
from pg_catalog.pg_class c
where c.oid = $1::oid
"""

RELATION_NAMED = """
select c.oid::bigint as oid, c.relkind::text as kind
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::name and c.relname = $2::name
"""

# A unique index, by whose operators a foreign key would compare, with an operator class that is not built in.
USER_MADE_KEY = """
select format('index %I uses the operator class %I, which is not built in', c.relname, o.opcname) as problem
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_opclass o on o.oid = any (i.indclass)
where i.indrelid = $1::oid and i.indisunique and (o.oid >= 16384 or o.opcfamily >= 16384 or c.relam >= 16384)
limit 1
"""

# A default operator class that somebody added for a built-in type: an expression of that type would get it.
ADDED_OPCLASS = """
select o.opcname::text as name
from pg_catalog.pg_opclass o
join pg_catalog.pg_am m on m.oid = o.opcmethod
where m.amname = $1::name and o.opcdefault and o.oid >= 16384 and o.opcintype < 16384
limit 1
"""

# A function of a user on the role's path that has a built-in one's name and may be the better match; extensions bring
# functions for types of their own (sum of a vector), which built-in arguments do not reach.
SHADOWING_FUNCTION = """
select format('%I.%I', n.nspname, p.proname) as display
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = $1::name and n.nspname = any ($2::name[]) and n.nspname <> 'pg_catalog'
    and exists (select from pg_catalog.pg_proc b
        where b.proname = p.proname and b.pronamespace = 'pg_catalog'::regnamespace)
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
limit 1
"""
