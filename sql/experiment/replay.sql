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
  -- Who holds this session's connection has named itself; of pg_cron's workers each may watch the other.
  insert into architect.replay as r
    (proposal_id, executor_pid, executor_started_at, watcher_pid, watcher_started_at, ends_at)
  select $1, a.pid, a.backend_start, w.pid, w.backend_start, clock_timestamp() + make_interval(secs => $2)
    from pg_stat_activity as a
    left join pg_stat_activity as w on w.pid = nullif(current_setting('pg_architect.watcher', true), '')::integer
   where a.pid = pg_backend_pid()
  on conflict (proposal_id) do update
     set executor_pid = excluded.executor_pid, executor_started_at = excluded.executor_started_at,
         watcher_pid = excluded.watcher_pid, watcher_started_at = excluded.watcher_started_at,
         ends_at = excluded.ends_at, interrupted_at = null, interruption = null
  returning coalesce(r.watched_at > clock_timestamp() - interval '2 seconds', false)
$$;
comment on function architect._begin_replay(bigint, double precision) is 'Announces a replay of this session and when its time is over; returns whether another session watches it.';

create or replace function architect._begin_statement(proposal_id bigint, statement_id bigint) returns text
language sql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
  update architect.replay as r set statement_id = $2
   where r.proposal_id = $1 and r.executor_pid = pg_backend_pid()
  returning case when $2 = any (r.terminated_statements)
                 then 'its replay had to be terminated: it was canceled and went on' end
$$;
comment on function architect._begin_statement(bigint, bigint) is 'Announces whose runs follow in a replay of this session; returns why it must not be replayed, NULL if it may.';

create or replace function architect._replay_once(statement_id bigint, parameter_set integer) returns jsonb
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  it architect.replay_statement;
begin
  -- Only what was proved for the measurement that this session has announced; and for nobody who became a member of the
  -- executor, like _hide_index.
  select s.* into it
    from architect.replay as r join architect.replay_statement as s using (proposal_id)
    join pg_stat_activity as a on a.pid = r.executor_pid and a.backend_start = r.executor_started_at
   where a.pid = pg_backend_pid() and r.statement_id = $1 and s.statement_id = $1
     and $2 between 0 and jsonb_array_length(s.parameter_sets) - 1
     and (session_user = 'architect_executor'
          or exists (select from pg_roles as u where u.rolname = session_user and u.rolsuper));
  if not found then
    raise exception 'this session does not replay statement %', $1 using errcode = '55000',
      hint = 'Only the measurement of an index replays statements.';
  end if;
  perform architect._lend_rights(it.role_oid, it.relation_oids);
  perform set_config('transaction_read_only', 'on', true);
  return architect._planner_replay(it.text, it.parameter_types,
                                   array(select e.value from jsonb_array_elements_text(it.parameter_sets -> $2)
                                           with ordinality as e (value, position) order by e.position));
end
$$;
comment on function architect._replay_once(bigint, integer) is
  'Runs a statement of the announced replay once with a set of its parameters, by number, and with the rights of its author, in a transaction that must be rolled back; returns what it used.';

create or replace function architect._end_replay(proposal_id bigint) returns void
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  ordered timestamptz;
begin
  delete from architect.replay as r where r.proposal_id = $1 returning r.interrupted_at into ordered;
  delete from architect.replay_statement as s where s.proposal_id = $1;
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

create or replace function architect._interrupt_replay(proposal_id bigint, out target integer, out ending text)
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  it architect.replay;
  since timestamptz;
  why text;
begin
  -- Nobody but the watch of a living session may touch the row, and nobody's open transaction holds the watch up.
  select r.* into it from architect.replay as r
   where r.proposal_id = $1
     and exists (select from pg_stat_activity as e
                  where e.pid = r.executor_pid and e.backend_start = r.executor_started_at)
     and (r.watcher_pid is null and session_user = 'architect_executor'
          or exists (select from pg_stat_activity as w where w.pid = pg_backend_pid()
                        and w.pid = r.watcher_pid and w.backend_start = r.watcher_started_at))
     for update of r skip locked;
  if not found then
    return;
  end if;
  update architect.replay as r set watched_at = clock_timestamp() where r.proposal_id = $1;
  -- One order at a time; again if it got lost.
  if it.interrupted_at > clock_timestamp() - interval '1 second' then
    return;
  end if;
  -- Every run is a transaction of its own, and marks that it must be rolled back.
  select a.xact_start into since
    from pg_stat_activity as a
    join pg_locks as l on l.pid = a.pid and l.relation = 'architect.must_roll_back'::regclass and l.database = a.datid
   where a.pid = it.executor_pid and a.backend_start = it.executor_started_at
   limit 1;
  if since is null then
    return;
  elsif clock_timestamp() > it.ends_at then
    why := 'the time for it was over';
  elsif clock_timestamp() > since + interval '0.5 seconds'
        and exists (select from pg_locks as w
                     -- a concurrent build waits for every transaction, and holds nobody up meanwhile
                     where not w.granted and w.locktype <> 'virtualxid' and it.executor_pid = any (pg_blocking_pids(w.pid))) then
    why := 'another session had to wait for it';
  else
    return;
  end if;
  target := it.executor_pid;
  -- Code that somebody slipped in after the proof can catch a cancel, but not the end of its session.
  if it.canceled_run = since and it.cancels >= 2 then
    ending := format('a query of the measurement was canceled, because %s, and went on', why);
  end if;
  update architect.replay as r
     set interrupted_at = clock_timestamp(), interruption = why, canceled_run = since,
         cancels = case when it.canceled_run = since then it.cancels + 1 else 1 end,
         terminated_statements = case when ending is null then r.terminated_statements
                                      else r.terminated_statements || r.statement_id end
   where r.proposal_id = $1;
end
$$;
comment on function architect._interrupt_replay(bigint) is 'For who watches a replay: the session to cancel before this transaction ends, or NULL; to terminate if it says why.';
