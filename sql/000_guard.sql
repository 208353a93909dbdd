-- Refuse to install where the result could not be trusted. Runs first, on every install and upgrade.
do $guard$
declare
  is_upgrade boolean := to_regclass('architect.setting') is not null;
  schema_owner name;
  stranger text;
begin
  if current_setting('server_version_num')::int not between 150000 and 189999 then
    raise exception 'pg_architect supports PostgreSQL 15 to 18, this is %', current_setting('server_version')
      using errcode = '0A000', hint = 'Use a release of pg_architect that names this version of PostgreSQL.';
  end if;
  -- CREATE EXTENSION uses a schema of this name that is already there, whoever owns it and whatever is in it.
  select r.rolname into schema_owner
    from pg_catalog.pg_namespace as n join pg_catalog.pg_roles as r on r.oid = n.nspowner
   where n.nspname = 'architect';
  if schema_owner not in (current_user, 'architect_owner') then
    raise exception 'schema "architect" belongs to "%", not to pg_architect', schema_owner
      using errcode = '42501', hint = 'Rename or drop that schema, then run CREATE EXTENSION again.';
  end if;
  select a.grantee::regrole::text into stranger
    from pg_catalog.pg_namespace as n, pg_catalog.aclexplode(n.nspacl) as a
   where n.nspname = 'architect' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
     -- A schema that CREATE EXTENSION has just made by default privileges is nobody else's yet; sql/990_privileges.sql
     -- takes those back.
     and (is_upgrade or n.xmin <> pg_current_xact_id()::xid)
   limit 1;
  if found then
    raise exception 'others than its owner may create objects in schema "architect": %', stranger
      using errcode = '42501', hint = 'Run: revoke create on schema architect from that role (- is public).';
  end if;
  if not is_upgrade and exists (select from pg_catalog.pg_depend as d
                                 where d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'architect'::regnamespace
                                   and d.deptype = 'n'
                                   and d.classid <> 'pg_extension'::regclass) then
    raise exception 'schema "architect" exists and is not empty' using errcode = '42501',
      hint = 'Rename or drop that schema, then run CREATE EXTENSION again.';
  end if;
  -- What is there before this script, for sql/990_privileges.sql: all else it makes. The setting ends with the script.
  perform set_config('pg_architect.existing_objects', coalesce((
    select string_agg(format('%s.%s', known.classid, known.objid), ' ')
      from (select d.classid, d.objid
              from pg_catalog.pg_depend as d
             where d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'architect'::regnamespace
            union all
            select 'pg_namespace'::regclass, 'architect'::regnamespace) as known
     where is_upgrade), ''), true);
end
$guard$;
