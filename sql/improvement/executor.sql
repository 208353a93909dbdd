create or replace function architect._own_address()
returns table (socket_directory text, port text, database_name text, started text)
language sql stable parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  -- from the server itself: an address that a role could set would hand out the rights of the server's OS user
  select btrim(split_part(current_setting('unix_socket_directories'), ',', 1), ' "'),
         current_setting('port'), current_database()::text, extract(epoch from pg_postmaster_start_time())::text
$$;
comment on function architect._own_address() is 'Where this server listens for local connections.';

create or replace function architect._holds_snapshot(pid integer) returns boolean
language sql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select a.backend_xmin is not null from pg_stat_activity as a where a.pid = _holds_snapshot.pid), false)
$$;
comment on function architect._holds_snapshot(integer) is 'Whether a concurrent build would have to wait for that session.';

create or replace function architect._missing_create(relation_oid oid) returns text
language sql stable strict parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select format('grant create on schema %I to %I;', n.nspname, r.rolname)
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace join pg_roles as r on r.oid = c.relowner
   where c.oid = relation_oid and not has_schema_privilege('architect_executor', n.oid, 'create')
$$;
comment on function architect._missing_create(oid) is
  'What lets the executor create an index in the schema of a table; NULL where it may.';

create or replace function architect._cron_is_usable() returns boolean
language sql stable parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_extension where extname = 'pg_cron')
     and current_setting('cron.use_background_workers', true) = 'on'
     and has_schema_privilege('architect_executor', (select oid from pg_namespace where nspname = 'cron'), 'usage')
$$;
comment on function architect._cron_is_usable() is 'Whether pg_cron workers of this database can act as architect_executor.';

create or replace function architect._cron_minute(minutes integer) returns text
language sql volatile strict parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select format('%s %s %s %s *', extract(minute from next.at), extract(hour from next.at), extract(day from next.at),
                extract(month from next.at))
    from (select (clock_timestamp() + make_interval(mins => $1, secs => 5))
                   at time zone coalesce(current_setting('cron.timezone', true), 'GMT') as at) as next
$$;
comment on function architect._cron_minute(integer) is 'The schedule of the minute that begins so many minutes from now at most, and at least 5 s ahead, in pg_cron''s time zone.';

create or replace function architect._executor_interrupt(proposal_id bigint) returns text
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  it record;
begin
  -- The order and the cancel in one transaction: the executor's session waits for it before it goes on.
  select * into it from architect._interrupt_replay($1);
  if it.ending is not null then
    perform pg_terminate_backend(it.target);
  elsif it.target is not null then
    perform pg_cancel_backend(it.target);
  end if;
  return it.ending;
end
$$;
comment on function architect._executor_interrupt(bigint) is
  'For who watches a replay: cancels a run that must end; returns why the executor''s session had to be ended. Its owner may do that to its own.';

create or replace procedure architect._watch(proposal_id bigint)
language plpython3u security invoker
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run_procedure(plpy, "improvement.cron", "watch", proposal_id)
$$;
comment on procedure architect._watch(bigint) is 'Watches over the worker of a proposal: cancels a run of its replay that takes too long or that others wait for.';

create or replace function architect._executor_start(proposal_id bigint) returns void
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "improvement.cron", "start", proposal_id)
$$;
comment on function architect._executor_start(bigint) is
  'Have pg_cron go on with a proposal as architect_executor, which owns this function so that the job is its own.';
