-- What runs with the planner's rights (a role that may read and owns nothing) gets only text that was proved harmless.
-- A locked table is left alone after lock_timeout: looking must not queue up behind a migration. Each refuses to work in a
-- transaction that may write: whoever calls it makes it read-only, see plpython/pg_architect/safety/sandbox.py.

create or replace function architect._planner_parameter_types(statement text) returns text[]
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "telemetry.plans", "serve_parameter_types", statement)
$$;
comment on function architect._planner_parameter_types(text) is 'The types that the server gives to the parameters of a statement that was proved harmless.';

create or replace function architect._planner_explain(request jsonb) returns jsonb
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set standard_conforming_strings = on
set datestyle = iso
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "telemetry.plans", "serve_explain", request)
$$;
comment on function architect._planner_explain(jsonb) is 'Plans of statements that were proved harmless, for given sets of parameters.';

create or replace function architect._reader_column_statistics(relation oid)
returns table (
  column_name name,
  type text,
  null_frac double precision,
  n_distinct double precision,
  correlation double precision,
  avg_width integer,
  most_common_vals text[],
  most_common_freqs double precision[],
  histogram_bounds text[]
)
language sql stable parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
set datestyle = iso
as $$
  select a.attname,
         format_type(a.atttypid, a.atttypmod),
         s.null_frac,
         s.n_distinct,
         s.correlation,
         s.avg_width,
         s.most_common_vals::text::text[],
         s.most_common_freqs::double precision[],
         s.histogram_bounds::text::text[]
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_stats as s
      on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname and not s.inherited
   where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
   order by a.attnum
$$;
comment on function architect._reader_column_statistics(oid) is 'Planner statistics of the columns of a table; values are somebody''s data and stay inside.';
