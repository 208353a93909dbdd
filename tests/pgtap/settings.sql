-- Settings: defaults in code, overrides in a table, limits, and who may change them.
begin;
select plan(17);

create role tap_admin in role architect_admin;
create role tap_operator in role architect_operator;

select is_empty('select name from architect.settings where value is distinct from default_value',
                'a new installation has the defaults');
select is_empty($$select name from architect.settings where not value::numeric between minimum and maximum$$,
                'every default is within its limits');
select is_empty($$select name from architect.settings where coalesce(btrim(description), '') = '' or unit is null$$,
                'every setting says its unit and where its number comes from');

set local session authorization tap_admin;
select lives_ok($$select architect.set_setting('min_share', '0.05')$$, 'an admin changes a setting');
select results_eq(
  $$select value, default_value, changed_by::text collate "default" from architect.settings where name = 'min_share'$$,
  $$values ('0.05', '0.01', 'tap_admin')$$, 'and the view says who did it');
select lives_ok($$select architect.set_setting('min_share', '0.02')$$, 'a second change replaces the first');
select is((select count(*) from architect.setting), 1::bigint, 'in one row');
select lives_ok($$select architect.reset_setting('min_share')$$, 'a reset');
select is((select value from architect.settings where name = 'min_share'), '0.01', 'brings the default back');
select is((select count(*) from architect.setting), 0::bigint, 'and leaves no row');

select throws_ok($$select architect.set_setting('no such', '1')$$, '42704', 'there is no setting "no such"');
select throws_ok($$select architect.reset_setting('no such')$$, '42704', 'there is no setting "no such"');
select throws_ok($$select architect.set_setting('min_share', '1.5')$$, '22023', $$setting "min_share" cannot be '1.5'$$);
select throws_ok($$select architect.set_setting('min_share', 'much')$$, '22023', $$setting "min_share" cannot be 'much'$$);
select throws_ok($$select architect.set_setting('min_share', null)$$, '22023', 'setting "min_share" cannot be null');
select throws_ok($$insert into architect.setting (name, value) values ('min_share', '9')$$, '42501');

set local session authorization tap_operator;
select throws_ok($$select architect.set_setting('min_share', '0.5')$$, '42501');

select * from finish();
rollback;
