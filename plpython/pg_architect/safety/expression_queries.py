"""What the proof of an expression asks the system catalogue."""

from __future__ import annotations

TYPE = """
select t.oid::bigint as oid
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where n.nspname = $1::name and t.typname = $2::name
"""

BUILT_IN_FUNCTION = """
select count(*)::int as overloads, coalesce(bool_or(p.oid >= 16384), false) as user_made,
    coalesce(bool_or(p.proretset or p.prokind <> 'f'), false) as no_value,
    coalesce(bool_and(p.provolatile <> 'i'), false) as never_immutable
from pg_catalog.pg_proc p
where p.proname = $1::name and p.pronamespace = 'pg_catalog'::regnamespace
"""

OWN_FUNCTION = """
select n.nspname::text as schema
from unnest($2::name[]) with ordinality as path (name, place)
join pg_catalog.pg_namespace n on n.nspname = path.name
join pg_catalog.pg_proc p on p.pronamespace = n.oid
where p.proname = $1::name and n.nspname not in ('pg_catalog', 'information_schema')
order by path.place
limit 1
"""

SEQUENCE = """
select format('%I.%I', n.nspname, c.relname) as display
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join unnest($2::name[]) with ordinality as path (name, place) on path.name = n.nspname
where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname not in ('architect', 'pg_catalog', 'information_schema')
    and ($1::text = format('%I.%I', n.nspname, c.relname)
        or $1::text = format('%I', c.relname) and path.place is not null)
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by path.place
limit 1
"""

# An object of a user with a built-in one's name, in a schema of the role's path, which may be the better match.
SHADOWING = {
    "function": """
select format('%I.%I', n.nspname, p.proname) as display
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = $1::name and n.nspname = any ($2::name[]) and n.nspname <> 'pg_catalog'
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    and exists (select from pg_catalog.pg_proc b
        where b.proname = p.proname and b.pronamespace = 'pg_catalog'::regnamespace)
limit 1
""",
    "operator": """
select format('%I.%s', n.nspname, o.oprname) as display
from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where o.oprname = $1::name and n.nspname = any ($2::name[]) and n.nspname <> 'pg_catalog'
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_operator'::regclass and d.objid = o.oid and d.deptype = 'e')
limit 1
""",
    "collation": """
select format('%I.%I', n.nspname, c.collname) as display
from pg_catalog.pg_collation c
join pg_catalog.pg_namespace n on n.oid = c.collnamespace
where c.collname = $1::name and n.nspname = any ($2::name[]) and n.nspname <> 'pg_catalog'
limit 1
""",
}

# A type, what it is made of, the array and the multirange that come with it, and whether anything of a user's hangs on
# one of them: enumerations with casts or operator classes, domains with checks that are not built in, and so on.
TYPE_PARTS = """
with recursive part (oid) as (
    select $1::oid
    union
    select x.oid
    from part p
    join pg_catalog.pg_type t on t.oid = p.oid
    cross join lateral (
        select t.typelem as oid where t.typcategory = 'A' and t.typelem <> 0
        union all
        select t.typarray where t.typarray <> 0 and t.oid >= 16384
        union all
        select t.typbasetype where t.typbasetype <> 0
        union all
        select unnest(array[r.rngsubtype, r.rngmultitypid]) from pg_catalog.pg_range r
        where r.rngtypid = t.oid and t.oid >= 16384
        union all
        select a.atttypid from pg_catalog.pg_attribute a
        where a.attrelid = t.typrelid and t.typtype = 'c' and a.attnum > 0 and not a.attisdropped
    ) x
)
select pg_catalog.format_type(t.oid, null) as name, t.oid < 16384 as built_in, t.typtype::text as type,
    t.typnamespace::regnamespace::text as schema, t.typcategory::text as category, t.typelem <> 0 as has_element,
    t.typname ~ '^_?(reg|pg_(?!lsn)|aclitem)' as looks_up, c.relkind::text as relation_kind,
    exists (
        select from pg_catalog.pg_cast k
        where t.oid in (k.castsource, k.casttarget) and k.oid >= 16384
    ) as has_cast,
    exists (select from pg_catalog.pg_opclass o where o.opcintype = t.oid and o.oid >= 16384)
        or exists (
            select from pg_catalog.pg_range r
            where r.rngtypid = t.oid and 16384 <= any (array[r.rngcanonical, r.rngsubdiff, r.rngsubopc]::oid[])
        ) as has_opclass,
    array(
        select pg_catalog.pg_get_expr(k.conbin, 0)
        from pg_catalog.pg_constraint k
        where k.contypid = t.oid and k.conbin is not null
        union all
        select pg_catalog.pg_get_expr(t.typdefaultbin, 0) where t.typdefaultbin is not null
    ) as expressions
from part p
join pg_catalog.pg_type t on t.oid = p.oid
left join pg_catalog.pg_class c on c.oid = t.typrelid
"""

