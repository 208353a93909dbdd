-- Roles are global to the cluster: the same ones serve every database that has the extension, and they outlive it.
do $roles$
declare
  wanted record;
  existing record;
  stranger text;
begin
  for wanted in
    select * from (values
      -- name, may log in, what it is for, what it is a member of
      ('architect_owner',    false, 'owns the objects of pg_architect', '{pg_read_all_stats,pg_read_all_settings}'),
      ('architect_planner',  false, 'plans and replays what was proved harmless, with rights that are lent to it', '{}'),
      ('architect_reader',   false, 'reads planner statistics of every table; runs nothing', '{pg_read_all_data}'),
      ('architect_executor', true,  'carries out approved changes; logs in over the local socket or as a pg_cron worker', '{}'),
      ('architect_viewer',   false, 'reads the views of pg_architect', '{}'),
      ('architect_operator', false, 'runs the improvement cycle and deploys what was approved', '{architect_viewer}'),
      ('architect_approver', false, 'approves or rejects proposals', '{architect_viewer}'),
      ('architect_admin',    false, 'changes settings and policies', '{architect_viewer}')
    ) as role (name, may_log_in, purpose, member_of)
  loop
    select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as is_powerful, rolcanlogin into existing
      from pg_catalog.pg_roles where rolname = wanted.name;
    if not found then
      execute format('create role %I %s nosuperuser nocreatedb nocreaterole noreplication nobypassrls',
                     wanted.name, case when wanted.may_log_in then 'login' else 'nologin' end);
      execute format('comment on role %I is %L', wanted.name, 'pg_architect: ' || wanted.purpose);
      continue;
    end if;
    if existing.is_powerful or existing.rolcanlogin is distinct from wanted.may_log_in then
      raise exception 'role "%" exists with attributes that pg_architect does not give it', wanted.name
        using errcode = '42501',
              hint = format('Rename that role, or run: alter role %I %s nosuperuser nobypassrls nocreaterole nocreatedb noreplication;',
                            wanted.name, case when wanted.may_log_in then 'login' else 'nologin' end);
    end if;
    -- What it is a member of is handed to everybody who is granted it. Owners are granted to the executor by architect.enroll,
    -- which looks at each.
    select quote_ident(r.rolname) into stranger
      from pg_catalog.pg_auth_members as m
      join pg_catalog.pg_roles as r on r.oid = m.roleid
     where m.member = wanted.name::regrole and wanted.name <> 'architect_executor'
       and r.rolname <> all (wanted.member_of::name[])
     limit 1;
    if found then
      raise exception 'role "%" is a member of %, which pg_architect does not grant it', wanted.name, stranger
        using errcode = '42501', hint = format('Run: revoke %s from %I;', stranger, wanted.name);
    end if;
    -- Whoever is a member of these could act as pg_architect itself.
    if wanted.name in ('architect_owner', 'architect_planner', 'architect_reader', 'architect_executor') then
      select quote_ident(r.rolname) into stranger
        from pg_catalog.pg_auth_members as m
        join pg_catalog.pg_roles as r on r.oid = m.member
       where m.roleid = wanted.name::regrole and not r.rolsuper
       limit 1;
      if found then
        raise exception 'role % is a member of "%"', stranger, wanted.name
          using errcode = '42501', hint = format('Run: revoke %I from %s;', wanted.name, stranger);
      end if;
    end if;
  end loop;

  grant pg_read_all_stats, pg_read_all_settings to architect_owner;
  grant pg_read_all_data to architect_reader;
  grant architect_viewer to architect_operator, architect_approver, architect_admin;
end
$roles$;

-- Roles may be there before the first database has the extension, and then anybody may have prepared them. An update
-- looks at none of this: what a DBA has changed since stays.
do $first$
declare
  found_role record;
  setting record;
begin
  if current_setting('pg_architect.existing_objects') <> '' then
    return;
  end if;
  select a.rolname as name into found_role
    from pg_catalog.pg_authid as a
   where a.rolname ~ '^architect_(owner|planner|reader|executor|viewer|operator|approver|admin)$' and a.rolpassword is not null
   limit 1;
  if found then
    raise exception 'role "%" has a password, and pg_architect never uses one', found_role.name using errcode = '42501',
      hint = format('Run: alter role %I password null;', found_role.name);
  end if;

  for found_role in
    select r.rolname as name, r.rolsuper or r.rolname ~ '^(pg|architect)_' as is_refused
      from pg_catalog.pg_auth_members as m
      join pg_catalog.pg_roles as r on r.oid = m.roleid
     where m.member = 'architect_executor'::regrole
     order by 1
  loop
    if found_role.is_refused then
      raise exception 'role "architect_executor" is a member of %, which pg_architect does not grant it', found_role.name
        using errcode = '42501', hint = format('Run: revoke %I from architect_executor;', found_role.name);
    end if;
    raise warning 'role "architect_executor" is already a member of %', found_role.name
      using hint = format('If no other database uses pg_architect for it, run: revoke %I from architect_executor;', found_role.name);
  end loop;

  -- The executor's sessions begin like this however they are started; over the socket architect.settings then decides.
  execute format('alter role architect_executor in database %I reset all', current_database());
  for setting in
    select split_part(item, '=', 1) as name
      from pg_catalog.pg_db_role_setting as s cross join lateral unnest(s.setconfig) as item
     where s.setdatabase = 0 and s.setrole = 'architect_executor'::regrole
       and split_part(item, '=', 1) not in ('search_path', 'client_connection_check_interval', 'lock_timeout',
                                            'deadlock_timeout', 'statement_timeout', 'default_transaction_isolation')
  loop
    execute format('alter role architect_executor reset %I', setting.name);
  end loop;
  for setting in
    select wanted.name, (select string_agg(quote_literal(part), ', ') from string_to_table(wanted.value, ', ') as part) as value
      from (values
        ('search_path', 'pg_catalog, pg_temp'),
        ('client_connection_check_interval', '1s'),
        ('lock_timeout', '60s'),
        -- in a deadlock it is the one that looks first who gives up: never a user
        ('deadlock_timeout', '100ms'),
        ('statement_timeout', '1h'),
        -- each step looks at what others have committed by then
        ('default_transaction_isolation', 'read committed')
      ) as wanted (name, value)
     -- two databases that install it at once would disturb each other
     where not exists (select from pg_catalog.pg_db_role_setting as s
                        where s.setdatabase = 0 and s.setrole = 'architect_executor'::regrole
                          and format('%s=%s', wanted.name, wanted.value) = any (s.setconfig))
  loop
    execute format('alter role architect_executor set %I = %s', setting.name, setting.value);
  end loop;

  -- Where another database uses pg_architect, these are its people. CREATE EXTENSION holds back what is less than a warning.
  for found_role in
    select distinct g.rolname as name, r.rolname as member
      from pg_catalog.pg_auth_members as m
      join pg_catalog.pg_roles as g on g.oid = m.roleid
      join pg_catalog.pg_roles as r on r.oid = m.member
     where g.rolname in ('architect_operator', 'architect_approver', 'architect_admin')
     order by 1, 2
  loop
    raise warning 'role "%" is already a member of %', found_role.member, found_role.name
      using hint = format('If it should not be, run: revoke %I from %I;', found_role.name, found_role.member);
  end loop;
end
$first$;
