create table architect.run (
  run_id bigint generated always as identity primary key,
  deployment_id uuid not null references architect.deployment,
  requested_by name not null,
  dry_run boolean not null,
  max_changes_per_run integer not null check (max_changes_per_run between 1 and 100),
  require_human_approval boolean not null,
  target_area text check (target_area in ('performance', 'quality', 'features', 'cost')),
  status text not null default 'running' check (status in ('running', 'completed', 'failed', 'canceled', 'interrupted')),
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  backend_pid integer not null,
  backend_started_at timestamptz not null,
  snapshot_id bigint,
  analysis jsonb,
  versions jsonb not null,
  next_step text,
  error text
);
comment on table architect.run is 'One call of architect.sp_autonomous_improvement.';
comment on column architect.run.run_id is 'Number of the run.';
comment on column architect.run.deployment_id is 'The database that it looked at.';
comment on column architect.run.requested_by is 'Session user who called.';
comment on column architect.run.dry_run is 'Whether it could only propose.';
comment on column architect.run.max_changes_per_run is 'The most proposals that it was allowed to make.';
comment on column architect.run.require_human_approval is 'Whether a person must approve, as asked; the policy may be stricter.';
comment on column architect.run.target_area is 'Asked area; NULL lets expected value decide.';
comment on column architect.run.status is 'running, completed, failed, canceled or interrupted (its session ended without a word).';
comment on column architect.run.started_at is 'Begin.';
comment on column architect.run.ended_at is 'End; NULL while it runs.';
comment on column architect.run.backend_pid is 'Session that runs it; with backend_started_at it tells a live run from an interrupted one.';
comment on column architect.run.backend_started_at is 'Start of that session.';
comment on column architect.run.snapshot_id is 'architect.snapshot that it analysed, which is deleted after snapshot_retention; NULL if it did not get that far.';
comment on column architect.run.analysis is 'What was seen: counts and findings; NULL if it did not get that far.';
comment on column architect.run.versions is 'Versions of all that was used.';
comment on column architect.run.next_step is 'What the caller was told to do next; NULL unless it completed.';
comment on column architect.run.error is 'Why it failed; NULL if it did not.';
-- One run at a time: a lock in a table, since anybody may take an advisory lock and keep it.
create unique index run_one_at_a_time on architect.run (deployment_id) where status = 'running';

create table architect.run_log (
  run_id bigint not null references architect.run,
  entry_id bigint generated always as identity,
  logged_at timestamptz not null default clock_timestamp(),
  phase text not null,
  level text not null check (level in ('debug', 'info', 'warning', 'error')),
  message text not null,
  primary key (run_id, entry_id)
);
comment on table architect.run_log is 'What each phase of a run said.';
comment on column architect.run_log.run_id is 'The run.';
comment on column architect.run_log.entry_id is 'Order of the entries.';
comment on column architect.run_log.logged_at is 'When.';
comment on column architect.run_log.phase is 'analyze, diagnose, generate, gate, record.';
comment on column architect.run_log.level is 'debug, info, warning or error.';
comment on column architect.run_log.message is 'The message, as the caller saw it.';

