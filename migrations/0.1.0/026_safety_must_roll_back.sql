-- Rights are lent and indexes are hidden by changes of the catalogue that must never last. Each use inserts a row here,
-- which queues a deferred trigger that raises: no COMMIT (and no PREPARE TRANSACTION) can make such a change permanent.
create table architect.must_roll_back (
  what text not null
);
comment on table architect.must_roll_back is 'Always empty: a row exists only inside a transaction that lends rights or hides an index, and makes its commit fail.';
comment on column architect.must_roll_back.what is 'What must not last.';

create function architect._refuse_commit() returns trigger
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '% must be rolled back', new.what using errcode = '2D000',
    hint = 'End the transaction with ROLLBACK; nothing in it may be kept.';
end
$$;
comment on function architect._refuse_commit() is 'Deferred trigger that makes the commit of what must not last impossible.';
create constraint trigger refuse_commit after insert on architect.must_roll_back
  deferrable initially deferred for each row execute function architect._refuse_commit();
-- also under session_replication_role = replica
alter table architect.must_roll_back enable always trigger refuse_commit;