FUNCTIONS = """
select p.oid::bigint as oid, l.lanname::text as language, p.prokind::text as kind, p.prosecdef as security_definer,
    p.proconfig::text[] as config, p.prosqlbody is not null as parsed, p.prosrc as source,
    pg_catalog.pg_get_function_sqlbody(p.oid) as body, p.proretset as returns_set,
    p.proargnames::text[] as argument_names, pg_catalog.pg_get_expr(p.proargdefaults, 0) as defaults,
    p.prosupport::oid <> 0 as has_support, (p.proargtypes::oid[] || p.prorettype)::bigint[] as types,
    (select e.extname::text
        from pg_catalog.pg_depend d
        join pg_catalog.pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
        limit 1) as extension
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where n.nspname = $1::name and p.proname = $2::name
"""

IS_CHECKED_DOMAIN = """
with recursive base (oid) as (
    select $1::oid
    union
    select t.typbasetype from base b join pg_catalog.pg_type t on t.oid = b.oid where t.typtype = 'd'
)
select 1 as one
from base b
join pg_catalog.pg_type t on t.oid = b.oid
where t.typtype = 'd'
    and (t.typnotnull or exists (select from pg_catalog.pg_constraint k where k.contypid = t.oid))
limit 1
"""

# A configuration of text search whose dictionaries are all built in.
BUILT_IN_CONFIGURATION = """
select format('pg_catalog.%I', c.cfgname) as display
from pg_catalog.pg_ts_config c
where c.cfgname = $1::name and c.cfgnamespace = 'pg_catalog'::regnamespace and c.oid < 16384
    and not exists (select from pg_catalog.pg_ts_config_map m where m.mapcfg = c.oid and m.mapdict >= 16384)
"""

# How far arguments of these types (0 for a constant without a type) go with the arguments that something declares, as
# func_match_argtypes and func_select_candidate (parse_func.c) count it; arrays are taken to go with all arrays.
_MATCH = """
cross join lateral (
    select count(*) filter (where g.oid = d.oid)::int as exact,
        count(*) filter (where g.oid <> 0 and (
            g.oid = d.oid or w.typispreferred and w.typcategory = h.typcategory))::int as preferred,
        coalesce(bool_and(
            g.oid = 0 or g.oid = d.oid
            or case
                when w.typname in ('anyarray', 'anycompatiblearray') then h.typcategory = 'A'
                when w.typname in ('anyenum') then h.typtype = 'e'
                when w.typname in ('anyrange', 'anycompatiblerange') then h.typtype = 'r'
                when w.typname in ('anymultirange', 'anycompatiblemultirange') then h.typtype = 'm'
                when w.typname in ('record') then h.typtype = 'c'
                when w.typtype = 'p' then true
                else h.typcategory = 'A' and w.typcategory = 'A'
            end
            or exists (select from pg_catalog.pg_cast k
                where k.castsource = g.oid and k.casttarget = d.oid and k.castcontext = 'i')
        ), true) as fits,
        coalesce(bool_or(exists (
            select from pg_catalog.pg_cast k join pg_catalog.pg_proc c on c.oid = k.castfunc
            where k.castsource = g.oid and k.casttarget = d.oid and c.provolatile <> 'i'
        )), false) as converts_mutably
    from unnest({given}::bigint[]::oid[]) with ordinality as g (oid, place)
    left join unnest({declared}) with ordinality as d (oid, place) on d.place = g.place
    left join pg_catalog.pg_type h on h.oid = g.oid
    left join pg_catalog.pg_type w on w.oid = d.oid
) m
join pg_catalog.pg_type r on r.oid = {result}
"""
_MATCHED = """
    case when r.typtype <> 'p' then r.oid::bigint end as result, m.exact, m.preferred, m.converts_mutably,
"""

