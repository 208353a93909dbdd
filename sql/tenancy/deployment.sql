create or replace function architect._this_deployment() returns uuid
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  identifier bigint := (select system_identifier from pg_control_system());
  id uuid := md5(identifier::text || '/' || current_database())::uuid;
  everyone constant uuid := '00000000-0000-0000-0000-000000000000';
begin
  -- A renamed database or a copy on another server gets its own row when it is first used.
  if not exists (select from architect.deployment where deployment_id = id) then
    if not exists (select from architect.organization where organization_id = everyone) then
      insert into architect.organization (organization_id, name) values (everyone, 'default');
    end if;
    insert into architect.deployment (deployment_id, organization_id, system_identifier, database_name)
    values (id, everyone, identifier, current_database());
  end if;
  return id;
end
$$;
comment on function architect._this_deployment() is 'Identifier of this database on this server; registers it at the first call.';

select architect._this_deployment();

create or replace view architect.deployments with (security_invoker = true) as
select d.deployment_id, o.name as organization, d.system_identifier, d.database_name, d.created_at
  from architect.deployment as d
  join architect.organization as o using (organization_id);
comment on view architect.deployments is 'The databases that pg_architect knows, with the organization of each.';
