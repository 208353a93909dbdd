create or replace function architect.check_health()
returns table (component text, status text, detail text, remedy text)
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "report.health", "check")
$$;
comment on function architect.check_health() is
  'What is missing or misconfigured (status ok, info, warning, critical), what that means, and the command that mends it.';
