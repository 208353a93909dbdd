-- Policies: the ceilings for each kind of change.
begin;
select plan(12);

create role tap_admin in role architect_admin;
create role tap_approver in role architect_approver;

select results_eq(
  'select change_type, autonomy_level, allow_self_approval, max_changes_per_day from architect.policies',
  $$values ('create_index', 'supervised', false, 5)$$,
  'out of the box: a person approves, and not the one who asked');

set local session authorization tap_admin;
select lives_ok($$select architect.set_policy('create_index', max_changes_per_day => 2)$$, 'a limit is changed');
select lives_ok($$select architect.set_policy('create_index', allow_self_approval => true)$$, 'and self-approval allowed');
select results_eq(
  'select autonomy_level, allow_self_approval, max_changes_per_day, changed_by::text collate "default" from architect.policies',
  $$values ('supervised', true, 2, 'tap_admin')$$, 'what is left out stays as it is');
select lives_ok($$select architect.set_policy('create_index', 'observe')$$, 'nothing is applied while observing');
select is((select autonomy_level from architect.policies), 'observe', 'and the view says so');

select throws_ok($$select architect.set_policy('drop_database', 'observe')$$, '42704',
                 'there is no kind of change "drop_database"');
select throws_ok($$select architect.set_policy('create_index', 'full')$$, '22023', 'autonomy level "full" is not available');
select throws_ok($$select architect.set_policy('create_index', max_changes_per_day => -1)$$, '22023',
                 'max_changes_per_day cannot be -1');
select throws_ok($$select architect.set_policy('create_index', max_changes_per_day => 1001)$$, '22023',
                 'max_changes_per_day cannot be 1001');

set local session authorization tap_approver;
select throws_ok($$select architect.set_policy('create_index', 'supervised')$$, '42501');
select is((select count(*) from architect.policies), 1::bigint, 'but may read them');

select * from finish();
rollback;
