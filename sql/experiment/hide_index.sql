-- Stays with the installing superuser: nobody else may write pg_index.
create or replace function architect._hide_index(index_oid oid) returns void
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- current_user is the owner here: who asks is session_user, in a pg_cron worker too.
  if session_user <> 'architect_executor'
     and not exists (select from pg_roles where rolname = session_user and rolsuper) then
    raise exception 'only architect_executor may hide an index' using errcode = '42501',
      hint = 'Measurements run in sessions of architect_executor.';
  end if;
  if not architect._created_by_us(index_oid) then
    raise exception 'index % was not created by pg_architect', index_oid using errcode = '42501',
      hint = 'Only an index that a proposal created can be measured.';
  end if;
  insert into architect.must_roll_back (what) values ('the A/B switch');  -- its trigger makes COMMIT fail
  -- The table first, as everybody's DDL does: with the row first, somebody who drops the index would deadlock with us.
  execute format('lock table %s in access share mode',
                 (select i.indrelid::regclass from pg_index as i where i.indexrelid = $1));
  update pg_index set indisvalid = false where indexrelid = $1;
end
$$;
comment on function architect._hide_index(oid) is 'Hides an index of ours from the planner of this transaction, which must be rolled back: its commit fails.';
