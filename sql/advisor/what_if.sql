create or replace function architect._planner_what_if(request jsonb) returns jsonb
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set standard_conforming_strings = on
set datestyle = iso
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "advisor.what_if", "serve", request)
$$;
comment on function architect._planner_what_if(jsonb) is 'Plans of statements that were proved harmless, without and with hypothetical indexes.';
