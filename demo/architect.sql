-- What a DBA runs once, as superuser.
create extension pg_stat_statements;
create extension hypopg;
create extension pg_architect cascade;
-- Building an index needs the rights of the table's owner.
select architect.enroll('app_owner');
-- Two people: dana runs the cycle, ines approves.
create role dana login in role architect_operator;
create role ines login in role architect_approver;
-- A DBA sees everybody's statements, and their plans.
grant pg_monitor, pg_read_all_data to dana;
