create table architect.organization (
  organization_id uuid primary key,
  name text not null unique,
  created_at timestamptz not null default now()
);
comment on table architect.organization is 'Who owns knowledge; one default organization exists from the start.';
comment on column architect.organization.organization_id is 'All zeros for the default organization.';
comment on column architect.organization.name is 'Name for people.';
comment on column architect.organization.created_at is 'When it was registered.';

create table architect.deployment (
  deployment_id uuid primary key,
  organization_id uuid not null references architect.organization,
  system_identifier bigint not null,
  database_name name not null,
  created_at timestamptz not null default now(),
  unique (organization_id, system_identifier, database_name)
);
comment on table architect.deployment is 'One database of one server; telemetry and proposals belong to it.';
comment on column architect.deployment.deployment_id is 'Derived from system identifier and database name, so that a copy elsewhere is another deployment.';
comment on column architect.deployment.organization_id is 'The organization that it belongs to.';
comment on column architect.deployment.system_identifier is 'pg_control_system().system_identifier of the server.';
comment on column architect.deployment.database_name is 'Name of the database.';
comment on column architect.deployment.created_at is 'When it was registered.';

-- CREATE EXTENSION makes the default rows, and a dump holds them too: a restore must then take the dump's row
-- instead of failing on a duplicate key and losing the whole table.
create function architect._merge_restored() returns trigger
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name = 'organization' then
    update architect.organization as o set name = new.name, created_at = new.created_at
     where o.organization_id = new.organization_id;
  else
    update architect.deployment as d set created_at = new.created_at
     where d.deployment_id = new.deployment_id;
  end if;
  return case when found then null else new end;
end
$$;
comment on function architect._merge_restored() is 'Insert trigger: a row with a known key updates the one that is there.';
create trigger merge_restored before insert on architect.organization
  for each row execute function architect._merge_restored();
create trigger merge_restored before insert on architect.deployment
  for each row execute function architect._merge_restored();

select pg_catalog.pg_extension_config_dump('architect.organization', '');
select pg_catalog.pg_extension_config_dump('architect.deployment', '');
