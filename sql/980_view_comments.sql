-- A view's column without a comment of its own gets that of the column of the same name which the view reads. Where
-- several have that name and their comments differ, it gets none, and a test asks for one beside the view.
do $comments$
declare
  target record;
begin
  loop    -- a view may read a view
    for target in
      select v.relname as view, own.attname as name, min(known.comment) as comment
        from pg_catalog.pg_class as v
        join pg_catalog.pg_rewrite as r on r.ev_class = v.oid
        join pg_catalog.pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        join pg_catalog.pg_class as source on d.refclassid = 'pg_class'::regclass and source.oid = d.refobjid
        join pg_catalog.pg_attribute as a on a.attrelid = source.oid and a.attnum = d.refobjsubid
        join pg_catalog.pg_attribute as own on own.attrelid = v.oid and own.attname = a.attname
       cross join lateral pg_catalog.col_description(a.attrelid, a.attnum) as known (comment)
       where v.relnamespace = 'architect'::regnamespace and v.relkind = 'v' and source.relnamespace = v.relnamespace
         and pg_catalog.col_description(own.attrelid, own.attnum) is null
       group by v.relname, own.attname
      having count(distinct known.comment) = 1 and bool_and(known.comment is not null)
    loop
      execute format('comment on column architect.%I.%I is %L', target.view, target.name, target.comment);
    end loop;
    exit when not found;
  end loop;
end
$comments$;
