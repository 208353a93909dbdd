"""What is asked of the system catalogue about a statement that pg_architect executes itself."""

from __future__ import annotations

from pg_architect.safety.catalogue_queries import enum_is_plain

# Sizes are those of the last VACUUM or ANALYZE: asking for today's would wait for whoever has locked the table.
TABLE = """
select n.nspname::text as schema, format('%I.%I', n.nspname, c.relname) as display, c.relkind::text as kind,
    c.relpersistence::text as persistence, r.rolname::text as owner, r.rolsuper as superuser,
    c.relispartition
        or exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) as inherits,
    c.relam = (select a.oid from pg_catalog.pg_am a where a.amname = 'heap' and a.oid < 16384) as heap,
    (select e.extname::text
        from pg_catalog.pg_depend d
        join pg_catalog.pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
            and d.refclassid = 'pg_catalog.pg_extension'::regclass
        limit 1) as extension,
    c.relpages * pg_catalog.current_setting('block_size')::bigint as bytes, c.reltuples::float8 as rows,
    (select count(*)::int from pg_catalog.pg_index i where i.indrelid = c.oid) as indexes
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles r on r.oid = c.relowner
where c.oid = $1::oid
"""

# opclass_oid is what GetDefaultOpClass (indexcmds.c) would choose: the class for exactly this type, or for one that
# it is binary-compatible with, preferred types first.
COLUMNS = f"""
select a.attname::text as name, a.attnum::int as number, t.oid::bigint as type_oid, t.typname::text as type,
    format('%I.%I', n.nspname, t.typname) as type_name,
    t.typcategory::text as category,
    case
        when a.attgenerated = 'v' then format('column %s is a virtual generated column', a.attname)
        when t.oid < 16384 and t.typtype in ('b', 'r', 'm') and e.typtype in ('b', 'r', 'm') then null
        when e.typtype = 'e' and t.oid in (e.oid, e.typarray) and {enum_is_plain("e")} then null
        else format('column %s has the user-defined type %s', a.attname, t.typname)
    end as problem,
    (select o.oid::bigint
        from pg_catalog.pg_opclass o
        join pg_catalog.pg_am m on m.oid = o.opcmethod
        join pg_catalog.pg_type i on i.oid = o.opcintype
        where m.amname = 'btree' and o.opcdefault and o.oid < 16384
            and (
                o.opcintype = t.oid
                or o.opcintype = 'anyarray'::regtype and t.typcategory = 'A'
                or o.opcintype = 'anyenum'::regtype and t.typtype = 'e'
                or o.opcintype = 'anyrange'::regtype and t.typtype = 'r'
                or o.opcintype = 'anymultirange'::regtype and t.typtype = 'm'
                or exists (
                    select from pg_catalog.pg_cast c
                    where c.castsource = t.oid and c.casttarget = o.opcintype and c.castmethod = 'b'
                        and c.castcontext = 'i'
                )
            )
        order by o.opcintype = t.oid desc, i.typispreferred desc, o.oid
        limit 1) as opclass_oid
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
join pg_catalog.pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
"""

NAME_TAKEN = """
select 1 as one
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::name and c.relname = $2::name
"""

# Collations count as the columns' own where they are: another one makes another index.
INDEXES = """
select i.indexrelid::bigint as oid, format('%I.%I', n.nspname, c.relname) as display, i.indisvalid as valid,
    m.amname = 'btree' and i.indexprs is null and not exists (
        select from unnest(i.indkey::int2[], i.indcollation::oid[]) as k (attnum, collid)
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where k.collid is not null and k.collid <> a.attcollation
    ) as plain_btree,
    (i.indkey::int2[])[0:i.indnkeyatts - 1]::int[] as keys,
    (i.indkey::int2[])[i.indnkeyatts:]::int[] as included,
    i.indoption::int2[]::int[] as options,
    i.indclass::oid[]::bigint[] as opclasses,
    pg_catalog.pg_get_expr(i.indpred, i.indrelid) as predicate
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_am m on m.oid = c.relam
where i.indrelid = $1::oid
"""

INDEX = """
select i.indexrelid::bigint as oid, i.indrelid::bigint as table_oid, format('%I.%I', n.nspname, c.relname) as display,
    exists (select from pg_catalog.pg_constraint k where k.conindid = i.indexrelid) as constraint,
    i.indisunique or i.indisprimary or i.indisexclusion as unique, i.indisreplident as replica_identity,
    i.indisclustered as clustered, pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
    c.relpages * pg_catalog.current_setting('block_size')::bigint as bytes,
    coalesce(pg_catalog.pg_stat_get_numscans(i.indexrelid), 0) as scans
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::name and c.relname = $2::name and c.relkind = 'i'
"""

QUALIFIED = "select format('%I.%I', $1::text, $2::text) as display"
