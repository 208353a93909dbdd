-- Refuse to install where the result could not be trusted. Runs first, on every install and upgrade.
do $guard$
declare
  schema_owner text := (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'architect');
begin
  if current_setting('server_version_num')::int not between 150000 and 189999 then
    raise exception 'pg_architect supports PostgreSQL 15 to 18, this is %', current_setting('server_version')
      using errcode = '0A000', hint = 'Use a release of pg_architect that names this version of PostgreSQL.';
  end if;
  -- CREATE EXTENSION uses a schema of this name that is already there, whoever owns it.
  if schema_owner not in (current_user, 'architect_owner') then
    raise exception 'schema "architect" belongs to %, not to pg_architect', schema_owner
      using errcode = '42501', hint = 'Rename or drop that schema, then run CREATE EXTENSION again.';
  end if;
end
$guard$;
