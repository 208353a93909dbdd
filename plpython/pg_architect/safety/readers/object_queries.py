"""What the readers ask the system catalogue about types, schemas, statistics, sequences and dependencies."""

from __future__ import annotations

_EXTENSION = """(select e.extname::text
        from pg_catalog.pg_depend d
        join pg_catalog.pg_extension e on e.oid = d.refobjid
        where d.classid = '{table}'::regclass and d.objid = {oid} and d.deptype = 'e'
            and d.refclassid = 'pg_catalog.pg_extension'::regclass
        limit 1)"""

# What goes along when objects are dropped: all that depends on them automatically or internally. What depends on one of
# these otherwise and stays keeps RESTRICT from dropping any (findDependentObjects in dependency.c).
DEPENDENTS = """
with recursive gone (class, oid) as (
    select $1::text::regclass::oid, x.oid from unnest($2::oid[]) as x (oid)
    union
    select d.classid, d.objid
    from gone g
    join pg_catalog.pg_depend d on d.refclassid = g.class and d.refobjid = g.oid
    where d.deptype in ('a', 'i', 'P', 'S') and d.objsubid = 0
)
select distinct pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) as object,
    d.classid = 'pg_catalog.pg_constraint'::regclass as is_constraint
from gone g
join pg_catalog.pg_depend d on d.refclassid = g.class and d.refobjid = g.oid
where d.deptype = 'n' and not exists (select from gone o where o.class = d.classid and o.oid = d.objid)
order by 1
"""

# An object of which this one is a part: a constraint of its index, a parent's index of a partition's, a column of its
# identity sequence. It cannot be dropped alone.
WHOLE = """
select pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) as object
from pg_catalog.pg_depend d
where d.classid = $1::text::regclass and d.objid = $2::oid and d.objsubid = 0 and d.deptype in ('i', 'P', 'S')
limit 1
"""

INDEX = """
select i.indrelid::bigint as table_oid, i.indisunique as is_unique, i.indisreplident as is_replica_identity,
    i.indisclustered as is_clustered, i.indisexclusion as is_exclusion, i.indisvalid as valid,
    i.indpred is not null as is_partial, m.amname::text as method,
    (select k.conname::text from pg_catalog.pg_constraint k
        where k.conindid = i.indexrelid and k.conrelid = i.indrelid limit 1) as constraint,
    pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
    coalesce(pg_catalog.pg_stat_get_numscans(i.indexrelid), 0)::bigint as scans,
    c.relpages * pg_catalog.current_setting('block_size')::bigint as bytes
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_am m on m.oid = c.relam
where i.indexrelid = $1::oid
"""

# The partitions at the bottom, which hold the rows; for an index those of it.
LEAVES = """
select p.relid::oid::bigint as oid
from pg_catalog.pg_partition_tree($1::oid) p
where p.isleaf and p.relid <> $1::oid
order by 1
"""

PARENT = """
select i.inhparent::bigint as oid
from pg_catalog.pg_inherits i
where i.inhrelid = $1::oid
"""

VIEW = """
select pg_catalog.pg_get_viewdef(c.oid) as definition,
    c.reloptions is null and c.relacl is null and pg_catalog.obj_description(c.oid, 'pg_class') is null
        and not exists (select from pg_catalog.pg_attribute a
            where a.attrelid = c.oid
                and (a.attacl is not null or pg_catalog.col_description(c.oid, a.attnum) is not null))
        and not exists (select from pg_catalog.pg_attrdef f where f.adrelid = c.oid)
        and not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid)
        and not exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN')
        as is_plain
from pg_catalog.pg_class c
where c.oid = $1::oid
"""

# kind: b(ase), c(omposite), d(omain), e(num), p(seudo), r(ange), m(ultirange); arrays and rows of tables are marked.
TYPE = f"""
select t.oid::bigint as oid, n.nspname::text as schema, t.typname::text as name, t.typtype::text as kind,
    format('%I.%I', n.nspname, t.typname) as display, t.typrelid::bigint as relation_oid,
    t.typelem <> 0 and t.typcategory = 'A' as is_array, coalesce(c.relkind <> 'c', false) as is_row,
    {_EXTENSION.format(table="pg_catalog.pg_type", oid="t.oid")} as extension,
    pg_catalog.obj_description(t.oid, 'pg_type') as comment, t.typnotnull as not_null,
    pg_catalog.pg_get_expr(t.typdefaultbin, 0) as default_sql
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
where t.typname = $1::name and n.nspname = $2::name
"""

LABELS = """
select e.enumlabel::text as label
from pg_catalog.pg_enum e
where e.enumtypid = $1::oid
order by e.enumsortorder
"""

