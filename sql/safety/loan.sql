-- Stays with the installing superuser, like the A/B switch: only a superuser may grant every role.
create or replace function architect._lend_rights(author oid, relations oid[]) returns void
language plpgsql volatile parallel unsafe strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  lender name;
  lenders name[];
  options constant text := case when current_setting('server_version_num')::int >= 160000
                                then ' with inherit true, set false' else '' end;
begin
  if exists (select from pg_roles as r where r.oid = author and not r.rolsuper and r.rolname !~ '^(pg|architect)_') then
    lenders := array(select r.rolname from pg_roles as r where r.oid = author);
  else
    -- Nobody is lent a superuser's rights. The owners of the tables may do with them what they like anyway; what belongs
    -- to a superuser, in a schema of a superuser, nobody else can have prepared.
    lenders := array(select distinct r.rolname from pg_class as c join pg_roles as r on r.oid = c.relowner
                      where c.oid = any (relations) and not r.rolsuper);
    if cardinality(lenders) = 0 then
      if exists (select from pg_class as c
                   join pg_namespace as n on n.oid = c.relnamespace
                   join pg_roles as s on s.oid = n.nspowner
                   join pg_database as d on d.datname = current_database()
                   join pg_roles as o on o.oid = d.datdba
                  where c.oid = any (relations)
                    and not (s.rolsuper or s.rolname = 'pg_database_owner' and o.rolsuper)) then
        raise exception 'a superuser ran it, on tables that others could replace' using errcode = '42501',
          hint = 'Let an ordinary role own the tables and run the statement.';
      end if;
      lenders := array['pg_read_all_data'];
    elsif exists (select from pg_class as c join pg_roles as r on r.oid = c.relowner
                   where c.oid = any (relations) and r.rolsuper) then
      raise exception 'a superuser ran it, on tables of a superuser and of others' using errcode = '42501',
        hint = 'Let an ordinary role run the statement.';
    end if;
  end if;
  insert into architect.must_roll_back (what) values ('lent rights');  -- its trigger makes COMMIT fail
  foreach lender in array lenders loop
    if not pg_has_role('architect_planner', lender, 'usage') then
      execute format('grant %I to architect_planner%s', lender, options);
    end if;
  end loop;
end
$$;
comment on function architect._lend_rights(oid, oid[]) is
  'Gives architect_planner the rights of a statement''s author in this transaction, which must be rolled back: its commit fails.';
