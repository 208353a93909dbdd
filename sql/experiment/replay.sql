create or replace function architect._planner_replay(statement text, parameter_types text[], parameter_values text[])
returns jsonb
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "experiment.run", "run_once", statement, parameter_types, parameter_values)
$$;
comment on function architect._planner_replay(text, text[], text[]) is 'Runs one SELECT that was proved harmless, with the rights of a role that may only read; returns its plan''s shape and what it used.';
