create or replace function architect._is_at_work(proposal_id bigint) returns boolean
language sql stable parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from architect.proposal as p
      join pg_stat_activity as a on a.pid = p.executor_pid and a.backend_start = p.executor_started_at
     where p.proposal_id = _is_at_work.proposal_id
       and p.state in ('approved', 'retry', 'deploying', 'deployed', 'verifying', 'reverting')
       and a.pid <> pg_backend_pid())
  or exists (
    -- a build in a pg_cron worker, whose session is another than the one that ordered it
    select from architect.proposal as p
      join pg_stat_progress_create_index as b on b.relid = p.relation_oid and b.datname = current_database()
      join pg_class as c on c.oid = b.index_relid and c.relname = p.work_name
     where p.proposal_id = _is_at_work.proposal_id and p.state = 'deploying' and b.pid <> pg_backend_pid())
$$;
comment on function architect._is_at_work(bigint) is 'Whether another live session works on the proposal.';

create or replace function architect._is_resting(proposal_id bigint) returns boolean
language sql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select p.state not in ('approved', 'deploying', 'deployed', 'verifying', 'reverting')
    from architect.proposal as p where p.proposal_id = _is_resting.proposal_id
$$;
comment on function architect._is_resting(bigint) is 'Whether an executor has nothing more to do with the proposal for now.';

create or replace function architect._must_be_watched(proposal_id bigint) returns boolean
language sql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select p.state in ('deploying', 'deployed', 'verifying')
    from architect.proposal as p where p.proposal_id = _must_be_watched.proposal_id
$$;
comment on function architect._must_be_watched(bigint) is 'Whether the next step of a proposal may be its measurement.';

create or replace function architect._must_be_deployable(proposal_id bigint) returns void
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "improvement.deployment", "must_be_deployable", proposal_id)
$$;
comment on function architect._must_be_deployable(bigint) is 'Refuse early what the executor would refuse anyway.';

create or replace function architect._step(proposal_id bigint, failure text) returns jsonb
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "improvement.deployment", "step", proposal_id, failure)
$$;
comment on function architect._step(bigint, text) is 'Next action for an approved proposal; checks the approval in the executor''s session.';

create or replace function architect._record_baseline(proposal_id bigint, baseline jsonb) returns void
language sql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  update architect.proposal as p set baseline = _record_baseline.baseline
   where p.proposal_id = _record_baseline.proposal_id and p.state in ('approved', 'retry')
$$;
comment on function architect._record_baseline(bigint, jsonb) is 'Keep what was observed of the writes before the change.';

create or replace function architect._conclude(
  proposal_id bigint, measurement_id bigint, verdict text, keep boolean, explanation text
) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  update architect.proposal as p set verdict = _conclude.verdict, measurement_id = _conclude.measurement_id
   where p.proposal_id = _conclude.proposal_id and p.state = 'verifying';
  perform architect._transition(_conclude.proposal_id, case when _conclude.keep then 'kept' else 'reverting' end,
                                _conclude.verdict || ': ' || _conclude.explanation);
end
$$;
comment on function architect._conclude(bigint, bigint, text, boolean, text) is 'Take the verdict of a measurement: keep or revert.';

create or replace procedure architect._advance(
  proposal_id bigint, failure text, via text, inout next_sql text default null, inout stop text default null
)
language plpython3u security invoker
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run_procedure(plpy, "improvement.advance", "advance", proposal_id, failure, via)
$$;
comment on procedure architect._advance(bigint, text, text, text, text) is 'Go on with a proposal in the executor''s own session.';

create or replace procedure architect.sp_deploy_approved(
  proposal_id bigint, wait interval default null, inout verdict text default null, inout next_step text default null
)
language plpython3u security invoker
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run_procedure(plpy, "improvement.procedures", "deploy", proposal_id, wait)
$$;
comment on procedure architect.sp_deploy_approved(bigint, interval, text, text) is
  'Build, measure, keep or revert an approved proposal (operator); goes on where an interrupted call ended.';

create or replace function architect._begin_rollback(proposal_id bigint, reason text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  was text;
begin
  if coalesce(_begin_rollback.reason, '') !~ '[^[:space:]]' then
    raise exception 'a rollback needs a reason' using errcode = '22023',
      hint = 'The reason is kept with the proposal, for whoever sees it next.';
  end if;
  perform architect._check_reason(_begin_rollback.reason);
  select p.state into was from architect.proposal as p
   where p.proposal_id = _begin_rollback.proposal_id and p.deployment_id = architect._this_deployment()
     for update;
  if not found then
    raise exception 'there is no proposal % of this database', _begin_rollback.proposal_id using errcode = 'P0002',
      hint = 'Their numbers are in architect.proposals.';
  end if;
  -- one that was interrupted on its way back goes on
  if was = 'reverting' then
    return;
  end if;
  if was not in ('kept', 'deployed', 'revert_failed') then
    raise exception 'proposal % is %, there is nothing to roll back', _begin_rollback.proposal_id, replace(was, '_', ' ')
      using errcode = '55000', hint = 'Only a change that is in place can be undone; architect.proposals shows the states.';
  end if;
  perform architect._transition(_begin_rollback.proposal_id, 'reverting', _begin_rollback.reason);
end
$$;
comment on function architect._begin_rollback(bigint, text) is 'Order the undoing of a change, with the reason.';

create or replace procedure architect.sp_rollback(
  proposal_id bigint, reason text, wait interval default '10 minutes',
  inout state text default null, inout next_step text default null
)
language plpython3u security invoker
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run_procedure(plpy, "improvement.procedures", "rollback", proposal_id, reason, wait)
$$;
comment on procedure architect.sp_rollback(bigint, text, interval, text, text) is 'Undo a change that was kept (operator), with the reason.';
