-- Approval: by another person, once, about exactly what is there.
begin;
select plan(20);

create role tap_operator login in role architect_operator;
create role tap_approver login in role architect_approver;
create role tap_both login in role architect_operator, architect_approver;
create function pg_temp.make(who text) returns bigint language sql as $$
  insert into architect.proposal (deployment_id, generator, change_type, requested_by, relation_oid, relation_name,
    relation_owner, index_name, title, hypothesis, why, apply_sql, revert_sql, definition, risk_level, impact, prediction,
    gate_verdict, gate_reasons, gate_version, gate_objects, digest, state)
  values (architect._this_deployment(), 'rules', 'create_index', who, 0, 'app.thing', 'app', 'i', 't', 'h', 'w',
    'create index concurrently i on app.thing (a)', 'drop index concurrently app.i', who, 'low', 'unknown', '{}',
    'needs_approval', '[]', '1', '{}', 'x', 'awaiting_approval')
  returning proposal_id
$$;
create temp table made as select pg_temp.make('tap_operator') as theirs, pg_temp.make('tap_both') as own;
grant select on made to public;

select is((select count(*) from architect.pending_approvals), 2::bigint, 'two proposals wait');

set local session authorization tap_operator;
select throws_ok($$select architect.approve((select theirs from made), 'x')$$, '42501');
set local session authorization tap_both;
select results_eq('select approve_with is null from architect.pending_approvals order by proposal_id', array[false, true],
                  'nobody is told to approve what they requested');
select throws_like($$select architect.approve((select own from made), 'x')$$, '%was requested by tap_both, who may not approve it');
set local role architect_approver;
select throws_like($$select architect.approve((select own from made), 'x')$$, '%was requested by tap_both, who may not approve it',
                   'SET ROLE does not change who asks');
reset role;

set local session authorization tap_approver;
select throws_ok($$select architect.approve(-1, 'x')$$, 'P0002', 'there is no proposal -1');
select throws_ok($$select architect.approve((select theirs from made), ' ')$$, '22023', 'an approval needs a reason');
select throws_ok($$select architect.approve((select theirs from made))$$, '22023', 'an approval needs a reason');
select throws_ok($$select architect.reject((select theirs from made), ' ')$$, '22023', 'a rejection needs a reason');
select alike(architect.approve((select theirs from made), 'good'), 'approved; deploy with: call architect.sp_deploy_approved(%',
             'approving says what comes next');
select throws_like($$select architect.approve((select theirs from made), 'x')$$, '%is approved, it does not wait for a decision');
select is(architect.reject((select theirs from made), 'no longer'), 'rejected', 'an approval can be taken back');
select throws_like($$select architect.approve((select theirs from made), 'x')$$, '%is rejected, it does not wait for a decision');
select is((select count(*) from architect.pending_approvals), 1::bigint, 'the other one still waits');

reset session authorization;
select results_eq($$select decision, requested_by::text collate "default", decided_by::text collate "default", self_approved, expires_at is not null
                      from architect.approval order by approval_id$$,
                  $$values ('approved', 'tap_operator', 'tap_approver', false, true),
                           ('rejected', 'tap_operator', 'tap_approver', false, false)$$, 'both decisions are kept');
select throws_ok('delete from architect.approval', '55000', 'rows of architect.approval are never changed');

select architect.set_policy('create_index', allow_self_approval => true);
set local session authorization tap_both;
select isnt(approve_with, null, 'where the policy allows it, one is told how') from architect.pending_approvals;
select lives_ok($$select architect.approve((select own from made), 'alone here')$$, 'where the policy allows it, one may approve alone');
reset session authorization;
select is((select self_approved from architect.approval order by approval_id desc limit 1), true, 'and the row says so');

create temp table digests as
  select architect._digest('a', 'b', '{}', '1') as one, architect._digest('ab', '', '{}', '1') as other;
select isnt(one, other, 'the digest keeps the two statements apart') from digests;

select * from finish();
rollback;
