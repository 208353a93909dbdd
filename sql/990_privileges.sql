-- Who owns and who may use what. What this script has made gets these privileges and no others, whatever the default
-- privileges are. An object that was there before (noted by sql/000_guard.sql) is left alone: a DBA's own grants survive
-- upgrades, and a grant by this script would keep pg_dump from seeing them.
do $privileges$
declare
  existing_objects text[] := string_to_array(current_setting('pg_architect.existing_objects'), ' ');
  object record;
  kind text;
  new_owner text;
  granted record;
begin
  for object in
    select 'pg_namespace'::regclass as class, n.oid, n.nspname as name, 'schema' as kind,
           format('%I', n.nspname) as identity, n.nspowner as owner, n.nspacl as acl, false as follows_table
      from pg_catalog.pg_namespace as n
     where n.nspname = 'architect'
    union all
    select 'pg_class'::regclass, c.oid, c.relname, case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end,
           format('%I.%I', 'architect', c.relname), c.relowner, c.relacl,
           -- a sequence of an identity column gets the owner of its table, before its own privileges are set
           exists (select from pg_catalog.pg_depend as d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i')
      from pg_catalog.pg_class as c
     where c.relnamespace = 'architect'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
    union all
    select 'pg_proc'::regclass, p.oid, p.proname, 'routine', p.oid::regprocedure::text, p.proowner, p.proacl, false
      from pg_catalog.pg_proc as p
     where p.pronamespace = 'architect'::regnamespace
     order by follows_table
  loop
    new_owner := case
      -- writing pg_index and granting any role need a superuser's ownership, and what they do is always rolled back;
      -- so does reading pg_hba.conf
      when object.name in ('_hide_index', '_lend_rights', '_trusting_hba_lines') then null
      when object.name like '\_planner\_%' then 'architect_planner'
      when object.name like '\_reader\_%' then 'architect_reader'
      when object.name like '\_executor\_%' then 'architect_executor'
      else 'architect_owner' end;
    if object.owner <> new_owner::regrole and not object.follows_table then
      -- ALTER OWNER asks that the new owner may create in the schema, unless a superuser does it
      execute format('alter %s %s owner to %I', object.kind, object.identity, new_owner);
    end if;
    continue when format('%s.%s', object.class::oid, object.oid) = any (existing_objects);
    kind := case object.kind when 'view' then 'table' else object.kind end;
    -- What default privileges gave to anybody goes, what they took from the owner comes back.
    execute format('revoke all on %s %s from %s', kind, object.identity, concat_ws(', ', 'public', (
      select string_agg(distinct quote_ident(r.rolname), ', ')
        from pg_catalog.aclexplode(object.acl) as a join pg_catalog.pg_roles as r on r.oid = a.grantee)));
    execute format('grant all on %s %s to %s', kind, object.identity, coalesce(new_owner, object.owner::regrole::text));
    for granted in
      select role.name from (values
        -- the schema; a later version grants this to a new role itself
        ('architect_viewer', array['architect']), ('architect_executor', array['architect']),
        ('architect_planner', array['architect']), ('architect_reader', array['architect']),
        -- reading
        ('architect_viewer', array[
          'setting', 'settings', '_default_settings', 'policy', 'policies', '_default_policies', 'organization', 'deployment',
          'deployments', 'snapshot', 'statement', 'statement_statistics', 'top_queries', 'finding', 'findings', 'run', 'runs',
          'run_log', 'proposal', 'proposals', 'proposal_event', 'pending_approvals', 'approval', 'measurement',
          'measurements', 'measurement_statement', 'measurement_statements', 'improvement_history', 'improvement_success',
          'enrollment', 'enrollments', 'check_health', 'gate_rules', '_gate_rules', '_load', '_deployment_id']),
        ('architect_operator', array[
          'sp_autonomous_improvement', 'sp_deploy_approved', 'sp_rollback', 'propose_change', 'take_snapshot',
          'judge_statement', 'judge_script', 'prove_harmless', '_begin_run', '_end_run', '_think', '_submit', '_begin_rollback',
          '_must_be_deployable', '_own_address', '_is_resting', '_cron_is_usable', '_executor_start', '_executor_interrupt']),
        ('architect_approver', array['approve', 'reject', 'judge_statement', 'judge_script']),
        ('architect_admin', array[
          'set_setting', 'reset_setting', 'set_policy', 'enroll', 'withdraw', '_record_enrollment', '_unfit_owner', 'measurement_sample']),
        ('architect_executor', array[
          '_advance', '_step', '_record_baseline', '_conclude', '_record_measurement', '_write_counters', '_live_counters', '_hide_index',
          '_replay_once', '_begin_replay', '_begin_statement', '_end_replay', '_replay_interruption', '_interrupt_replay',
          '_watch', '_is_resting', '_is_at_work', '_must_be_watched', '_created_by_us', '_holds_snapshot', '_cron_minute', 'setting', 'settings', '_default_settings', '_load']),
        ('architect_planner', array['_load', 'setting', 'settings', '_default_settings']),
        ('architect_owner', array['_lend_rights', '_trusting_hba_lines'])
      ) as role (name, objects)
      where object.name = any (role.objects)
    loop
      execute format('grant %s on %s %s to %I',
                     case kind when 'routine' then 'execute' when 'schema' then 'usage' else 'select' end,
                     kind, object.identity, granted.name);
    end loop;
    if new_owner in ('architect_planner', 'architect_reader') then
      execute format('grant execute on routine %s to architect_owner', object.identity);
    end if;
  end loop;
end
$privileges$;
