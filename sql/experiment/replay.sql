create or replace function architect._planner_replay(statement text, parameter_types text[], parameter_values text[])
returns jsonb
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "experiment.run", "run_once", statement, parameter_types, parameter_values)
$$;
comment on function architect._planner_replay(text, text[], text[]) is 'Runs one SELECT that was proved harmless, with the rights of a role that may only read; returns its plan''s shape and what it used.';

create or replace function architect._begin_replay(proposal_id bigint, seconds double precision) returns boolean
language sql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into architect.replay as r (proposal_id, executor_pid, executor_started_at, ends_at)
  select $1, a.pid, a.backend_start, clock_timestamp() + make_interval(secs => $2)
    from pg_stat_activity as a where a.pid = pg_backend_pid()
  on conflict (proposal_id) do update
     set executor_pid = excluded.executor_pid, executor_started_at = excluded.executor_started_at,
         ends_at = excluded.ends_at, interrupted_at = null, interruption = null
  returning coalesce(r.watched_at > clock_timestamp() - interval '2 seconds', false)
$$;
comment on function architect._begin_replay(bigint, double precision) is 'Announces a replay of this session and when its time is over; returns whether another session watches it.';

create or replace function architect._end_replay(proposal_id bigint) returns void
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  ordered timestamptz;
begin
  delete from architect.replay as r where r.proposal_id = $1 returning r.interrupted_at into ordered;
  if ordered is not null then
    perform pg_sleep(0.1);  -- the cancel that was ordered has come by now: it must not hit what follows
  end if;
end
$$;
comment on function architect._end_replay(bigint) is 'Ends what _begin_replay announced; waits for a watching session that is about to cancel.';

create or replace function architect._replay_interruption(proposal_id bigint) returns text
language sql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
  with was as (select r.interruption from architect.replay as r
                where r.proposal_id = $1 and r.executor_pid = pg_backend_pid() for update)
  update architect.replay as r set interrupted_at = null, interruption = null from was
   where r.proposal_id = $1 returning was.interruption
$$;
comment on function architect._replay_interruption(bigint) is 'Why a watching session canceled the run of this session, once; NULL if none did.';

create or replace function architect._interrupt_replay(proposal_id bigint) returns integer
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  it architect.replay;
  since timestamptz;
  why text;
begin
  update architect.replay as r set watched_at = clock_timestamp() where r.proposal_id = $1 returning * into it;
  -- One order at a time; again if it got lost.
  if not found or it.interrupted_at > clock_timestamp() - interval '1 second' then
    return null;
  end if;
  -- Every run is a transaction of its own, and marks that it must be rolled back.
  select a.xact_start into since
    from pg_stat_activity as a
    join pg_locks as l on l.pid = a.pid and l.relation = 'architect.must_roll_back'::regclass and l.database = a.datid
   where a.pid = it.executor_pid and a.backend_start = it.executor_started_at
   limit 1;
  if since is null then
    return null;
  elsif clock_timestamp() > it.ends_at then
    why := 'the time for it was over';
  elsif clock_timestamp() > since + interval '0.5 seconds'
        and exists (select from pg_locks as w where not w.granted and it.executor_pid = any (pg_blocking_pids(w.pid))) then
    why := 'another session had to wait for it';
  else
    return null;
  end if;
  update architect.replay as r set interrupted_at = clock_timestamp(), interruption = why where r.proposal_id = $1;
  return it.executor_pid;
end
$$;
comment on function architect._interrupt_replay(bigint) is 'For who watches a replay: the session to cancel before this transaction ends, or NULL.';