create table architect.proposal (
  proposal_id bigint generated always as identity primary key,
  deployment_id uuid not null references architect.deployment,
  run_id bigint references architect.run,
  generator text not null,
  change_type text not null,
  requested_by name not null,
  relation_oid oid not null,
  relation_name text not null,
  relation_owner name not null,
  index_name name,
  work_name name,
  created_index_oid oid,
  title text not null,
  hypothesis text not null,
  why text not null,
  apply_sql text not null,
  revert_sql text not null,
  definition text not null,
  target_file text,
  risk_level text not null check (risk_level in ('low', 'medium', 'high')),
  impact text not null check (impact in ('low', 'medium', 'high', 'unknown')),
  prediction jsonb not null,
  gate_verdict text not null check (gate_verdict in ('allow', 'needs_approval', 'refuse')),
  gate_reasons jsonb not null,
  gate_version text not null,
  gate_objects jsonb not null,
  digest text not null,
  state text not null default 'proposed',
  verdict text check (verdict in ('improved', 'equivalent', 'harmful', 'inconclusive')),
  measurement_id bigint references architect.measurement,
  baseline jsonb,
  executor_pid integer,
  executor_started_at timestamptz,
  error text,
  started_at timestamptz not null default clock_timestamp(),
  deployed_at timestamptz,
  completed_at timestamptz,
  rolled_back_at timestamptz,
  constraint proposal_state check (state in (
    'proposed', 'refused', 'awaiting_approval', 'approved', 'rejected', 'expired', 'superseded', 'deferred', 'deploying',
    'deployed', 'verifying', 'kept', 'reverting', 'reverted', 'revert_failed', 'retry', 'failed'))
);
comment on table architect.proposal is 'A change that was proposed, what it predicted, and how far it came.';
comment on column architect.proposal.proposal_id is 'Number of the proposal.';
comment on column architect.proposal.deployment_id is 'The database that it is for.';
comment on column architect.proposal.run_id is 'The run that made it; NULL for a person''s own proposal.';
comment on column architect.proposal.generator is 'Which generator spoke: rules, or person.';
comment on column architect.proposal.change_type is 'Kind of change: create_index.';
comment on column architect.proposal.requested_by is 'Session user who asked for it; may not approve it.';
comment on column architect.proposal.relation_oid is 'The table.';
comment on column architect.proposal.relation_name is 'Its name when the proposal was made.';
comment on column architect.proposal.relation_owner is 'Its owner then; architect.enroll must have been called for this role.';
comment on column architect.proposal.index_name is 'Name of the index that apply_sql creates.';
comment on column architect.proposal.work_name is 'Its name while it is built and while it is dropped, which nobody else gives to anything: what has it is ours.';
comment on column architect.proposal.created_index_oid is 'The index that was built; proof that it is ours to drop.';
comment on column architect.proposal.title is 'The change, in one line.';
comment on column architect.proposal.hypothesis is 'What is expected to become better, so that it can be proved wrong.';
comment on column architect.proposal.why is 'The facts in plain words.';
comment on column architect.proposal.apply_sql is 'The statement that is run, deparsed from the judged tree.';
comment on column architect.proposal.revert_sql is 'The statement that undoes it.';
comment on column architect.proposal.definition is 'What apply_sql makes, without the name of the index: the same change under another name is the same change.';
comment on column architect.proposal.target_file is 'Migration file in git; NULL where none is configured.';
comment on column architect.proposal.risk_level is 'low, medium or high; gate_reasons of architect.proposals has the reasons.';
comment on column architect.proposal.impact is 'Predicted share of database time saved: high from 10 %, medium from 2 %; unknown without a prediction.';
comment on column architect.proposal.prediction is 'Predicted effect with its interval and basis, size, build time, write cost.';
comment on column architect.proposal.gate_verdict is 'What the safety gate said: allow, needs_approval or refuse.';
comment on column architect.proposal.gate_reasons is 'Why it said so.';
comment on column architect.proposal.gate_version is 'Version of the gate.';
comment on column architect.proposal.gate_objects is 'Objects by OID, compared again before the change is made.';
comment on column architect.proposal.digest is 'SHA-256 of both statements, the objects and the gate version; an approval names it.';
comment on column architect.proposal.state is 'Where it stands; see architect.proposal_event for how it got there.';
comment on column architect.proposal.verdict is 'improved, equivalent, harmful or inconclusive, as measured; NULL without a measurement.';
comment on column architect.proposal.measurement_id is 'The measurement; NULL until there is one.';
comment on column architect.proposal.baseline is 'Write counters before the change, by window.';
comment on column architect.proposal.executor_pid is 'Session that works on it.';
comment on column architect.proposal.executor_started_at is 'Start of that session: tells a live one from a dead one.';
comment on column architect.proposal.error is 'The last thing that went wrong; NULL if nothing did.';
comment on column architect.proposal.started_at is 'When it was proposed.';
comment on column architect.proposal.deployed_at is 'When the change was in place; NULL if it never was.';
comment on column architect.proposal.completed_at is 'When it came to an end; NULL while it is under way.';
comment on column architect.proposal.rolled_back_at is 'When it was undone; NULL if it was not.';
create index proposal_open on architect.proposal (state);
-- Two that propose the same at once do not see each other. A text may be too long for an index.
create unique index proposal_same on architect.proposal (deployment_id, md5(definition))
  where state in ('awaiting_approval', 'approved', 'deferred', 'deploying', 'retry');

