create table architect.finding (
  finding_id bigint generated always as identity primary key,
  snapshot_id bigint not null references architect.snapshot on delete cascade,
  deployment_id uuid not null references architect.deployment,
  rule text not null,
  key text not null,
  severity text not null check (severity in ('high', 'medium', 'low')),
  title text not null,
  statement_id bigint references architect.statement,
  relation_oid oid,
  share double precision,
  detail text not null,
  evidence jsonb not null default '{}',
  remedy text not null,
  found_at timestamptz not null default clock_timestamp(),
  unique (snapshot_id, rule, key)
);
-- Each statement that is deleted is looked for here.
create index finding_statement on architect.finding (statement_id);
comment on table architect.finding is 'What is wrong, by rule, as of a snapshot.';
comment on column architect.finding.finding_id is 'Number of the finding.';
comment on column architect.finding.snapshot_id is 'The snapshot that shows it.';
comment on column architect.finding.deployment_id is 'The database.';
comment on column architect.finding.rule is 'The rule that found it.';
comment on column architect.finding.key is 'What it is about, stable from snapshot to snapshot.';
comment on column architect.finding.severity is 'high, medium or low.';
comment on column architect.finding.title is 'What is wrong, in one line.';
comment on column architect.finding.statement_id is 'The statement that it is about; NULL if it is about none.';
comment on column architect.finding.relation_oid is 'The relation that it is about; NULL if it is about none.';
comment on column architect.finding.share is 'Share of the database''s statement time, 0 to 1; NULL where the rule knows none.';
comment on column architect.finding.detail is 'The facts in plain words; no statement text.';
comment on column architect.finding.evidence is 'The same facts as numbers.';
comment on column architect.finding.remedy is 'What can be done.';
comment on column architect.finding.found_at is 'When it was found.';

select pg_catalog.pg_extension_config_dump('architect.finding', '');
select pg_catalog.pg_extension_config_dump('architect.finding_finding_id_seq', '');
