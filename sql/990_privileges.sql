-- Who owns and who may use what. An object that has privileges already is left alone: a DBA's own grants survive upgrades.
alter schema architect owner to architect_owner;
grant usage on schema architect to architect_viewer, architect_executor, architect_planner, architect_reader;

do $privileges$
declare
  object record;
  new_owner text;
  granted record;
begin
  for object in
    select c.oid, c.relname as name, case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end as kind,
           format('%I.%I', 'architect', c.relname) as identity, c.relowner as owner, c.relacl is null as is_new
      from pg_catalog.pg_class as c
     where c.relnamespace = 'architect'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
       -- a sequence of an identity column follows its table
       and not exists (select from pg_catalog.pg_depend as d
                        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i')
    union all
    select p.oid, p.proname, 'routine', p.oid::regprocedure::text, p.proowner, p.proacl is null
      from pg_catalog.pg_proc as p
     where p.pronamespace = 'architect'::regnamespace
  loop
    new_owner := case
      -- writing pg_index and granting any role need a superuser's ownership, and what they do is always rolled back;
      -- so does reading pg_hba.conf
      when object.name in ('_hide_index', '_lend_rights', '_trusting_hba_lines') then null
      when object.name like '\_planner\_%' then 'architect_planner'
      when object.name like '\_reader\_%' then 'architect_reader'
      when object.name like '\_executor\_%' then 'architect_executor'
      else 'architect_owner' end;
    if new_owner is not null and object.owner <> new_owner::regrole then
      -- ALTER OWNER asks that the new owner may create in the schema, unless a superuser does it
      execute format('alter %s %s owner to %I', object.kind, object.identity, new_owner);
    end if;
    continue when not object.is_new;
    execute format('revoke all on %s %s from public',
                   case object.kind when 'routine' then 'routine' else 'table' end, object.identity);
    for granted in
      select role.name from (values
        -- reading
        ('architect_viewer', array[
          'setting', 'settings', '_default_settings', 'policy', 'policies', '_default_policies', 'organization', 'deployment',
          'deployments', 'snapshot', 'statement', 'statement_statistics', 'top_queries', 'finding', 'findings', 'run', 'runs',
          'run_log', 'proposal', 'proposals', 'proposal_event', 'pending_approvals', 'approval', 'measurement',
          'measurements', 'measurement_statement', 'measurement_statements', 'improvement_history', 'improvement_success',
          'enrollment', 'enrollments', 'check_health', '_load', '_deployment_id']),
        ('architect_operator', array[
          'sp_autonomous_improvement', 'sp_deploy_approved', 'sp_rollback', 'propose_change', 'take_snapshot',
          'judge_statement', 'prove_harmless', '_begin_run', '_end_run', '_think', '_submit', '_begin_rollback',
          '_must_be_deployable', '_own_address', '_is_resting', '_cron_is_usable', '_executor_start', '_interrupt_replay']),
        ('architect_approver', array['approve', 'reject', 'judge_statement']),
        ('architect_admin', array[
          'set_setting', 'reset_setting', 'set_policy', 'enroll', 'withdraw', '_record_enrollment', '_unfit_owner', 'measurement_sample']),
        ('architect_executor', array[
          '_advance', '_step', '_record_baseline', '_conclude', '_record_measurement', '_write_counters', '_hide_index',
          '_lend_rights', '_planner_replay', '_begin_replay', '_end_replay', '_replay_interruption', '_interrupt_replay',
          '_watch', '_is_resting', '_is_at_work', '_must_be_watched', '_created_by_us', '_holds_snapshot', '_cron_minute', 'setting', 'settings', '_default_settings', '_load']),
        ('architect_planner', array['_load', 'setting', 'settings', '_default_settings']),
        ('architect_owner', array['_lend_rights', '_trusting_hba_lines'])
      ) as role (name, objects)
      where object.name = any (role.objects)
    loop
      execute format('grant %s on %s %s to %I',
                     case object.kind when 'routine' then 'execute' else 'select' end,
                     case object.kind when 'routine' then 'routine' else 'table' end, object.identity, granted.name);
    end loop;
    if new_owner in ('architect_planner', 'architect_reader') then
      execute format('grant execute on routine %s to architect_owner', object.identity);
    end if;
  end loop;
end
$privileges$;
