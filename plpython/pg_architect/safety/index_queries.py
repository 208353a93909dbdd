"""What the gate asks about operator classes and names of indexes."""

from __future__ import annotations

# What GetDefaultOpClass (indexcmds.c) would choose: the class for exactly this type, or for one that it is
# binary-compatible with, preferred types first.
DEFAULT_OPCLASS = """
select o.oid::bigint as oid
from pg_catalog.pg_type t
cross join pg_catalog.pg_opclass o
join pg_catalog.pg_am m on m.oid = o.opcmethod
join pg_catalog.pg_type i on i.oid = o.opcintype
where t.oid = $1::oid and m.amname = $2::name and o.opcdefault and o.oid < 16384
    and (
        o.opcintype = t.oid
        or o.opcintype = 'anyarray'::regtype and t.typcategory = 'A'
        or o.opcintype = 'anyenum'::regtype and t.typtype = 'e'
        or o.opcintype = 'anyrange'::regtype and t.typtype = 'r'
        or o.opcintype = 'anymultirange'::regtype and t.typtype = 'm'
        or exists (
            select from pg_catalog.pg_cast c
            where c.castsource = t.oid and c.casttarget = o.opcintype and c.castmethod = 'b' and c.castcontext = 'i'
        )
    )
order by o.opcintype = t.oid desc, i.typispreferred desc, o.oid
limit 1
"""

OPCLASS = """
select o.oid::bigint as oid
from pg_catalog.pg_opclass o
join pg_catalog.pg_am m on m.oid = o.opcmethod
where o.opcname = $1::name and o.opcnamespace = 'pg_catalog'::regnamespace and m.amname = $2::name and o.oid < 16384
limit 1
"""

RELATION_NAMED = """
select format('%I.%I', n.nspname, c.relname) as display, i.indrelid::bigint as table_oid,
    coalesce(i.indisvalid, false) as valid
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_index i on i.indexrelid = c.oid
where n.nspname = $1::name and c.relname = $2::name
"""
