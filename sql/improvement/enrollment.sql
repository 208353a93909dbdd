create or replace function architect._record_enrollment(role_name name) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  delete from architect.enrollment as e
   where e.role_name = _record_enrollment.role_name
     -- who enrolled it stays while it is that role and granted
     and not exists (select from pg_roles as r join pg_auth_members as m on m.roleid = r.oid
                      where r.rolname = e.role_name and r.oid = e.role_oid and m.member = 'architect_executor'::regrole);
  insert into architect.enrollment (role_name, role_oid)
  select r.rolname, r.oid from pg_roles as r
   where r.rolname = _record_enrollment.role_name
     and exists (select from pg_auth_members as m where m.roleid = r.oid and m.member = 'architect_executor'::regrole)
  on conflict do nothing;
end
$$;
comment on function architect._record_enrollment(name) is 'Note whether the executor was granted a role, as the catalogue says.';

create or replace function architect._unfit_owner(owner_role name) returns text
language sql stable strict parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  -- Membership reaches further than one step: pg_has_role follows all of them.
  select format('%I is%s a superuser, a role with far-reaching attributes, or a role of the system (%I)', owner_role,
                case when r.rolname = owner_role then '' else ' a member of' end, r.rolname)
    from pg_roles as r
   where pg_has_role(owner_role, r.oid, 'member')
     and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication or r.rolname ~ '^(pg|architect)_')
     -- every owner of a database is a member of this one, which holds no right beyond that database
     and r.rolname <> 'pg_database_owner'
     -- a superuser is a member of everything; say that it is one
   order by r.rolname = owner_role desc, r.rolsuper desc
   limit 1
$$;
comment on function architect._unfit_owner(name) is 'Why the executor must not be given the rights of a role; NULL if it may.';

-- SECURITY INVOKER: the caller's own right to grant the role is what counts.
create or replace function architect.enroll(owner_role name) returns text
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_catalog.pg_roles as r where r.rolname = owner_role) then
    raise exception 'role "%" does not exist', owner_role using errcode = '42704',
      hint = 'Name the role that owns the tables; \d shows it.';
  end if;
  if architect._unfit_owner(owner_role) is not null then
    raise exception 'role "%" cannot be enrolled', owner_role using errcode = '42501',
      detail = architect._unfit_owner(owner_role),
      hint = 'The executor would get the rights of a superuser or of the system; let an ordinary role own the tables.';
  end if;
  -- A grant that was taken back elsewhere leaves its row, which names another who enrolled it.
  perform architect._record_enrollment(owner_role);
  begin
    execute format('grant %I to architect_executor', owner_role);
  exception when insufficient_privilege then
    raise exception '% may not grant role "%"', current_user, owner_role using errcode = '42501',
      hint = format('A superuser can run: select architect.enroll(%L); or let you do it: grant %I to %I with admin option;',
                    owner_role, owner_role, current_user);
  end;
  perform architect._record_enrollment(owner_role);
  return format('architect_executor now holds the rights of %I, in every database of this server: building and dropping '
                'indexes needs those of the owner', owner_role);
end
$$;
comment on function architect.enroll(name) is
  'Give architect_executor the rights of a table owner, which building an index needs, in every database of this server (whoever may grant that role).';

create or replace function architect.withdraw(owner_role name) returns text
language plpgsql volatile parallel unsafe security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_catalog.pg_roles as r where r.rolname = owner_role) then
    raise exception 'role "%" does not exist', owner_role using errcode = '42704',
      hint = 'Enrolled roles are in architect.enrollments.';
  end if;
  if not exists (select from architect.enrollments as e where e.role_name = owner_role)
     and not pg_catalog.pg_has_role('architect_executor', owner_role, 'member') then
    return format('%I was not enrolled', owner_role);
  end if;
  begin
    execute format('revoke %I from architect_executor', owner_role);
  exception when insufficient_privilege then
    raise exception '% may not revoke role "%"', current_user, owner_role using errcode = '42501',
      hint = format('A superuser can run: select architect.withdraw(%L); or let you do it: grant %I to %I with admin option;',
                    owner_role, owner_role, current_user);
  end;
  perform architect._record_enrollment(owner_role);
  if pg_catalog.pg_has_role('architect_executor', owner_role, 'member') then
    return format('architect_executor still holds the rights of %I, by a grant of somebody else or by way of another role', owner_role);
  end if;
  return format('architect_executor no longer holds the rights of %I, in any database of this server', owner_role);
end
$$;
comment on function architect.withdraw(name) is 'Take back what architect.enroll gave, in every database of this server.';

create or replace view architect.enrollments with (security_invoker = true) as
select e.role_name, e.enrolled_by, e.enrolled_at,
       coalesce(pg_catalog.pg_has_role('architect_executor', r.oid, 'usage'), false) as is_effective
  from architect.enrollment as e
  left join pg_catalog.pg_roles as r on r.rolname = e.role_name and r.oid = e.role_oid;
comment on view architect.enrollments is 'Owners whose tables architect_executor may index.';
comment on column architect.enrollments.is_effective is 'Whether architect_executor holds its rights now; false once the grant was revoked or the role dropped.';
