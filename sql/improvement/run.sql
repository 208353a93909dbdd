create or replace function architect._begin_run(
  dry_run boolean, max_changes_per_run integer, require_human_approval boolean, target_area text
) returns bigint
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s'
as $$
#variable_conflict use_column
declare
  here uuid;
  own record;
  new_id bigint;
begin
  if pg_is_in_recovery() then
    raise exception 'this server is a standby, a run cannot be recorded here' using errcode = '25006',
      hint = 'Call it on the primary.';
  end if;
  if current_setting('transaction_read_only')::boolean then
    raise exception 'this session is read-only, a run cannot be recorded' using errcode = '25006',
      hint = 'Run: set default_transaction_read_only = off;';
  end if;
  begin
    here := architect._this_deployment();
    -- A session that is gone cannot end its run any more.
    update architect.run as r
       set status = 'interrupted', ended_at = clock_timestamp(), error = 'its session ended'
     where r.deployment_id = here and r.status = 'running'
       and not exists (select from pg_stat_activity as a where a.pid = r.backend_pid and a.backend_start = r.backend_started_at);
    select a.pid, a.backend_start into own from pg_stat_activity as a where a.pid = pg_backend_pid();
    insert into architect.run (deployment_id, requested_by, dry_run, max_changes_per_run, require_human_approval, target_area,
                               backend_pid, backend_started_at, versions)
    values (here, session_user, _begin_run.dry_run, _begin_run.max_changes_per_run, _begin_run.require_human_approval,
            _begin_run.target_area, own.pid, own.backend_start,
            (select jsonb_object_agg(e.extname, e.extversion) from pg_extension as e)
              || jsonb_build_object('server', current_setting('server_version')))
    on conflict (deployment_id) where status = 'running' do nothing
    returning run_id into new_id;
  exception when lock_not_available then
    null;  -- somebody's transaction that began a run is still open
  end;
  if new_id is null then
    raise exception 'another run is in progress' using errcode = '55006',
      detail = coalesce(
        (select format('Run %s by %s began at %s in session %s.', r.run_id, r.requested_by, r.started_at, r.backend_pid)
           from architect.run as r where r.deployment_id = here and r.status = 'running'),
        (select format('Session %s has begun one in a transaction that is still open.', string_agg(distinct l.pid::text, ', '))
           from pg_locks as l
          where l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and l.relation in ('architect.run'::regclass, 'architect.deployment'::regclass)
            and l.mode = 'RowExclusiveLock' and l.pid <> pg_backend_pid())),
      hint = 'Wait for it, or end it with pg_cancel_backend; a session that is idle with pg_terminate_backend.';
  end if;
  return new_id;
end
$$;
comment on function architect._begin_run(boolean, integer, boolean, text) is 'Register a run; one at a time per database.';

create or replace function architect._end_run(run_id bigint, status text, next_step text, error text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  update architect.run as r
     set status = _end_run.status, next_step = left(_end_run.next_step, 10000), error = left(_end_run.error, 10000),
         ended_at = clock_timestamp()
   where r.run_id = _end_run.run_id and r.status = 'running'
     and r.requested_by = session_user and r.backend_pid = pg_backend_pid();
end
$$;
comment on function architect._end_run(bigint, text, text, text) is 'Close this session''s run.';

create or replace function architect._think(run_id bigint) returns jsonb
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "improvement.cycle", "think_json", run_id)
$$;
comment on function architect._think(bigint) is 'Analyze, diagnose, generate, gate and record, for a run of this session.';

create or replace procedure architect.sp_autonomous_improvement(
  dry_run boolean default true,
  max_changes_per_run integer default 1,
  require_human_approval boolean default true,
  target_area text default null,
  debug boolean default false,
  wait interval default null,
  inout run_id bigint default null,
  inout next_step text default null
)
language plpython3u security invoker
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run_procedure(plpy, "improvement.procedures", "improve", dry_run, max_changes_per_run, require_human_approval, target_area, debug, wait)
$$;
comment on procedure architect.sp_autonomous_improvement(boolean, integer, boolean, text, boolean, interval, bigint, text) is
  'One run of the improvement cycle (operator). A dry run, the default, proposes and changes nothing.';

create or replace view architect.runs with (security_invoker = true) as
select r.run_id, r.requested_by, r.dry_run, r.status, r.started_at, r.ended_at, r.max_changes_per_run,
       r.require_human_approval, r.target_area, r.snapshot_id, r.analysis, r.versions, r.next_step, r.error
  from architect.run as r;
comment on view architect.runs is 'Calls of architect.sp_autonomous_improvement; architect.run_log has what each said.';
