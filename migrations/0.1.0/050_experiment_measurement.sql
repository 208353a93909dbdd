create table architect.measurement (
  measurement_id bigint generated always as identity primary key,
  deployment_id uuid not null references architect.deployment,
  proposal_id bigint not null,
  method text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null default clock_timestamp(),
  verdict text not null check (verdict in ('improved', 'equivalent', 'harmful', 'inconclusive')),
  performance_delta double precision,
  interval_low double precision,
  interval_high double precision,
  success_score double precision check (success_score between 0 and 1),
  minimum_detectable_effect double precision,
  explanation text not null,
  parameters jsonb not null,
  check (verdict <> 'improved' or performance_delta is not null)
);
comment on table architect.measurement is 'What a change did, measured: one row per measurement.';
comment on column architect.measurement.measurement_id is 'Number of the measurement.';
comment on column architect.measurement.deployment_id is 'The database that was measured.';
comment on column architect.measurement.proposal_id is 'The proposal whose change was measured.';
comment on column architect.measurement.method is 'How: replay with the A/B switch, write counters, or both.';
comment on column architect.measurement.started_at is 'Begin of the first replay.';
comment on column architect.measurement.ended_at is 'When the verdict was reached.';
comment on column architect.measurement.verdict is 'improved, equivalent, harmful or inconclusive.';
comment on column architect.measurement.performance_delta is 'Reduction of the workload-weighted cost of the touched statements in per cent, positive is better; NULL without a measurement.';
comment on column architect.measurement.interval_low is 'Lower limit of its 95 % interval, in per cent; NULL without a measurement.';
comment on column architect.measurement.interval_high is 'Upper limit of its 95 % interval, in per cent; NULL without a measurement.';
comment on column architect.measurement.success_score is 'Probability, from the bootstrap, that the true effect exceeds the minimum and no guarded statement regressed; NULL without a measurement.';
comment on column architect.measurement.minimum_detectable_effect is 'Reduction in per cent that this measurement would have found with 80 % power at 5 % two-sided; NULL without a measurement.';
comment on column architect.measurement.explanation is 'The verdict in plain words, with what was not measured.';
comment on column architect.measurement.parameters is 'Blocks, resamples, seed, bounds and versions, so that the figures can be computed again.';
create index measurement_proposal on architect.measurement (proposal_id);

create table architect.measurement_statement (
  measurement_id bigint not null references architect.measurement on delete cascade,
  ordinal integer not null,
  statement_id bigint,
  query_id bigint,
  kind text not null check (kind in ('read', 'write')),
  calls bigint not null,
  blocks integer not null,
  plan_changed boolean,
  buffers_before double precision,
  buffers_after double precision,
  cpu_ms_before double precision,
  cpu_ms_after double precision,
  elapsed_ms_before double precision,
  elapsed_ms_after double precision,
  wal_bytes_before double precision,
  wal_bytes_after double precision,
  wal_records_before double precision,
  wal_records_after double precision,
  ratio double precision,
  ratio_low double precision,
  ratio_high double precision,
  minimum_detectable_ratio double precision,
  p_value double precision,
  live_calls bigint,
  live_buffers double precision,
  worse boolean not null,
  note text,
  not_measured_reason text,
  primary key (measurement_id, ordinal),
  check (num_nonnulls(statement_id, query_id) > 0),
  check ((ratio is null) = (not_measured_reason is not null))
);
comment on table architect.measurement_statement is 'What a change did to one statement; all figures per call, before is without the change.';
comment on column architect.measurement_statement.measurement_id is 'The measurement.';
comment on column architect.measurement_statement.ordinal is 'Order within the measurement: reads by their share of the time, then writes.';
comment on column architect.measurement_statement.statement_id is 'The statement in the query store; NULL for a write that it does not know.';
comment on column architect.measurement_statement.query_id is 'pg_stat_statements.queryid of a write; NULL for a read.';
comment on column architect.measurement_statement.kind is 'read: replayed with and without the change; write: observed before and after.';
comment on column architect.measurement_statement.calls is 'Calls in the statistics (read) or in the observed windows (write).';
comment on column architect.measurement_statement.blocks is 'ABBA blocks (read) or windows before and after (write).';
comment on column architect.measurement_statement.plan_changed is 'Whether the plan changed in at least one parameter set; NULL for writes and what was not replayed.';
comment on column architect.measurement_statement.buffers_before is 'Shared buffers hit or read per call, without the change; NULL if not measured.';
comment on column architect.measurement_statement.buffers_after is 'Shared buffers hit or read per call, with the change; NULL if not measured.';
comment on column architect.measurement_statement.cpu_ms_before is 'CPU milliseconds per call, without the change; NULL for writes and what was not measured.';
comment on column architect.measurement_statement.cpu_ms_after is 'CPU milliseconds per call, with the change; NULL for writes and what was not measured.';
comment on column architect.measurement_statement.elapsed_ms_before is 'Execution time in milliseconds per call, without the change; NULL if not measured.';
comment on column architect.measurement_statement.elapsed_ms_after is 'Execution time in milliseconds per call, with the change; NULL if not measured.';
comment on column architect.measurement_statement.wal_bytes_before is 'WAL bytes per call, without the change; NULL for reads and what was not measured.';
comment on column architect.measurement_statement.wal_bytes_after is 'WAL bytes per call, with the change; NULL for reads and what was not measured.';
comment on column architect.measurement_statement.wal_records_before is 'WAL records per call, without the change; NULL for reads and what was not measured.';
comment on column architect.measurement_statement.wal_records_after is 'WAL records per call, with the change; NULL for reads and what was not measured.';
comment on column architect.measurement_statement.ratio is 'Cost with / without the change: CPU for reads, execution time for writes; NULL if not measured.';
comment on column architect.measurement_statement.ratio_low is 'Lower limit of its 95 % interval; NULL if not measured.';
comment on column architect.measurement_statement.ratio_high is 'Upper limit of its 95 % interval; NULL if not measured.';
comment on column architect.measurement_statement.minimum_detectable_ratio is 'The ratio that would have been told from 1 with 80 % power at 5 % two-sided; NULL if not measured.';
comment on column architect.measurement_statement.p_value is 'Two-sided p of a ratio of 1; NULL if not measured.';
comment on column architect.measurement_statement.live_calls is 'Calls by the application during the measurement, when the index was there; NULL for writes and where none were seen.';
comment on column architect.measurement_statement.live_buffers is 'Shared buffers hit or read per such call.';
comment on column architect.measurement_statement.worse is 'Whether it is significantly worse than the equivalence bound allows (reads: after Holm).';
comment on column architect.measurement_statement.note is 'What limits the figures: few parameter sets, parallel workers, a write that the change does not touch; NULL if nothing does.';
comment on column architect.measurement_statement.not_measured_reason is 'Why there are no figures; NULL if there are.';

