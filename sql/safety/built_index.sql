create or replace function architect._created_by_us(index_oid oid) returns boolean
language sql stable strict parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
  -- Name and table must still fit: OIDs are used again after they wrap around.
  select exists (
    select from architect.built_index as b
      join pg_catalog.pg_index as i on i.indexrelid = b.index_oid and i.indrelid = b.relation_oid
      join pg_catalog.pg_class as c on c.oid = b.index_oid and c.relname = b.index_name
     where b.index_oid = _created_by_us.index_oid
       and b.deployment_id = architect._deployment_id()
       and b.dropped_at is null)
$$;
comment on function architect._created_by_us(oid) is 'Whether pg_architect built this index and has not dropped it.';
