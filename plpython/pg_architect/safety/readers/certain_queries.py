"""What the readers ask the system catalogue to know what the server would refuse."""

from __future__ import annotations

# What hangs on a column (findDependentObjects in dependency.c): what goes along when it is dropped, and what keeps
# RESTRICT from dropping it. ``how`` is goes, stays, key or inherited, and
# "stays, own" for a part of the same table, which the same statement may drop.
COLUMN_FATE = """
with recursive gone (class, oid, part, deptype) as (
    select 'pg_catalog.pg_class'::regclass::oid, $1::oid, $2::int, ' '::"char"
    union
    select d.classid, d.objid, d.objsubid, d.deptype
    from gone g
    join pg_catalog.pg_depend d on d.refclassid = g.class and d.refobjid = g.oid
        and (g.part = 0 or d.refobjsubid = g.part)
    where d.deptype in ('a', 'i', 'P', 'S') and not (d.refobjid = $1::oid and d.refobjsubid = 0)
)
select distinct case when $1::oid in (f.adrelid, k.conrelid) then 'stays, own' else 'stays' end as how,
    pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) as object
from gone g
join pg_catalog.pg_depend d on d.refclassid = g.class and d.refobjid = g.oid
    and (g.part = 0 or d.refobjsubid = g.part)
left join pg_catalog.pg_attrdef f on d.classid = 'pg_catalog.pg_attrdef'::regclass and f.oid = d.objid
left join pg_catalog.pg_constraint k on d.classid = 'pg_catalog.pg_constraint'::regclass and k.oid = d.objid
where d.deptype = 'n' and not exists (
    select from gone o where o.class = d.classid and o.oid = d.objid and o.part in (0, d.objsubid))
union
select 'goes', pg_catalog.pg_describe_object(g.class, g.oid, g.part)
from gone g
left join pg_catalog.pg_class c on g.class = 'pg_catalog.pg_class'::regclass and c.oid = g.oid
where (g.deptype = 'a' or c.relkind = 'S') and g.class <> 'pg_catalog.pg_attrdef'::regclass
union
select 'key', '' where exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = $1::oid and d.objsubid = $2::int
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = $1::oid and d.refobjsubid = 0
        and d.deptype = 'i')
union
select 'inherited', '' where exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = $1::oid and a.attnum = $2::int and a.attinhcount > 0)
order by 1, 2
"""

# The keys that a foreign key can refer to, but for ``deferrable`` ones: columns by number.
KEYS = """
select (i.indkey::int2[])[0:i.indnkeyatts - 1]::int[] as columns, i.indisprimary as is_primary,
    not i.indimmediate as deferrable
from pg_catalog.pg_index i
where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
"""

# Whether values of type $1 can refer to a key of type $2 (ATAddForeignKeyConstraint in tablecmds.c): by an equality of
# a B-tree family, or by an implicit cast. Nothing is known of types with code of their own, arrays and the like.
REFERS = """
select pg_catalog.format_type(f.oid, null) as type, pg_catalog.format_type(k.oid, null) as key_type
from pg_catalog.pg_type f
join pg_catalog.pg_type k on k.oid = $2::oid
where f.oid = $1::oid and f.oid <> k.oid
    and (f.typtype = 'b' and f.oid < 16384 or f.typtype = 'e')
    and (k.typtype = 'b' and k.oid < 16384 or k.typtype = 'e')
    and f.typcategory <> 'A' and k.typcategory <> 'A'
    and not exists (
        select from pg_catalog.pg_amop o
        join pg_catalog.pg_am m on m.oid = o.amopmethod
        where m.amname = 'btree' and o.amopstrategy = 3 and o.amoprighttype = f.oid and o.amoplefttype = k.oid)
    and not exists (
        select from pg_catalog.pg_cast a
        where a.castsource = f.oid and a.castcontext = 'i' and (a.casttarget = k.oid or exists (
            select from pg_catalog.pg_cast b
            where b.castsource = k.oid and b.casttarget = a.casttarget and b.castmethod = 'b'
                and b.castcontext = 'i'
                and exists (select from pg_catalog.pg_opclass p where p.opcintype = b.casttarget))))
    and not exists (
        select from pg_catalog.pg_cast b
        where b.castsource = k.oid and b.casttarget = f.oid and b.castmethod = 'b' and b.castcontext = 'i')
"""

PARTITION_KEY = """
select p.partstrat::text as strategy, (p.partattrs::int2[])[0:p.partnatts - 1]::int[] as columns
from pg_catalog.pg_partitioned_table p
where p.partrelid = $1::oid
"""

# The text is converted as the server would when the statement runs: only for types that read it alike in all sessions.
READS = "select $1::text::{type}::text as text"