create table architect.proposal_event (
  proposal_id bigint not null references architect.proposal,
  event_id bigint generated always as identity,
  happened_at timestamptz not null default clock_timestamp(),
  from_state text,
  to_state text not null,
  session_user_name name not null default session_user,
  detail text,
  primary key (proposal_id, event_id)
);
comment on table architect.proposal_event is 'Every change of state of a proposal; rows are never changed.';
comment on column architect.proposal_event.proposal_id is 'The proposal.';
comment on column architect.proposal_event.event_id is 'Order of the events.';
comment on column architect.proposal_event.happened_at is 'When.';
comment on column architect.proposal_event.from_state is 'State before.';
comment on column architect.proposal_event.to_state is 'State after.';
comment on column architect.proposal_event.session_user_name is 'Who caused it.';
comment on column architect.proposal_event.detail is 'Why.';

create table architect.approval (
  approval_id bigint generated always as identity primary key,
  proposal_id bigint not null references architect.proposal,
  decision text not null check (decision in ('approved', 'rejected')),
  digest text not null,
  gate_objects jsonb not null,
  gate_version text not null,
  requested_by name not null,
  decided_by name not null,
  self_approved boolean not null,
  reason text,
  decided_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz
);
comment on table architect.approval is 'Decisions about proposals; rows are never changed.';
comment on column architect.approval.approval_id is 'Number of the decision.';
comment on column architect.approval.proposal_id is 'The proposal.';
comment on column architect.approval.decision is 'approved or rejected.';
comment on column architect.approval.digest is 'What exactly was decided about; anything else needs a new decision.';
comment on column architect.approval.gate_objects is 'Objects by OID at that time.';
comment on column architect.approval.gate_version is 'Version of the gate at that time.';
comment on column architect.approval.requested_by is 'Who asked for the change.';
comment on column architect.approval.decided_by is 'Who decided.';
comment on column architect.approval.self_approved is 'Whether these are the same person, which only a policy can allow.';
comment on column architect.approval.reason is 'Their words.';
comment on column architect.approval.decided_at is 'When.';
comment on column architect.approval.expires_at is 'An approval is good until then.';

create function architect._refuse_change() returns trigger
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'rows of architect.% are never changed', tg_table_name using errcode = '55000',
    hint = 'Add a new row by the functions of pg_architect; history stays as it happened.';
end
$$;
comment on function architect._refuse_change() is 'Trigger: refuses to change history.';
create trigger refuse_change before update or delete or truncate on architect.approval
  for each statement execute function architect._refuse_change();
create trigger refuse_change before update or delete or truncate on architect.proposal_event
  for each statement execute function architect._refuse_change();
-- also for sessions that replicate
alter table architect.approval enable always trigger refuse_change;
alter table architect.proposal_event enable always trigger refuse_change;

create table architect.policy (
  change_type text primary key,
  autonomy_level text not null check (autonomy_level in ('observe', 'supervised')),
  allow_self_approval boolean not null,
  max_changes_per_day integer not null check (max_changes_per_day >= 0),
  changed_by name not null default session_user,
  changed_at timestamptz not null default now()
);
comment on table architect.policy is 'Policies that an admin changed; defaults live in architect._default_policies().';
comment on column architect.policy.change_type is 'Kind of change.';
comment on column architect.policy.autonomy_level is 'observe (never applied) or supervised (applied after approval).';
comment on column architect.policy.allow_self_approval is 'Whether who asked may approve, for where one person runs the database.';
comment on column architect.policy.max_changes_per_day is 'Deployments begun in 24 hours.';
comment on column architect.policy.changed_by is 'Session user who set it.';
comment on column architect.policy.changed_at is 'When it was set.';

create table architect.enrollment (
  role_name name primary key,
  role_oid oid not null,
  enrolled_by name not null default session_user,
  enrolled_at timestamptz not null default now()
);
comment on table architect.enrollment is 'Owners whose rights the executor was given by architect.enroll.';
comment on column architect.enrollment.role_name is 'The owner.';
comment on column architect.enrollment.role_oid is 'Its OID then: a role that was dropped and made again is not enrolled.';
comment on column architect.enrollment.enrolled_by is 'Session user who enrolled it.';
comment on column architect.enrollment.enrolled_at is 'When it was enrolled.';

do $dump$
declare
  object regclass;
begin
  for object in
    select c.oid from pg_catalog.pg_class as c
     where c.relnamespace = 'architect'::regnamespace
       and c.relname ~ '^(run|run_log|proposal|proposal_event|approval|policy|enrollment)(_.*_seq)?$' and c.relkind in ('r', 'S')
  loop
    perform pg_catalog.pg_extension_config_dump(object, '');
  end loop;
end
$dump$;
