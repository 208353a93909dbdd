create or replace function architect._allowed_transitions() returns table (from_state text, to_state text)
language sql immutable parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
  values
    ('proposed', 'awaiting_approval'), ('proposed', 'refused'), ('proposed', 'superseded'),
    ('awaiting_approval', 'approved'), ('awaiting_approval', 'rejected'), ('awaiting_approval', 'superseded'),
    ('awaiting_approval', 'refused'),
    ('approved', 'deploying'), ('approved', 'expired'), ('approved', 'rejected'), ('approved', 'refused'),
    ('approved', 'superseded'),
    ('deploying', 'deployed'), ('deploying', 'retry'), ('deploying', 'failed'), ('deploying', 'refused'),
    ('retry', 'deploying'), ('retry', 'expired'), ('retry', 'rejected'), ('retry', 'refused'), ('retry', 'failed'),
    ('deployed', 'verifying'), ('deployed', 'reverting'), ('deployed', 'failed'),
    ('verifying', 'kept'), ('verifying', 'reverting'), ('verifying', 'deployed'), ('verifying', 'failed'),
    ('kept', 'reverting'),
    ('reverting', 'reverted'), ('reverting', 'revert_failed'),
    ('revert_failed', 'reverting')
$$;
comment on function architect._allowed_transitions() is 'The state machine of a proposal.';

create or replace function architect._transition(proposal_id bigint, to_state text, detail text default null) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  was text;
begin
  select p.state into was from architect.proposal as p where p.proposal_id = _transition.proposal_id for update;
  if not exists (select from architect._allowed_transitions() as t
                  where t.from_state = was and t.to_state = _transition.to_state) then
    raise exception 'proposal % is %, it cannot become %', _transition.proposal_id, coalesce(was, 'unknown'), _transition.to_state
      using errcode = '55000', hint = 'architect.proposals shows the state of each proposal.';
  end if;
  update architect.proposal as p
     set state = _transition.to_state,
         error = case when _transition.to_state in ('retry', 'failed', 'refused', 'revert_failed') then _transition.detail
                      when _transition.to_state in ('deploying', 'reverting') then null
                      else p.error end,
         deployed_at = case when _transition.to_state = 'deployed' then coalesce(p.deployed_at, clock_timestamp())
                            else p.deployed_at end,
         rolled_back_at = case when _transition.to_state = 'reverted' then clock_timestamp() else p.rolled_back_at end,
         completed_at = case when _transition.to_state in
                                  ('refused', 'rejected', 'expired', 'superseded', 'kept', 'reverted', 'failed')
                             then clock_timestamp() else p.completed_at end
   where p.proposal_id = _transition.proposal_id;
  insert into architect.proposal_event (proposal_id, from_state, to_state, detail)
  values (_transition.proposal_id, was, _transition.to_state, _transition.detail);
end
$$;
comment on function architect._transition(bigint, text, text) is 'Move a proposal along the state machine, and note who did and why.';
