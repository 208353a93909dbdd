select c.relname as "table", a.rolname as owner, to_char(c.reltuples, 'FM999,999,999') as rows,
       pg_size_pretty(pg_table_size(c.oid)) as size, pg_size_pretty(pg_indexes_size(c.oid)) as indexes
  from pg_class as c join pg_roles as a on a.oid = c.relowner
 where c.relkind = 'r' and c.relname like 'pgbench%' order by pg_table_size(c.oid) desc;
