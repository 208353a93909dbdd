create table architect.loan (
  role_oid oid not null
);
comment on table architect.loan is 'Always empty: a row exists only inside a transaction that lends rights, and makes its commit fail.';
comment on column architect.loan.role_oid is 'Whose rights are lent.';

create function architect._refuse_loan() returns trigger
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'lent rights must be rolled back' using errcode = '2D000',
    hint = 'Roll back the transaction; nothing in it may be kept.';
end
$$;
comment on function architect._refuse_loan() is 'Trigger: makes the commit of a transaction that lends rights fail.';
create constraint trigger refuse_loan after insert on architect.loan
  deferrable initially deferred
  for each row execute function architect._refuse_loan();
alter table architect.loan enable always trigger refuse_loan;
