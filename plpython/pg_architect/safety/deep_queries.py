"""What a proof that looks deeper asks the system catalogue."""

from __future__ import annotations

# Names in stored queries and expressions are printed without their schema where the path finds them, so only with
# nothing of a user's on the path do they mean what they say. Functions and operators are never sought in pg_temp.
PATH_IS_PINNED = """
select bool_and(
        case path.place when 1 then path.name = 'pg_catalog' else starts_with(path.name, 'pg_temp_') end
    ) as pinned
from unnest(pg_catalog.current_schemas(true)) with ordinality as path (name, place)
"""

RELATION = """
select c.relkind::text as kind, c.relpersistence::text as persistence, n.nspname::text as schema,
    c.relrowsecurity or c.relforcerowsecurity as policies,
    c.relam = (select a.oid from pg_catalog.pg_am a where a.amname = 'heap' and a.oid < 16384) as heap,
    array(select w.rulename::text from pg_catalog.pg_rewrite w where w.ev_class = c.oid) as rules,
    exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) as inherits
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = $1::oid
"""

# A table, all its partitions and children, which are read with it, and all its parents, whose partition keys tell
# the planner which rows it may hold. The keys' operators belong to their operator classes.
FAMILY = """
with recursive down (oid) as (
    select $1::oid
    union
    select i.inhrelid from down d join pg_catalog.pg_inherits i on i.inhparent = d.oid
), up (oid) as (
    select $1::oid
    union
    select i.inhparent from up u join pg_catalog.pg_inherits i on i.inhrelid = u.oid
)
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
    c.relpersistence::text as persistence, c.oid in (select d.oid from down d) as is_read,
    c.relam = (select a.oid from pg_catalog.pg_am a where a.amname = 'heap' and a.oid < 16384) as heap,
    exists (select from pg_catalog.pg_rewrite w where w.ev_class = c.oid and w.ev_type = '1') as rules,
    k.partexprs is not null as key_expressions,
    coalesce((select bool_or(o.oid >= 16384 or o.opcfamily >= 16384)
        from pg_catalog.pg_opclass o where o.oid = any (k.partclass)), false) as key_classes,
    array(select a.attname::text from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum = any (k.partattrs)) as key_columns
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_partitioned_table k on k.partrelid = c.oid
where c.oid in (select d.oid from down d union select u.oid from up u)
order by c.oid <> $1::oid, n.nspname, c.relname
"""

STORED_QUERY = """
select w.oid::bigint as rule, pg_catalog.pg_get_viewdef(w.ev_class) as definition
from pg_catalog.pg_rewrite w
where w.ev_class = $1::oid and w.ev_type = '1'
"""

POLICIES = """
select p.oid::bigint as oid, p.polname::text as name,
    array_remove(array[
        pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
    ], null) as expressions
from pg_catalog.pg_policy p
where p.polrelid = $1::oid
order by p.polname
"""

# What a stored query or a policy ($1: its catalogue) uses; nothing is recorded of what is built in. These the names
# in the text have already shown to be initdb's: collations and configurations of text search.
USES = """
select distinct d.refclassid::regclass::text as class, d.refobjid::bigint as oid,
    pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) as object,
    f.pronamespace::regnamespace::text as function_schema, f.proname::text as function_name
from pg_catalog.pg_depend d
left join pg_catalog.pg_proc f on d.refclassid = 'pg_catalog.pg_proc'::regclass and f.oid = d.refobjid
where d.classid = $1::regclass and d.objid = $2::oid
    and d.refclassid not in ('pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_namespace'::regclass)
    and not (d.refobjid < 16384
        and d.refclassid in ('pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_ts_config'::regclass))
order by object
"""

COLUMN_TYPES = """
select a.attname::text as name, a.atttypid::bigint as type
from pg_catalog.pg_attribute a
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
"""

# One row for each of pg_catalog's functions of this name. A single named result gives a column its name; what a
# polymorphic or composite result consists of depends on the call.
FUNCTION_COLUMNS = """
select array(
        select p.proargnames[place] from generate_subscripts(p.proargmodes, 1) as place
        where p.proargmodes[place] in ('o', 'b', 't')
    )::text[] as columns, t.typtype in ('b', 'e', 'd', 'r', 'm') as scalar
from pg_catalog.pg_proc p
join pg_catalog.pg_type t on t.oid = p.prorettype
where p.proname = $1::name and p.pronamespace = 'pg_catalog'::regnamespace
"""

# The schemas of the path that have a function of this name.
FUNCTION_SCHEMAS = """
select n.nspname::text as schema
from pg_catalog.pg_namespace n
where n.nspname = any ($2::name[]) and n.nspname <> 'pg_catalog'
    and exists (select from pg_catalog.pg_proc p where p.pronamespace = n.oid and p.proname = $1::name)
order by n.nspname
"""
