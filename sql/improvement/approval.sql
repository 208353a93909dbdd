create or replace function architect._decide(proposal_id bigint, decision text, reason text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  it architect.proposal;
  is_own boolean;
  may_self_approve boolean;
  change_policy text;
begin
  perform architect._check_reason(_decide.reason);
  select * into it from architect.proposal as p where p.proposal_id = _decide.proposal_id for update;
  if not found then
    raise exception 'there is no proposal %', _decide.proposal_id using errcode = 'P0002',
      hint = 'Proposals that wait for a decision are in architect.pending_approvals.';
  end if;
  if it.deployment_id <> architect._this_deployment() then
    raise exception 'proposal % belongs to another database', it.proposal_id using errcode = '55000',
      hint = 'A restored proposal is history; run the cycle here to get proposals for this database.';
  end if;
  change_policy := architect._only_observes(it.change_type);
  if it.state <> 'awaiting_approval' and not (_decide.decision = 'rejected' and it.state in ('approved', 'retry')) then
    raise exception 'proposal % is %, it does not wait for a decision', it.proposal_id, it.state using errcode = '55000',
      hint = case
        when it.state = 'proposed' and change_policy is not null then
          format('The policy for %s is observe: nothing is put before the approvers. %s Then propose it again.',
                 it.change_type, change_policy)
        when it.state = 'proposed' then 'A dry run proposes only; call architect.sp_autonomous_improvement(dry_run => false).'
        else 'Proposals that wait for a decision are in architect.pending_approvals.' end;
  end if;
  is_own := it.requested_by = session_user;
  select p.allow_self_approval into may_self_approve from architect.policies as p where p.change_type = it.change_type;
  if _decide.decision = 'approved' and is_own and not coalesce(may_self_approve, false) then
    raise exception 'proposal % was requested by %, who may not approve it', it.proposal_id, session_user using errcode = '42501',
      hint = format('Another member of architect_approver has to approve it, or an admin allows self-approval: '
                    'select architect.set_policy(%L, allow_self_approval => true);', it.change_type);
  end if;
  insert into architect.approval (proposal_id, decision, digest, gate_objects, gate_version, requested_by, decided_by,
                                  self_approved, reason, expires_at)
  values (it.proposal_id, _decide.decision, it.digest, it.gate_objects, it.gate_version, it.requested_by, session_user,
          is_own, _decide.reason,
          case when _decide.decision = 'approved' then clock_timestamp() + make_interval(secs => 86400 *
            (select s.value::float8 from architect.settings as s where s.name = 'approval_expiry')) end);
  perform architect._transition(it.proposal_id, _decide.decision, _decide.reason);
end
$$;
comment on function architect._decide(bigint, text, text) is 'Record a decision about exactly what the proposal holds now.';

create or replace function architect.approve(proposal_id bigint, reason text default null) returns text
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  deploy constant text := format('call architect.sp_deploy_approved(%s, wait => ''10 minutes'');', approve.proposal_id);
  kind text;
begin
  -- it has a default so that whoever leaves it out hears why
  if coalesce(approve.reason, '') !~ '[^[:space:]]' then
    raise exception 'an approval needs a reason' using errcode = '22023',
      hint = 'The reason is kept with the proposal, for whoever sees it next.';
  end if;
  perform architect._decide(approve.proposal_id, 'approved', approve.reason);
  select p.change_type into kind from architect.proposal as p where p.proposal_id = approve.proposal_id;
  return coalesce(
    format('approved, but the policy for %s is observe: nothing is applied. ', kind)
      || architect._only_observes(kind) || format(' Then deploy with: %s', deploy),
    format('approved; deploy with: %s', deploy));
end
$$;
comment on function architect.approve(bigint, text) is
  'Approve a proposal, with the reason (approver, and not the one who requested it); returns the next step.';

create or replace function architect.reject(proposal_id bigint, reason text) returns text
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(reason, '') !~ '[^[:space:]]' then
    raise exception 'a rejection needs a reason' using errcode = '22023',
      hint = 'The reason is kept with the proposal, for whoever sees it next.';
  end if;
  perform architect._decide(proposal_id, 'rejected', reason);
  return 'rejected';
end
$$;
comment on function architect.reject(bigint, text) is 'Reject a proposal, or take an approval back before it is deployed (approver).';
