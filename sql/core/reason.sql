create or replace function architect._check_reason(reason text) returns void
language plpgsql volatile parallel unsafe security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(reason) > 10000 then
    raise exception 'the reason has % characters, more than 10000', length(reason) using errcode = '22023',
      hint = 'Say the essential, and where the rest is kept.';
  end if;
end
$$;
comment on function architect._check_reason(text) is 'Refuse a reason that is too long to be kept with a proposal: everybody who sees it reads it.';
