create or replace function architect._default_policies()
returns table (change_type text, autonomy_level text, allow_self_approval boolean, max_changes_per_day integer, description text)
language sql immutable parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
  values ('create_index', 'supervised', false, 5,
          'create index concurrently on ordinary columns; undone by drop index concurrently')
$$;
comment on function architect._default_policies() is 'The kinds of change that exist, with the default policy of each.';

create or replace view architect.policies with (security_invoker = true) as
select d.change_type,
       coalesce(p.autonomy_level, d.autonomy_level) as autonomy_level,
       coalesce(p.allow_self_approval, d.allow_self_approval) as allow_self_approval,
       coalesce(p.max_changes_per_day, d.max_changes_per_day) as max_changes_per_day,
       d.description,
       p.changed_by,
       p.changed_at
  from architect._default_policies() as d
  left join architect.policy as p using (change_type);
comment on view architect.policies is 'Ceilings per kind of change; arguments of a call can only tighten them.';
comment on column architect.policies.description is 'What such a change is, and how it is undone.';
comment on column architect.policies.changed_by is 'Session user who set it; NULL for the default.';
comment on column architect.policies.changed_at is 'When it was set; NULL for the default.';

create or replace function architect._only_observes(change_type text) returns text
language sql stable strict parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  select format('An admin can change it: select architect.set_policy(%L, autonomy_level => ''supervised'');', p.change_type)
    from architect.policies as p where p.change_type = _only_observes.change_type and p.autonomy_level = 'observe'
$$;
comment on function architect._only_observes(text) is
  'Where the policy for a kind of change only observes: what an admin can do about it; NULL elsewhere.';

create or replace function architect.set_policy(
  change_type text,
  autonomy_level text default null,
  allow_self_approval boolean default null,
  max_changes_per_day integer default null
) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  current_policy record;
begin
  select * into current_policy from architect.policies as p where p.change_type = set_policy.change_type;
  if not found then
    raise exception 'there is no kind of change "%"', left(set_policy.change_type, 63) using errcode = '42704',
      hint = 'The kinds are in architect.policies.';
  end if;
  if set_policy.autonomy_level not in ('observe', 'supervised') then
    raise exception 'autonomy level "%" is not available', left(set_policy.autonomy_level, 63) using errcode = '22023',
      hint = 'Use observe or supervised; higher levels have to be earned by measured error rates.';
  end if;
  if set_policy.max_changes_per_day not between 0 and 1000 then
    raise exception 'max_changes_per_day cannot be %', set_policy.max_changes_per_day using errcode = '22023',
      hint = 'Give a number from 0 to 1000.';
  end if;
  insert into architect.policy (change_type, autonomy_level, allow_self_approval, max_changes_per_day)
  values (set_policy.change_type,
          coalesce(set_policy.autonomy_level, current_policy.autonomy_level),
          coalesce(set_policy.allow_self_approval, current_policy.allow_self_approval),
          coalesce(set_policy.max_changes_per_day, current_policy.max_changes_per_day))
  on conflict (change_type) do update
    set autonomy_level = excluded.autonomy_level,
        allow_self_approval = excluded.allow_self_approval,
        max_changes_per_day = excluded.max_changes_per_day,
        changed_by = session_user,
        changed_at = now();
end
$$;
comment on function architect.set_policy(text, text, boolean, integer) is
  'Change the policy for a kind of change (admin); what is left out stays as it is.';