# What is written in SQL is inlined before the server looks (anytextcat), and may be made of what is immutable.
_IMMUTABLE = """p.provolatile = 'i' or p.prolang = (
        select l.oid from pg_catalog.pg_language l where l.lanname = 'sql') as immutable"""

FUNCTION_CANDIDATES = f"""
select {_MATCHED} {_IMMUTABLE}, p.provariadic <> 0 as is_variadic
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
{_MATCH.format(given="$3", declared="p.proargtypes::oid[]", result="p.prorettype")}
where n.nspname = $1::name and p.proname = $2::name and (
    p.provariadic <> 0
    or m.fits and pg_catalog.cardinality($3::bigint[]) between p.pronargs - p.pronargdefaults and p.pronargs)
"""

OPERATOR_CANDIDATES = f"""
select {_MATCHED} {_IMMUTABLE}, false as is_variadic
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
{_MATCH.format(given="$2", declared="array_remove(array[o.oprleft, o.oprright], 0::oid)", result="o.oprresult")}
where o.oprname = $1::name and o.oprnamespace = 'pg_catalog'::regnamespace and m.fits
    and pg_catalog.cardinality($2::bigint[]) = case when o.oprleft = 0 then 1 else 2 end
"""

# Whether a cast between two types gives the same at all times (null where it is not known), and whether there is one
# for an assignment.
CAST = """
select
    case
        when k.castmethod in ('b', 'f') then k.castmethod = 'b' or f.provolatile = 'i'
        when s.typcategory = 'A' and t.typcategory = 'A' or s.typtype in ('c', 'd', 'p') or t.typtype in ('c', 'd', 'p')
            then null
        when t.typcategory = 'S' or k.castmethod = 'i' or s.typcategory = 'S'
            then o.provolatile = 'i' and i.provolatile = 'i'
    end as immutable,
    k.castcontext in ('i', 'a') or t.typcategory = 'S' or s.typcategory = 'A' or t.typcategory = 'A'
        or s.typtype not in ('b', 'e') or t.typtype not in ('b', 'e') as is_assignable,
    pg_catalog.format_type(s.oid, null) as source, pg_catalog.format_type(t.oid, null) as target
from pg_catalog.pg_type s
join pg_catalog.pg_type t on t.oid = $2::oid
join pg_catalog.pg_proc o on o.oid = s.typoutput
join pg_catalog.pg_proc i on i.oid = t.typinput
left join pg_catalog.pg_cast k on k.castsource = s.oid and k.casttarget = t.oid
left join pg_catalog.pg_proc f on f.oid = k.castfunc
where s.oid = $1::oid
"""

# Types with which the choice among overloaded functions is understood: built-in ones and enumerations.
KNOWN_TYPE = """
select case when t.typtype in ('b', 'r', 'm') and t.oid < 16384 or t.typtype = 'e' then t.oid::bigint end as oid,
    t.typname::text as name, t.typtype::text as kind, t.typcategory::text as category, t.typarray::bigint as array_oid
from pg_catalog.pg_type t
where t.oid = $1::oid
"""