DOMAIN_CONSTRAINTS = """
select k.conname::text as name, k.convalidated as validated, pg_catalog.pg_get_constraintdef(k.oid) as definition,
    k.contype::text as type, pg_catalog.obj_description(k.oid, 'pg_constraint') as comment
from pg_catalog.pg_constraint k
where k.contypid = $1::oid
order by k.conname
"""

# Tables with a column of the domain, or of one over it.
DOMAIN_TABLES = """
with recursive derived (oid) as (
    select $1::oid
    union
    select t.oid from derived d join pg_catalog.pg_type t on t.typbasetype = d.oid
)
select distinct c.oid::bigint as oid
from derived d
join pg_catalog.pg_attribute a on a.atttypid = d.oid and not a.attisdropped
join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'm', 'p')
order by 1
"""

# Arrays, composites and ranges that hold the domain: the server refuses to check it then, once a table uses them.
DOMAIN_HIDDEN = """
with recursive derived (oid) as (
    select $1::oid
    union
    select t.oid from derived d join pg_catalog.pg_type t on t.typbasetype = d.oid
)
select pg_catalog.format_type(x.oid, null) as name
from derived d
cross join lateral (
    select t.oid from pg_catalog.pg_type t where t.typelem = d.oid and t.typcategory = 'A'
    union all
    select r.rngtypid from pg_catalog.pg_range r where r.rngsubtype = d.oid
    union all
    select c.reltype from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'c'
    where a.atttypid = d.oid and not a.attisdropped
) x
where exists (select from pg_catalog.pg_attribute u
    join pg_catalog.pg_class c on c.oid = u.attrelid and c.relkind in ('r', 'm', 'p', 'c')
    where u.atttypid = x.oid and not u.attisdropped)
limit 1
"""

DEFAULT_ORDER = """
select 1 as one
from pg_catalog.pg_opclass o
join pg_catalog.pg_am m on m.oid = o.opcmethod
join pg_catalog.pg_type t on t.oid = $1::oid
where m.amname = 'btree' and o.opcdefault and o.oid < 16384 and t.oid < 16384 and t.typtype in ('b', 'r')
    and (
        o.opcintype = t.oid
        or o.opcintype = 'anyarray'::regtype and t.typcategory = 'A'
        or o.opcintype = 'anyrange'::regtype and t.typtype = 'r'
        or exists (select from pg_catalog.pg_cast c
            where c.castsource = t.oid and c.casttarget = o.opcintype and c.castmethod = 'b' and c.castcontext = 'i')
    )
limit 1
"""

IS_COMPOSITE_IN_TABLE = """
select format('%I.%I', n.nspname, c.relname) as display
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.reloftype = $1::oid
limit 1
"""

SCHEMA = f"""
select n.oid::bigint as oid, format('%I', n.nspname) as display,
    {_EXTENSION.format(table="pg_catalog.pg_namespace", oid="n.oid")} as extension,
    (select e.extname::text from pg_catalog.pg_extension e where e.extnamespace = n.oid order by 1 limit 1) as holds,
    pg_catalog.obj_description(n.oid, 'pg_namespace') as comment
from pg_catalog.pg_namespace n
where n.nspname = $1::name
"""

STATISTICS = f"""
select s.oid::bigint as oid, n.nspname::text as schema, s.stxname::text as name, s.stxrelid::bigint as table_oid,
    format('%I.%I', n.nspname, s.stxname) as display,
    coalesce((to_jsonb(s) ->> 'stxstattarget')::int, -1) as target,
    pg_catalog.pg_get_statisticsobjdef(s.oid) as definition,
    {_EXTENSION.format(table="pg_catalog.pg_statistic_ext", oid="s.oid")} as extension,
    pg_catalog.obj_description(s.oid, 'pg_statistic_ext') as comment
from pg_catalog.pg_statistic_ext s
join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
where s.stxname = $1::name and n.nspname = $2::name
"""

SEQUENCE = """
select pg_catalog.format_type(s.seqtypid, null) as type, s.seqstart as start, s.seqincrement as increment,
    s.seqmax as maximum, s.seqmin as minimum, s.seqcache as cache, s.seqcycle as cycle,
    d.deptype = 'i' as is_identity, d.refobjid::bigint as table_oid,
    case when a.attnum is not null then format('%I.%I.%I', n.nspname, c.relname, a.attname) end as owned_by
from pg_catalog.pg_sequence s
left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = s.seqrelid
    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
left join pg_catalog.pg_class c on c.oid = d.refobjid
left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where s.seqrelid = $1::oid
"""

# Indexes and owned sequences, which move to another schema with their table.
MOVED_ALONG = """
select c.relname::text as name
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = $1::oid
union all
select c.relname::text
from pg_catalog.pg_depend d
join pg_catalog.pg_class c on c.oid = d.objid and c.relkind = 'S'
where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
    and d.refobjid = $1::oid and d.deptype in ('a', 'i')
"""

LITERAL = "select pg_catalog.quote_literal($1::text) as literal"
