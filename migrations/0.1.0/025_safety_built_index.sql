create table architect.built_index (
  deployment_id uuid not null references architect.deployment,
  index_oid oid not null,
  relation_oid oid not null,
  index_name name not null,
  proposal_id bigint not null,
  built_at timestamptz not null default clock_timestamp(),
  dropped_at timestamptz,
  primary key (deployment_id, index_oid, built_at)
);
comment on table architect.built_index is 'Indexes that pg_architect built: only these may it hide from itself or drop. The cycle writes it.';
comment on column architect.built_index.deployment_id is 'The database.';
comment on column architect.built_index.index_oid is 'The index.';
comment on column architect.built_index.relation_oid is 'Its table.';
comment on column architect.built_index.index_name is 'Its name when it was built.';
comment on column architect.built_index.proposal_id is 'The proposal that it was built for.';
comment on column architect.built_index.built_at is 'When it was in place.';
comment on column architect.built_index.dropped_at is 'When it was dropped again by pg_architect.';
select pg_catalog.pg_extension_config_dump('architect.built_index', '');
