create or replace function architect._default_settings()
returns table (name text, value text, unit text, minimum numeric, maximum numeric, description text)
language sql immutable parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
  values
    -- what is looked at
    ('max_statements', '5000', 'statements', 10, 100000,
     'statements kept per snapshot, by total time; pg_stat_statements itself keeps 5000 by default'),
    ('max_proved_statements', '1000', 'statements', 10, 100000,
     'new statements parsed and proved per snapshot, about a millisecond each; the rest wait for the next one'),
    ('snapshot_retention', '35', 'days', 7, 3650,
     'older snapshots are deleted when one is taken: five weeks show a monthly job, and a deployment looks back one week'),
    ('max_analysed_statements', '20', 'statements', 1, 1000,
     'statements planned per run, so that the first call answers within 10 s'),
    ('min_share', '0.01', 'of database time', 0, 1,
     'smaller statements are not worth a change: 1 % is within the noise of most servers'),
    ('parameter_sets', '3', 'sets', 1, 50,
     'typical parameter sets that a statement is planned with; each costs one plan per candidate'),
    -- what is proposed
    ('min_reduction', '0.10', 'of cost', 0, 1,
     'a smaller predicted saving is within the planner''s own error'),
    ('rare_value_fraction', '0.05', 'of rows', 0, 0.5,
     'a value rarer than this gets a partial index: the planner prefers an index scan below about this fraction'),
    ('build_rows_per_second', '2000000', 'rows/s', 1000, 1e9,
     'assumed speed of sorting and writing a B-tree of integers with one worker; shown as an assumption'),
    ('retry_after', '30', 'days', 0, 3650,
     'what was rejected, reverted or failed is not proposed again before: a month changes most workloads'),
    -- what the gate lets through
    ('max_blocked_seconds', '1', 's', 0, 3600,
     'a change that blocks readers or writers for longer is refused where a safer path exists: users notice a second'),
    ('max_build_seconds', '300', 's', 1, 604800,
     'a build that blocks nobody but takes longer than this still needs a person: it holds back vacuum meanwhile'),
    ('scan_mb_per_second', '200', 'MB/s', 1, 100000,
     'assumed speed of reading a table from disk, below what common cloud disks reach; shown as an assumption'),
    ('rewrite_mb_per_second', '50', 'MB/s', 1, 100000,
     'assumed speed of writing a table anew with its WAL; shown as an assumption'),
    -- how it is applied
    ('approval_expiry', '7', 'days', 0.00001, 365,
     'how long an approval is good: a week of workload usually looks like the week before'),
    ('build_timeout', '3600', 's', 1, 604800,
     'a concurrent build is given up after this; an hour indexes a few hundred GB on common disks'),
    ('build_lock_timeout', '60', 's', 1, 86400,
     'how long a concurrent build waits for older transactions; short values fail at any reporting query'),
    -- how it is measured
    ('replay_time_limit', '60', 's', 1, 3600,
     'all replays of one measurement together'),
    ('replay_blocks', '10', 'blocks', 10, 100,
     'blocks without-with-with-without per statement; 10 reach p = 0.002 in a randomization test'),
    ('bootstrap_resamples', '2000', 'resamples', 2000, 100000,
     'the Monte Carlo error of a 95 % limit''s coverage is 0.5 % at 2000'),
    ('equivalence_bound', '0.05', 'of cost', 0.001, 0.5,
     'effects within this are called equivalent; smaller ones drown in the noise of shared machines'),
    ('guard_share', '0.01', 'of touched time', 0, 1,
     'statements with at least this part of the touched time must not get slower'),
    ('measurement_windows', '6', 'windows', 6, 100,
     'windows of write statistics before and after; six each give a smallest two-sided permutation p of 2/924'),
    ('measurement_window_seconds', '1', 's', 0.1, 3600,
     'length of such a window: tens of calls on a busy table')
$$;
comment on function architect._default_settings() is 'Every setting with its default, unit, limits, and where the number comes from.';

create or replace view architect.settings with (security_invoker = true) as
select d.name,
       coalesce(s.value, d.value) as value,
       d.unit,
       d.value as default_value,
       d.minimum,
       d.maximum,
       d.description,
       s.changed_by,
       s.changed_at
  from architect._default_settings() as d
  left join architect.setting as s using (name);
comment on view architect.settings is 'Settings in force; change one with architect.set_setting(name, value).';
comment on column architect.settings.name is 'Name, as architect.set_setting takes it.';
comment on column architect.settings.value is 'The value in force, as text.';
comment on column architect.settings.unit is 'Unit of the value and of its limits.';
comment on column architect.settings.default_value is 'The value that architect.reset_setting puts back.';
comment on column architect.settings.minimum is 'The least value that can be set.';
comment on column architect.settings.maximum is 'The greatest value that can be set.';
comment on column architect.settings.description is 'What it is for, and where the default comes from.';
comment on column architect.settings.changed_by is 'Session user who set it; NULL for the default.';
comment on column architect.settings.changed_at is 'When it was set; NULL for the default.';

create or replace function architect.set_setting(name text, value text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  known record;
  number numeric;
begin
  select * into known from architect._default_settings() as d where d.name = set_setting.name;
  if not found then
    raise exception 'there is no setting "%"', left(set_setting.name, 63) using errcode = '42704',
      hint = 'Their names are in architect.settings.';
  end if;
  begin
    number := set_setting.value::numeric;
  exception when invalid_text_representation or numeric_value_out_of_range then
    number := null;
  end;
  -- not (between): also true for NaN and NULL; a value is stored as it was written
  if number is null or number = 'NaN' or number not between known.minimum and known.maximum
     or length(set_setting.value) > 40 then
    raise exception 'setting "%" cannot be %', set_setting.name, coalesce(quote_literal(left(set_setting.value, 40)), 'null')
      using errcode = '22023',
            hint = format('Give a number from %s to %s %s.', known.minimum, known.maximum, known.unit);
  end if;
  if known.unit in ('statements', 'sets', 'blocks', 'resamples', 'windows') and number <> trunc(number) then
    raise exception 'setting "%" is a count, it cannot be %', set_setting.name, number
      using errcode = '22023', hint = 'Give a whole number.';
  end if;
  insert into architect.setting (name, value) values (set_setting.name, set_setting.value)
  on conflict (name) do update set value = excluded.value, changed_by = session_user, changed_at = now();
end
$$;
comment on function architect.set_setting(text, text) is 'Change a setting (admin).';

create or replace function architect.reset_setting(name text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from architect._default_settings() as d where d.name = reset_setting.name) then
    raise exception 'there is no setting "%"', left(reset_setting.name, 63) using errcode = '42704',
      hint = 'Their names are in architect.settings.';
  end if;
  delete from architect.setting as s where s.name = reset_setting.name;
end
$$;
comment on function architect.reset_setting(text) is 'Put a setting back to its default (admin).';
