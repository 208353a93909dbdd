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
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
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
set lock_timeout = '1s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.harmless", "explain_proof", statement, role)
$$;
comment on function architect.prove_harmless(text, name) is
  'Whether planning or running a query of this role could execute anything but built-in code, with views, policies and functions looked into, and why. Nothing is executed.';

create or replace function architect._free_bytes() returns bigint
language plpython3u volatile parallel unsafe called on null input security invoker
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.disk", "free_bytes")
$$;
comment on function architect._free_bytes() is 'Bytes that are free on the disk of the data directory.';

create or replace function architect._gate_rules()
returns table (rule text, title text, level text, reads text, remedy text, decides text, peers text[])
language plpython3u stable parallel unsafe called on null input security invoker
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "safety.rule_listing", "rows")
$$;
comment on function architect._gate_rules() is 'The rows of architect.gate_rules.';

create or replace view architect.gate_rules with (security_invoker = true) as
select r.rule, r.title, r.level, r.reads, r.remedy, r.decides, r.peers
  from architect._gate_rules() as r
 order by r.rule;
comment on view architect.gate_rules is 'The rules of the safety gate; docs/gate-rules.md has a section for each.';
comment on column architect.gate_rules.rule is 'Name of the rule, as in the reasons of a verdict.';
comment on column architect.gate_rules.title is 'What is wrong, in one line.';
comment on column architect.gate_rules.level is 'The strictest that it may say: note, needs_approval or refuse.';
comment on column architect.gate_rules.reads is 'What it looks at.';
comment on column architect.gate_rules.remedy is 'What a person can do.';
comment on column architect.gate_rules.decides is 'How it decides.';
comment on column architect.gate_rules.peers is 'Rules of other tools that ask the same, as "tool: id".';
