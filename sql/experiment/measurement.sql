create or replace function architect._write_counters(query_ids bigint[])
returns table (
  query_id bigint,
  calls bigint,
  exec_ms double precision,
  buffers bigint,
  wal_records bigint,
  wal_fpi bigint,
  wal_bytes double precision
)
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "experiment.writes", "counters", query_ids)
$$;
comment on function architect._write_counters(bigint[]) is 'Cumulative counters of pg_stat_statements for the given statements of this database, all roles together.';

create or replace function architect._live_counters(statement_ids bigint[])
returns table (
  statement_id bigint,
  calls bigint,
  buffers bigint
)
language plpython3u volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "experiment.live", "counters", statement_ids)
$$;
comment on function architect._live_counters(bigint[]) is 'Cumulative counters of pg_stat_statements for captured statements, as the application calls them.';

create or replace function architect._record_measurement(proposal_id bigint, result jsonb) returns bigint
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  id bigint;
begin
  insert into architect.measurement (deployment_id, proposal_id, method, started_at, verdict, performance_delta,
                                     interval_low, interval_high, success_score, minimum_detectable_effect,
                                     explanation, parameters)
  select architect._this_deployment(), $1, m.method, m.started_at, m.verdict, m.performance_delta,
         m.interval_low, m.interval_high, m.success_score, m.minimum_detectable_effect, m.explanation, m.parameters
    from jsonb_populate_record(null::architect.measurement, $2) as m
  returning measurement_id into id;
  insert into architect.measurement_statement
  select (jsonb_populate_record(s, jsonb_build_object(
            'measurement_id', id,
            'statement_id', coalesce(s.statement_id,
                                     (select min(k.statement_id) from architect.statement as k
                                       where k.query_id = s.query_id
                                         and k.deployment_id = architect._this_deployment()))))).*
    from jsonb_populate_recordset(null::architect.measurement_statement, $2 -> 'statements') as s;
  update architect.statement as k set is_in_history = true
    from architect.measurement_statement as s
   where s.measurement_id = id and k.statement_id = s.statement_id;
  insert into architect.measurement_sample
  select (jsonb_populate_record(s, jsonb_build_object('measurement_id', id))).*
    from jsonb_populate_recordset(null::architect.measurement_sample, $2 -> 'samples') as s;
  return id;
end
$$;
comment on function architect._record_measurement(bigint, jsonb) is 'Stores a measurement with its statements and samples; returns its number.';

create or replace view architect.measurements with (security_invoker = true) as
select m.measurement_id,
       m.proposal_id,
       m.verdict,
       m.performance_delta,
       m.interval_low,
       m.interval_high,
       m.success_score,
       m.minimum_detectable_effect,
       m.explanation,
       m.method,
       m.started_at,
       m.ended_at,
       m.parameters
  from architect.measurement as m;
comment on view architect.measurements is 'Measured effect of each change on this database, with its interval and verdict.';

create or replace view architect.measurement_statements with (security_invoker = true) as
select m.measurement_id,
       m.proposal_id,
       s.ordinal,
       s.kind,
       s.statement_id,
       s.query_id,
       s.calls,
       s.blocks,
       s.plan_changed,
       s.buffers_before,
       s.buffers_after,
       s.cpu_ms_before,
       s.cpu_ms_after,
       s.elapsed_ms_before,
       s.elapsed_ms_after,
       s.wal_bytes_before,
       s.wal_bytes_after,
       s.wal_records_before,
       s.wal_records_after,
       s.ratio,
       s.ratio_low,
       s.ratio_high,
       s.minimum_detectable_ratio,
       s.p_value,
       s.live_calls,
       s.live_buffers,
       s.worse,
       s.note,
       s.not_measured_reason
  from architect.measurement as m
  join architect.measurement_statement as s using (measurement_id);
comment on view architect.measurement_statements is 'Measured before and after of every statement that a change touched.';
comment on column architect.measurement_statements.measurement_id is 'The measurement.';
