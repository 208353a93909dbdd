create or replace function architect._digest(apply_sql text, revert_sql text, objects jsonb, gate_version text) returns text
language sql immutable parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- A JSON array keeps the parts apart: no two different quadruples have the same text.
  select encode(sha256(convert_to(jsonb_build_array(apply_sql, revert_sql, objects, gate_version)::text, 'UTF8')), 'hex')
$$;
comment on function architect._digest(text, text, jsonb, text) is 'What an approval is about, as SHA-256.';

create or replace function architect._submit(proposal_id bigint) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  it architect.proposal;
  older bigint;
begin
  select * into it from architect.proposal as p where p.proposal_id = _submit.proposal_id for update;
  if it.requested_by is distinct from session_user then
    raise exception 'proposal % was requested by somebody else', _submit.proposal_id using errcode = '42501',
      hint = 'Run the cycle yourself to get a proposal of your own.';
  end if;
  if architect._only_observes(it.change_type) is not null then
    return;
  end if;
  begin
    perform architect._transition(it.proposal_id, 'awaiting_approval', null);
  exception when unique_violation or lock_not_available then
    raise exception 'somebody else has just proposed the same index' using errcode = '55000',
      hint = 'Look at it: select * from architect.pending_approvals;';
  end;
  for older in
    select p.proposal_id from architect.proposal as p
     where p.deployment_id = it.deployment_id and p.relation_oid = it.relation_oid and p.definition = it.definition
       and p.state = 'proposed' and p.proposal_id <> it.proposal_id
  loop
    perform architect._transition(older, 'superseded', format('proposal %s proposes the same', it.proposal_id));
  end loop;
end
$$;
comment on function architect._submit(bigint) is 'Put a proposal before the approvers, unless the policy only observes.';

create or replace function architect.propose_change(statement text, reason text) returns bigint
language plpython3u volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'
as $$
api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
return api.run(plpy, "improvement.proposals", "propose_change", statement, reason)
$$;
comment on function architect.propose_change(text, text) is
  'Propose your own create index concurrently (operator): approved, measured and reverted like any other.';

create or replace view architect.proposals with (security_invoker = true) as
select p.proposal_id,
       p.state,
       p.title,
       p.why,
       p.hypothesis,
       round((p.prediction ->> 'reduction_percent')::numeric, 1) as predicted_reduction_percent,
       round((p.prediction ->> 'reduction_low')::numeric, 1) as predicted_low,
       round((p.prediction ->> 'reduction_high')::numeric, 1) as predicted_high,
       p.prediction ->> 'basis' as predicted_how,
       p.risk_level,
       p.impact,
       pg_catalog.pg_size_pretty((p.prediction ->> 'size_bytes')::bigint) as estimated_size,
       pg_catalog.make_interval(secs => round((p.prediction ->> 'build_seconds')::numeric, 1)::float8) as estimated_build_time,
       p.prediction ->> 'build_basis' as estimated_how,
       p.prediction ->> 'write_cost' as write_cost,
       p.apply_sql,
       p.revert_sql,
       p.verdict,
       p.error,
       p.gate_verdict,
       p.gate_reasons,
       p.generator,
       p.change_type,
       p.requested_by,
       p.run_id,
       p.measurement_id,
       p.prediction,
       p.started_at,
       p.deployed_at,
       p.completed_at
  from architect.proposal as p
 where p.deployment_id = architect._deployment_id()
 order by p.proposal_id;
comment on view architect.proposals is 'What would be done, why, what is expected of it, and how far it came.';
comment on column architect.proposals.predicted_reduction_percent is 'Predicted reduction of the planner''s cost of the statements on the table, in per cent; NULL without a prediction.';
comment on column architect.proposals.predicted_low is 'The same with the least favourable typical parameters; NULL without a prediction or if all agree.';
comment on column architect.proposals.predicted_high is 'The same with the most favourable typical parameters; NULL without a prediction or if all agree.';
comment on column architect.proposals.predicted_how is 'What the prediction rests on, or why there is none.';
comment on column architect.proposals.estimated_size is 'Estimated size of the index, with its unit; NULL if it was not estimated.';
comment on column architect.proposals.estimated_build_time is 'Estimated time of building the index; NULL if it was not estimated.';
comment on column architect.proposals.estimated_how is 'What the estimated time rests on, or why size and time were not estimated.';
comment on column architect.proposals.write_cost is 'What writes to the table will pay, in plain words, or why it was not estimated.';

create or replace view architect.pending_approvals with (security_invoker = true) as
select p.proposal_id,
       p.title,
       p.why,
       p.hypothesis,
       p.predicted_reduction_percent,
       p.predicted_low,
       p.predicted_high,
       p.risk_level,
       p.estimated_size,
       p.estimated_build_time,
       p.write_cost,
       p.apply_sql,
       p.revert_sql,
       p.requested_by,
       p.started_at as waiting_since,
       case when p.requested_by <> session_user
              or (select y.allow_self_approval from architect.policies as y where y.change_type = p.change_type)
            then format('select architect.approve(%s, ''reason'');', p.proposal_id) end as approve_with,
       p.predicted_how,
       p.estimated_how
  from architect.proposals as p
 where p.state = 'awaiting_approval'
 order by p.proposal_id;
comment on view architect.pending_approvals is 'Proposals that wait for a decision by a member of architect_approver; your own are among them, and another decides about these.';
comment on column architect.pending_approvals.waiting_since is 'When it was proposed.';
comment on column architect.pending_approvals.approve_with is 'The statement that approves it; put your own reason into it. NULL where you requested it, unless the policy allows self-approval.';
