-- A migration script, judged statement by statement. The columns after "statement" are those of judge_statement.

create or replace function architect.judge_script(script text, single_transaction boolean default false)
returns table (
  number integer,
  line integer,
  statement text,
  verdict text,
  risk text,
  kind text,
  objects jsonb,
  lock text,
  blocks_reads boolean,
  blocks_writes boolean,
  rewrites boolean,
  scans boolean,
  needs_own_transaction boolean,
  estimated_bytes bigint,
  estimated_duration interval,
  estimated_by text,
  apply_sql text,
  revert_sql text,
  undo text,
  safer_sql text[],
  reasons jsonb,
  unproven text[]
)
language plpython3u stable parallel unsafe called on null input security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set lock_timeout = '1s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.script", "judge_rows", script, single_transaction)
$$;
comment on function architect.judge_script(text, boolean) is
  'What the safety gate says about each statement of a migration script, as if those before it had been executed: one row for each. Nothing is executed.';
