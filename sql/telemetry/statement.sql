create or replace function architect.take_snapshot() returns bigint
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "telemetry.statements", "take_snapshot")
$$;
comment on function architect.take_snapshot() is 'Store the cumulative statistics of the statements of this database; returns the snapshot''s number.';

create or replace view architect.top_queries with (security_invoker = true) as
with latest as (
  select max(snapshot_id) as snapshot_id from architect.snapshot
   where deployment_id = (select d.deployment_id from architect.deployment as d
                           where d.database_name = current_database()
                             and d.system_identifier = (select system_identifier from pg_catalog.pg_control_system()))
)
select s.statement_id,
       s.text,
       s.role_name,
       s.kind,
       n.calls,
       n.total_exec_ms as total_ms,
       n.total_exec_ms / greatest(n.calls, 1) as mean_ms,
       n.rows / greatest(n.calls, 1)::double precision as rows_per_call,
       (n.shared_blocks_hit + n.shared_blocks_read) / greatest(n.calls, 1)::double precision as blocks_per_call,
       -- of all statements, also those that the reader may not see
       n.total_exec_ms / nullif(a.total_ms, 0) as share_of_database_time,
       s.relation_names as relations,
       s.plannable as is_plannable,
       s.unplannable_reason,
       n.snapshot_id
  from latest
  join architect.statement_statistics as n using (snapshot_id)
  join architect.statement as s using (statement_id)
 cross join lateral (select sum(t.total_exec_ms) as total_ms
                       from architect.statement_statistics as t where t.snapshot_id = latest.snapshot_id) as a
 order by n.total_exec_ms desc;
comment on view architect.top_queries is 'The statements of the latest snapshot by total time; a statement is visible to its role and to pg_read_all_stats.';
comment on column architect.top_queries.statement_id is 'Number of the statement.';
comment on column architect.top_queries.total_ms is 'Total execution time since the reset, in milliseconds.';
comment on column architect.top_queries.mean_ms is 'Execution time per call, in milliseconds.';
comment on column architect.top_queries.rows_per_call is 'Rows returned or written per call.';
comment on column architect.top_queries.blocks_per_call is 'Shared buffers hit or read per call.';
comment on column architect.top_queries.share_of_database_time is 'Share of the time of all statements of the snapshot, 0 to 1; NULL if they took none.';
comment on column architect.top_queries.relations is 'Qualified names of the relations that it names.';
comment on column architect.top_queries.is_plannable is 'Whether planning it is proved to run nobody''s code; NULL if it was not looked at yet. Typical parameters may be missing all the same: architect.findings tells.';
comment on column architect.top_queries.snapshot_id is 'The latest snapshot of this database.';