create table architect.measurement_sample (
  measurement_id bigint not null,
  ordinal integer not null,
  block integer not null,
  arm text not null check (arm in ('without', 'with')),
  run integer not null,
  buffers bigint not null,
  cpu_ms double precision not null,
  elapsed_ms double precision not null,
  primary key (measurement_id, ordinal, block, arm, run),
  foreign key (measurement_id, ordinal) references architect.measurement_statement on delete cascade
);
comment on table architect.measurement_sample is 'Every run of every replay. Parameter values are never stored.';
comment on column architect.measurement_sample.measurement_id is 'The measurement.';
comment on column architect.measurement_sample.ordinal is 'The statement within the measurement.';
comment on column architect.measurement_sample.block is 'ABBA block, which is also the parameter set where there are enough.';
comment on column architect.measurement_sample.arm is 'without or with the change.';
comment on column architect.measurement_sample.run is 'Position in the block, 0 to 3.';
comment on column architect.measurement_sample.buffers is 'Shared buffers hit or read, all processes.';
comment on column architect.measurement_sample.cpu_ms is 'CPU milliseconds of the backend, or execution minus I/O time where parallel workers ran.';
comment on column architect.measurement_sample.elapsed_ms is 'Execution time in milliseconds.';

-- Gone after a crash, as the replay is; then it is noted anew.
create unlogged table architect.replay_statement (
  proposal_id bigint,
  statement_id bigint,
  text text not null,
  parameter_types text[] not null,
  parameter_sets jsonb not null,
  role_oid oid not null,
  relation_oids oid[] not null,
  primary key (proposal_id, statement_id)
);
comment on table architect.replay_statement is 'What a measurement replays: proved to be harmless when it began.';
comment on column architect.replay_statement.proposal_id is 'Whose index is measured.';
comment on column architect.replay_statement.statement_id is 'The captured statement.';
comment on column architect.replay_statement.text is 'Its text with qualified names, as it was proved.';
comment on column architect.replay_statement.parameter_types is 'The types of its parameters.';
comment on column architect.replay_statement.parameter_sets is 'The values that it is replayed with: an array of arrays of text.';
comment on column architect.replay_statement.role_oid is 'The role that ran it, whose rights are lent.';
comment on column architect.replay_statement.relation_oids is 'The relations that it was proved to read.';

-- One row for each replay that goes on, for whoever watches it. Gone after a crash, as the replay is.
create unlogged table architect.replay (
  proposal_id bigint primary key,
  executor_pid integer not null,
  executor_started_at timestamptz not null,
  watcher_pid integer,
  watcher_started_at timestamptz,
  ends_at timestamptz not null,
  watched_at timestamptz,
  statement_id bigint,
  interrupted_at timestamptz,
  interruption text,
  canceled_run timestamptz,
  cancels integer not null default 0,
  terminated_statements bigint[] not null default '{}'
);
comment on table architect.replay is 'Replays that go on now: a run that takes too long, or that others wait for, is canceled by a watching session.';
comment on column architect.replay.proposal_id is 'Whose index is measured.';
comment on column architect.replay.executor_pid is 'The session that runs it.';
comment on column architect.replay.executor_started_at is 'When that session began; a process number alone is used again.';
comment on column architect.replay.watcher_pid is 'The session that watches it; NULL where any session of the executor may.';
comment on column architect.replay.watcher_started_at is 'When the watching session began; NULL where any session of the executor may.';
comment on column architect.replay.ends_at is 'When its time is over.';
comment on column architect.replay.watched_at is 'When a watching session last looked; NULL before the first time.';
comment on column architect.replay.statement_id is 'Whose runs go on; NULL before the first.';
comment on column architect.replay.interrupted_at is 'When a run was ordered to end; NULL while none is.';
comment on column architect.replay.interruption is 'Why, in plain words.';
comment on column architect.replay.canceled_run is 'When the run began that was last ordered to end; NULL before the first order.';
comment on column architect.replay.cancels is 'How often that run was.';
comment on column architect.replay.terminated_statements is 'Statements whose runs went on, so that their session had to be ended: they are not replayed again.';

select pg_catalog.pg_extension_config_dump('architect.measurement', '');
select pg_catalog.pg_extension_config_dump('architect.measurement_measurement_id_seq', '');
select pg_catalog.pg_extension_config_dump('architect.measurement_statement', '');
select pg_catalog.pg_extension_config_dump('architect.measurement_sample', '');
