create or replace function architect._deployment_id() returns uuid
language sql stable parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
  select md5((select system_identifier from pg_control_system())::text || '/' || current_database())::uuid
$$;
comment on function architect._deployment_id() is 'Identifier of this database on this server: a copy elsewhere has another.';

create or replace function architect._this_deployment() returns uuid
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  id uuid := architect._deployment_id();
  everyone constant uuid := '00000000-0000-0000-0000-000000000000';
begin
  -- A renamed database or a copy on another server gets its own row when it is first used.
  if not exists (select from architect.deployment where deployment_id = id) then
    if not exists (select from architect.organization where organization_id = everyone) then
      insert into architect.organization (organization_id, name) values (everyone, 'default');
    end if;
    insert into architect.deployment (deployment_id, organization_id, system_identifier, database_name)
    values (id, everyone, (select system_identifier from pg_control_system()), current_database());
  end if;
  return id;
end
$$;
comment on function architect._this_deployment() is 'architect._deployment_id(), registered at the first call.';

select architect._this_deployment();

create or replace view architect.deployments with (security_invoker = true) as
select d.deployment_id, o.name as organization, d.system_identifier, d.database_name, d.created_at
  from architect.deployment as d
  join architect.organization as o using (organization_id);
comment on view architect.deployments is 'The databases that pg_architect knows, with the organization of each.';
comment on column architect.deployments.organization is 'Name of the organization that it belongs to.';
