"""What the gate asks the system catalogue about relations, columns, constraints and indexes."""

from __future__ import annotations

from pg_architect.safety.catalogue_queries import enum_is_plain

NAMED = """
select c.oid::bigint as oid, n.nspname::text as schema
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = $1::name
order by n.nspname
"""

# Sizes are those of the last VACUUM or ANALYZE, or, where there was none, rows written since by an assumed width:
# asking for today's size would wait for whoever has locked the table. Nothing but a file of no length is empty, and
# that is asked only where the statistics say so, of a relation that nobody has locked.
RELATION = """
with file as (
    select c.oid, greatest(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid), 0)::float8 as rows, c.relpages,
        c.reltuples < 0 as never_analyzed
    from pg_catalog.pg_class c
    where c.oid = $1::oid or c.relkind in ('r', 'i') and c.oid in (
        select t.relid
        from pg_catalog.pg_partition_tree((select p.oid from pg_catalog.pg_class p
            where p.oid = $1::oid and p.relkind in ('p', 'I'))) t
        where t.isleaf
    )
), size as (
    select $1::oid as oid, sum(f.rows) as rows, sum(f.relpages)::bigint as pages,
        bool_or(f.never_analyzed and f.rows = 0) as never_analyzed, pg_catalog.array_agg(f.oid) as files
    from file f
)
select n.nspname::text as schema, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as display,
    c.relkind::text as kind, c.relpersistence::text as persistence, r.rolname::text as owner, r.rolsuper as superuser,
    c.relispartition as is_partition,
    exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) and not c.relispartition as is_child,
    exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as has_children,
    c.relkind not in ('r', 'm', 't')
        or c.relam = (select a.oid from pg_catalog.pg_am a where a.amname = 'heap' and a.oid < 16384) as heap,
    (select e.extname::text
        from pg_catalog.pg_depend d
        join pg_catalog.pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'e'
            and d.objid in (c.oid, (select x.indrelid from pg_catalog.pg_index x where x.indexrelid = c.oid))
            and d.refclassid = 'pg_catalog.pg_extension'::regclass
        limit 1) as extension,
    case
        when s.pages > 0 then s.pages * pg_catalog.current_setting('block_size')::bigint
        else (s.rows * 120)::bigint
    end as bytes,
    s.rows,
    case
        when s.pages > 0 or s.rows > 0 then false
        when exists (
            select from pg_catalog.pg_locks l
            where l.relation = any (s.files) and l.mode = 'AccessExclusiveLock' and l.database = (
                select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        ) then false
        else (select coalesce(sum(pg_catalog.pg_relation_size(f)), 0) = 0 from unnest(s.files) as f)
    end as is_empty,
    s.never_analyzed,
    (select count(*)::int from pg_catalog.pg_index i where i.indrelid = c.oid) as indexes,
    (select coalesce(sum(x.relpages), 0) * pg_catalog.current_setting('block_size')::bigint
        from pg_catalog.pg_index i
        join pg_catalog.pg_class x on x.oid = i.indexrelid
        where i.indrelid = any (s.files)) as index_bytes,
    c.reloptions::text[] as options,
    (select x.reloptions::text[] from pg_catalog.pg_class x where x.oid = c.reltoastrelid) as toast_options,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    c.relreplident::text as replica_identity
from size s
join pg_catalog.pg_class c on c.oid = s.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles r on r.oid = c.relowner
"""

# problem: why the column's type may reach user code; None if it cannot.
COLUMNS = f"""
select a.attname::text as name, a.attnum::int as number, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
    t.oid::bigint as type_oid, t.typname::text as type_name, a.atttypmod as typmod, a.attnotnull as not_null,
    a.atthasdef as has_default, a.attidentity::text as identity,
    a.attgenerated::text as generated, a.attstattarget::int as statistics, a.attstorage::text as storage,
    t.typstorage::text as type_storage, a.attcompression::text as compression, a.attoptions::text[] as options,
    a.attcollation::bigint as collation_oid, t.typcollation::bigint as type_collation_oid,
    pg_catalog.col_description(a.attrelid, a.attnum) as comment,
    case
        when t.oid < 16384 and t.typtype in ('b', 'r', 'm') and e.typtype in ('b', 'r', 'm') then null
        when e.typtype = 'e' and t.oid in (e.oid, e.typarray) and {enum_is_plain("e")} then null
        else format('column %s has the user-defined type %s', a.attname, t.typname)
    end as problem
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""

CONSTRAINTS = """
select k.conname::text as name, k.contype::text as type, k.convalidated as validated,
    k.oid::bigint as oid, k.conkey::int2[]::int[] as columns,
    k.confrelid::bigint as referenced_oid, k.conindid::bigint as index_oid,
    pg_catalog.obj_description(k.oid, 'pg_constraint') as comment, k.coninhcount as inherited,
    (select count(*)::int from pg_catalog.pg_constraint f
        where f.contype = 'f' and f.conindid = k.conindid and k.contype in ('p', 'u') and f.conindid <> 0
    ) as referenced_by
