"""What the extension left in the catalogue, as sorted lines of text that do not depend on the server's version."""

from __future__ import annotations

from typing import Any

import psycopg

# Members of the extension, and what hangs on them, all belong to this schema.
OBJECTS = """
    select format('%s %s: %s', i.type, i.identity, owner.rolname)
      from pg_depend as d
      join pg_extension as e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
     cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) as i
      left join pg_class as c on d.classid = 'pg_class'::regclass and c.oid = d.objid
      left join pg_proc as p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
      left join pg_type as t on d.classid = 'pg_type'::regclass and t.oid = d.objid
      left join pg_roles as owner on owner.oid = coalesce(c.relowner, p.proowner, t.typowner)
      left join pg_class as rows_of on rows_of.oid = t.typrelid
     where d.deptype = 'e' and e.extname = 'pg_architect'
       -- array types and the row types of tables come with them, since PostgreSQL 17 as members of their own
       and (t.oid is null or t.typcategory <> 'A' and coalesce(rows_of.relkind, 'c') = 'c')
     union all
    select format('schema %s: %s', nspname, nspowner::regrole) from pg_namespace where nspname = 'architect'
"""

# Everybody but the owner. MAINTAIN came with PostgreSQL 17.
PRIVILEGES = """
    with object (kind, name, owner, acl) as (
        select 'schema', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
          from pg_namespace where nspname = 'architect'
         union all
        select case relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, oid::regclass::text,
               relowner, coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
          from pg_class where relnamespace = 'architect'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')
         union all
        select 'column', format('%s.%I', attrelid::regclass, attname), c.relowner, attacl
          from pg_attribute join pg_class as c on c.oid = attrelid
         where c.relnamespace = 'architect'::regnamespace and attacl is not null
         union all
        select case prokind when 'p' then 'procedure' else 'function' end, oid::regprocedure::text,
               proowner, coalesce(proacl, acldefault('f', proowner))
          from pg_proc where pronamespace = 'architect'::regnamespace
         union all
        select 'type', oid::regtype::text, typowner, coalesce(typacl, acldefault('T', typowner))
          from pg_type
         where typnamespace = 'architect'::regnamespace and typtype in ('e', 'd')
    )
    select format('%s %s: %s', kind, name, coalesce(granted, 'owner only'))
      from object
      left join lateral (
        select string_agg(format('%s %s', grantee, privileges), '; ' order by grantee) as granted
          from (
            select case when a.grantee = 0 then 'PUBLIC' else a.grantee::regrole::text end as grantee,
                   string_agg(lower(privilege_type) || case when is_grantable then '*' else '' end, ','
                              order by privilege_type) as privileges
              from aclexplode(object.acl) as a
             where a.grantee <> object.owner and privilege_type <> 'MAINTAIN'
             group by a.grantee
          ) as per_grantee
      ) as grants on true
"""

SCHEMA = """
    select format('%s %s column %s %I %s%s%s%s',
                  case c.relkind when 'v' then 'view' when 'c' then 'type' else 'table' end, c.oid::regclass,
                  lpad((row_number() over (partition by c.oid order by a.attnum))::text, 2, '0'), a.attname,
                  format_type(a.atttypid, a.atttypmod),
                  case when a.attnotnull then ' not null' end,
                  case when a.attidentity <> '' then ' identity ' || a.attidentity::text end,
                  ' default ' || pg_get_expr(d.adbin, d.adrelid))
      from pg_class as c
      join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
     where c.relnamespace = 'architect'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'c')
     union all
    -- NOT NULL is a constraint since PostgreSQL 18; the columns show it
    select format('table %s constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
      from pg_constraint
     where connamespace = 'architect'::regnamespace and conrelid <> 0 and contype <> 'n'
     union all
    select format('table %s index %s', i.indrelid::regclass, pg_get_indexdef(i.indexrelid))
      from pg_index as i join pg_class as c on c.oid = i.indexrelid
     where c.relnamespace = 'architect'::regnamespace
     union all
    select format('table %s trigger %s', tgrelid::regclass, pg_get_triggerdef(t.oid))
      from pg_trigger as t join pg_class as c on c.oid = tgrelid
     where c.relnamespace = 'architect'::regnamespace and not tgisinternal
     union all
    select format('table %s policy %I %s for %s to %s using (%s) check (%s)', p.polrelid::regclass, polname,
                  case when polpermissive then 'permissive' else 'restrictive' end, polcmd,
                  (select string_agg(case when r = 0 then 'public' else r::regrole::text end, ',')
                     from unnest(polroles) as r),
                  pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
      from pg_policy as p join pg_class as c on c.oid = polrelid
     where c.relnamespace = 'architect'::regnamespace
     union all
    select format('%s %s options %s%s%s', case relkind when 'v' then 'view' else 'table' end, oid::regclass,
                  coalesce(reloptions::text, 'none'),
                  case when relrowsecurity then ' row-level security' end,
                  case when relforcerowsecurity then ' forced' end)
      from pg_class where relnamespace = 'architect'::regnamespace and relkind in ('r', 'p', 'v', 'm')
     union all
    select format('%s %I(%s)%s %s %s %s%s%s%s', case prokind when 'p' then 'procedure' else 'function' end, proname,
                  pg_get_function_arguments(p.oid), ' returns ' || pg_get_function_result(p.oid), lanname,
                  case provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
                  case proparallel when 'u' then 'parallel unsafe' when 's' then 'parallel safe'
                                   else 'parallel restricted' end,
                  case when proisstrict then ' strict' end,
                  case when prosecdef then ' security definer' end,
                  ' set ' || array_to_string(proconfig, ' '))
      from pg_proc as p join pg_language as l on l.oid = prolang
     where pronamespace = 'architect'::regnamespace
     union all
    select format('type %s values %s', t.oid::regtype, string_agg(e.enumlabel, ',' order by e.enumsortorder))
      from pg_type as t join pg_enum as e on e.enumtypid = t.oid
     where t.typnamespace = 'architect'::regnamespace
     group by t.oid
     union all
    select format('dump %s %s', rel::regclass, nullif(filter, ''))
      from pg_extension, unnest(extconfig, extcondition) as u (rel, filter)
     where extname = 'pg_architect'
"""

# Texts that golden files need not repeat, but that an upgrade must not leave behind.
BODIES = """
    select format('body %s %s', p.oid::regprocedure, md5(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)))
      from pg_proc as p where pronamespace = 'architect'::regnamespace
     union all
    select format('view %s %s', oid::regclass, md5(pg_get_viewdef(oid)))
      from pg_class where relnamespace = 'architect'::regnamespace and relkind in ('v', 'm')
     union all
    select format('comment %s %s %s %s', i.type, i.identity, d.objsubid, md5(d.description))
      from pg_description as d cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) as i
     where i.schema = 'architect' or i.identity like 'architect.%'
"""


def lines(connection: psycopg.Connection[Any], query: str) -> list[str]:
    """The query's one column as sorted lines; line breaks inside (long defaults) become spaces."""
    connection.execute("set search_path = pg_catalog")
    return sorted(" ".join(str(row[0]).split()) for row in connection.execute(query).fetchall())
