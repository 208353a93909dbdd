-- CREATE OR REPLACE VIEW keeps the comments of the columns. An upgrade forgets them, so that those which the views' files
-- no longer state, and those which sql/980_view_comments.sql copied, end as on a fresh installation.
do $comments$
declare
  target record;
begin
  for target in
    select c.relname as view, a.attname as name
      from pg_catalog.pg_class as c
      join pg_catalog.pg_attribute as a on a.attrelid = c.oid
     where c.relnamespace = 'architect'::regnamespace and c.relkind = 'v'
       and pg_catalog.col_description(a.attrelid, a.attnum) is not null
  loop
    execute format('comment on column architect.%I.%I is null', target.view, target.name);
  end loop;
end
$comments$;
