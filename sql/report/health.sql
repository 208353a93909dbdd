-- Stays with the installing superuser, as only a superuser may read pg_hba.conf: it reads, and tells of these lines alone.
create or replace function architect._trusting_hba_lines()
returns table (file_name text, line_number integer, line text, is_local boolean)
language sql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  -- The first line that fits a connection decides. How databases and roles are matched: check_db and check_role of hba.c;
  -- a name after a slash is a regular expression (PostgreSQL 16).
  with fitting as (
    select r.ordinality, r.line_number, r.type, r.database, r.user_name, r.address, r.netmask, r.auth_method,
           coalesce(to_jsonb(r) ->> 'file_name', current_setting('hba_file')) as file_name
      from pg_hba_file_rules() with ordinality as r
     where r.error is null
       and exists (
         select from unnest(r.database) as d (name)
          where d.name in ('all', current_database())
             or d.name = 'sameuser' and current_database() = 'architect_executor'
             or d.name in ('samerole', 'samegroup')
                and exists (select from pg_roles as o
                             where o.rolname = current_database() and pg_has_role('architect_executor', o.oid, 'member'))
             or d.name like '/%' and current_database() ~ substr(d.name, 2))
       and exists (
         select from unnest(r.user_name) as u (name)
          where u.name in ('all', 'architect_executor')
             or u.name like '+%'
                and exists (select from pg_roles as o
                             where o.rolname = substr(u.name, 2) and pg_has_role('architect_executor', o.oid, 'member'))
             or u.name like '/%' and 'architect_executor' ~ substr(u.name, 2))
  )
  select t.file_name, t.line_number,
         concat_ws(' ', t.type, array_to_string(t.database, ','), array_to_string(t.user_name, ','), t.address, t.netmask,
                   t.auth_method),
         t.type = 'local'
    from fitting as t
   where t.auth_method = 'trust'
     and not exists (
       select from fitting as e
        where e.ordinality < t.ordinality and e.type in (t.type, case when t.type <> 'local' then 'host' end)
          and (t.type = 'local' or e.address = 'all' or (e.address, e.netmask) is not distinct from (t.address, t.netmask)))
   order by t.ordinality
$$;
comment on function architect._trusting_hba_lines() is
  'Lines of pg_hba.conf by which anybody who reaches the server can be architect_executor in this database.';

create or replace function architect.check_health()
returns table (component text, status text, detail text, remedy text)
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "report.health", "check")
$$;
comment on function architect.check_health() is
  'What is missing or misconfigured (status ok, info, warning, critical), what that means, and the command that mends it.';