from pg_catalog.pg_constraint k
where k.conrelid = $1::oid
order by k.conname
"""

INDEXES = """
select i.indexrelid::bigint as oid, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as display,
    m.amname::text as method, i.indisunique as is_unique, i.indisprimary as is_primary,
    i.indisvalid as valid, i.indisreplident as is_replica_identity, i.indisclustered as is_clustered,
    i.indexprs is not null as has_expressions, i.indpred is not null as is_partial,
    (i.indkey::int2[])::int[] as columns, c.relkind::text as kind,
    exists (select from pg_catalog.pg_constraint k where k.conindid = i.indexrelid and k.conrelid = i.indrelid)
        as has_constraint
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_am m on m.oid = c.relam
where i.indrelid = $1::oid
order by c.relname
"""

# What the server writes back from stored trees. It opens the table for that, and so waits for whoever has locked it:
# asked only where a verdict needs it.
DEFAULT_TEXT = """
select pg_catalog.pg_get_expr(d.adbin, d.adrelid) as text
from pg_catalog.pg_attrdef d
where d.adrelid = $1::oid and d.adnum = $2::int2
"""

CONSTRAINT_TEXT = "select pg_catalog.pg_get_constraintdef($1::oid) as text"

INDEX_TEXT = "select pg_catalog.pg_get_indexdef($1::oid) as text"

SCHEMA = """
select n.oid::bigint as oid, (
    select e.extname::text
    from pg_catalog.pg_depend d
    join pg_catalog.pg_extension e on e.oid = d.refobjid
    where d.classid = 'pg_catalog.pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e'
    limit 1) as extension
from pg_catalog.pg_namespace n
where n.nspname = $1::name
"""

NAME_TAKEN = """
select 1 as one
from pg_catalog.pg_namespace n
where n.nspname = $1::name and (
    exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relname = $2::name)
    or exists (select from pg_catalog.pg_type t where t.typnamespace = n.oid and t.typname = $2::name)
)
"""

# Views, functions in SQL and the like that name the column: dropping or changing it fails, or takes them with it.
COLUMN_DEPENDENTS = """
select pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) as object, d.deptype::text as dependency,
    d.classid = 'pg_catalog.pg_rewrite'::regclass as is_view
from pg_catalog.pg_depend d
where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = $1::oid and d.refobjsubid = $2::int
order by 1
"""

BINARY_COERCIBLE = """
select 1 as one
from pg_catalog.pg_cast c
where c.castsource = $1::oid and c.casttarget = $2::oid and c.castmethod = 'b' and c.oid < 16384
limit 1
"""

# Tables that a foreign key over the column connects with, at either end.
FOREIGN_KEYS_OVER = """
select distinct case when k.conrelid = $1::oid then k.confrelid else k.conrelid end::bigint as oid
from pg_catalog.pg_constraint k
where k.contype = 'f' and (
    k.conrelid = $1::oid and $2::int2 = any (k.conkey) or k.confrelid = $1::oid and $2::int2 = any (k.confkey)
)
"""

DEFAULT_PARTITION = """
select p.partdefid::bigint as oid
from pg_catalog.pg_partitioned_table p
where p.partrelid = $1::oid and p.partdefid <> 0
"""

PARTITION_BOUND = """
select pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound
from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid
where i.inhrelid = $1::oid and i.inhparent = $2::oid and c.relispartition
"""

TYPE_COLLATION = "select t.typcollation::bigint as oid from pg_catalog.pg_type t where t.oid = $1::oid"

# Columns of tables whose type is the composite type, or an array, a domain or a composite made of it.
COLUMNS_OF_COMPOSITE = """
with recursive made (oid) as (
    select c.reltype from pg_catalog.pg_class c where c.oid = $1::oid
    union
    select t.oid
    from made m
    join pg_catalog.pg_type t on t.typelem = m.oid and t.typcategory = 'A' or t.typbasetype = m.oid
        or t.typtype = 'c' and exists (
            select from pg_catalog.pg_attribute a
            where a.attrelid = t.typrelid and a.atttypid = m.oid and not a.attisdropped
        )
)
select format('%s.%I', c.oid::regclass, a.attname) as column
from made m
join pg_catalog.pg_attribute a on a.atttypid = m.oid and not a.attisdropped
join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'm', 'f')
limit 1
"""

PARTITIONS = """
select format('%I.%I', n.nspname, c.relname) as display
from pg_catalog.pg_partition_tree($1::oid::regclass) t
join pg_catalog.pg_class c on c.oid = t.relid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.level > 0
order by 1
"""

ALL_TABLES = """
select c.oid::bigint as oid
from pg_catalog.pg_class c
where c.relkind in ('r', 'p', 'm') and c.oid >= 16384
"""

# Tables at the other end of foreign keys of a table, in either direction.
FOREIGN_KEY_PARTNERS = """
select distinct format('%I.%I', n.nspname, c.relname) as display
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = case when k.conrelid = $1::oid then k.confrelid else k.conrelid end
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and $1::oid in (k.conrelid, k.confrelid) and k.conrelid <> k.confrelid
"""

HAS_TRIGGER = """
select t.tgname::text as name
from pg_catalog.pg_trigger t
where t.tgrelid = $1::oid and not t.tgisinternal
limit 1
"""
