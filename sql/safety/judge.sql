-- The safety domain: a verdict on generated statements, and the proof that captured ones run built-in code only.
-- Names are compared as format('%I') writes them, here and wherever a statement is judged again: so they are quoted
-- alike in every session.

create or replace function architect.judge_statement(statement text)
returns table (
  verdict text,
  risk text,
  kind text,
  objects jsonb,
  lock text,
  blocks_reads boolean,
  blocks_writes boolean,
  needs_own_transaction boolean,
  apply_sql text,
  revert_sql text,
  reasons jsonb
)
language plpython3u stable parallel unsafe called on null input security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.gate", "judge_rows", statement)
$$;
comment on function architect.judge_statement(text) is
  'What the safety gate says about a statement: one row for every text. Nothing is executed.';

create or replace function architect.prove_harmless(statement text, role name default null)
returns table (kind text, harmless boolean, reason text, relations text[], parameters integer)
language plpython3u stable parallel unsafe called on null input security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.harmless", "explain_proof", statement, role)
$$;
comment on function architect.prove_harmless(text, name) is
  'Whether planning a query that this role ran could execute anything but built-in code, and why. Nothing is executed.';
