create table architect.snapshot (
  snapshot_id bigint generated always as identity primary key,
  deployment_id uuid not null references architect.deployment,
  taken_at timestamptz not null default clock_timestamp(),
  statistics_reset_at timestamptz,
  statement_count integer not null,
  left_out integer not null default 0,
  left_out_ms double precision not null default 0,
  evicted bigint,
  source text not null,
  analysed_at timestamptz
);
comment on table architect.snapshot is 'A look at the cumulative statistics of the statements of one database.';
comment on column architect.snapshot.snapshot_id is 'Number of the snapshot.';
comment on column architect.snapshot.deployment_id is 'The database that was looked at.';
comment on column architect.snapshot.taken_at is 'When.';
comment on column architect.snapshot.statistics_reset_at is 'Begin of interval zero: when the cumulative statistics were last reset.';
comment on column architect.snapshot.statement_count is 'How many statements it holds.';
comment on column architect.snapshot.left_out is 'Statements of the least total time, beyond the setting max_statements or those that there was no time to look at yet.';
comment on column architect.snapshot.left_out_ms is 'Their total execution time in milliseconds.';
comment on column architect.snapshot.evicted is 'How often pg_stat_statements has thrown out its least executed statements since the reset; above 0 the picture has gaps.';
comment on column architect.snapshot.source is 'The extension that the numbers come from, with its version.';
comment on column architect.snapshot.analysed_at is 'When the rules last looked at it; NULL if it was only taken.';
create index snapshot_latest on architect.snapshot (deployment_id, snapshot_id);

create table architect.statement (
  statement_id bigint generated always as identity primary key,
  deployment_id uuid not null references architect.deployment,
  query_id bigint not null,
  role_oid oid not null,
  role_name name not null,
  fingerprint text,
  kind text not null check (kind in ('select', 'insert', 'update', 'delete', 'merge', 'utility', 'unparsed')),
  text text,
  relation_oids oid[] not null default '{}',
  relation_names text[] not null default '{}',
  written_oid oid,
  plannable boolean,
  unplannable_reason text,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  is_in_history boolean not null default false,
  unique (deployment_id, query_id, role_oid),
  check (text is null or kind not in ('utility', 'unparsed'))
);
comment on table architect.statement is 'The query store: one row per normalised statement and role. A row is visible to members of its role and of pg_read_all_stats.';
comment on column architect.statement.statement_id is 'Number of the statement.';
comment on column architect.statement.deployment_id is 'The database that runs it.';
comment on column architect.statement.query_id is 'pg_stat_statements.queryid.';
comment on column architect.statement.role_oid is 'The role that ran it.';
comment on column architect.statement.role_name is 'That role''s name when it was first seen.';
comment on column architect.statement.fingerprint is 'Fingerprint of the parse tree: equal for texts that differ only in constants; NULL if it was not parsed.';
comment on column architect.statement.kind is 'select, insert, update, delete, merge, utility or unparsed.';
comment on column architect.statement.text is 'Normalised text; NULL for utility and unparsed statements, which may hold secrets.';
comment on column architect.statement.relation_oids is 'The relations that it names, in the order of relation_names.';
comment on column architect.statement.relation_names is 'Their qualified names.';
comment on column architect.statement.written_oid is 'The relation among them that it inserts into, updates or deletes from; NULL if it only reads.';
comment on column architect.statement.plannable is 'Whether planning it is proved to run nobody''s code; NULL if it was not looked at yet.';
comment on column architect.statement.unplannable_reason is 'Why it is not planned; NULL if it is plannable or was not looked at yet.';
comment on column architect.statement.first_seen_at is 'When a snapshot first held it.';
comment on column architect.statement.last_seen_at is 'When a snapshot last held it.';
comment on column architect.statement.is_in_history is 'Whether a proposal or a measurement names it: such a statement is never deleted.';

alter table architect.statement enable row level security;
create policy statement_visible on architect.statement for select
  using (pg_catalog.pg_has_role(role_oid, 'member') or pg_catalog.pg_has_role('pg_read_all_stats', 'member'));

create table architect.statement_statistics (
  snapshot_id bigint not null references architect.snapshot on delete cascade,
  statement_id bigint not null references architect.statement,
  calls bigint not null,
  total_exec_ms double precision not null,
  rows bigint not null,
  shared_blocks_hit bigint not null,
  shared_blocks_read bigint not null,
  temp_blocks bigint not null,
  io_ms double precision not null,
  wal_records bigint not null,
  wal_fpi bigint not null,
  wal_bytes bigint not null,
  stddev_exec_ms double precision not null,
  primary key (snapshot_id, statement_id)
);
-- Each statement that is deleted is looked for here.
create index statement_statistics_statement on architect.statement_statistics (statement_id);
comment on table architect.statement_statistics is 'The cumulative statistics of each statement of a snapshot.';
comment on column architect.statement_statistics.snapshot_id is 'The snapshot.';
comment on column architect.statement_statistics.statement_id is 'The statement.';
comment on column architect.statement_statistics.calls is 'Executions since the reset.';
comment on column architect.statement_statistics.total_exec_ms is 'Their total time in milliseconds.';
comment on column architect.statement_statistics.rows is 'Rows returned or written.';
comment on column architect.statement_statistics.shared_blocks_hit is 'Blocks found in shared buffers.';
comment on column architect.statement_statistics.shared_blocks_read is 'Blocks read from the operating system.';
comment on column architect.statement_statistics.temp_blocks is 'Temporary blocks read and written.';
comment on column architect.statement_statistics.io_ms is 'Time of reading and writing blocks; 0 where track_io_timing is off.';
comment on column architect.statement_statistics.wal_records is 'WAL records written.';
comment on column architect.statement_statistics.wal_fpi is 'Full page images written.';
comment on column architect.statement_statistics.wal_bytes is 'WAL bytes written.';
comment on column architect.statement_statistics.stddev_exec_ms is 'Standard deviation of the execution time in milliseconds.';

select pg_catalog.pg_extension_config_dump('architect.snapshot', '');
select pg_catalog.pg_extension_config_dump('architect.snapshot_snapshot_id_seq', '');
select pg_catalog.pg_extension_config_dump('architect.statement', '');
select pg_catalog.pg_extension_config_dump('architect.statement_statement_id_seq', '');
select pg_catalog.pg_extension_config_dump('architect.statement_statistics', '');
