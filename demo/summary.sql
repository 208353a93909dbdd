select h.improvement_id as id, replace(h.title, 'public.', '') as change,
       format('%s %% [%s; %s]', round(h.performance_delta::numeric, 1), round(h.performance_low::numeric, 1),
              round(h.performance_high::numeric, 1)) as "measured gain",
       h.verdict, h.state,
       coalesce(pg_size_pretty(pg_relation_size(to_regclass(split_part(h.revert_sql, 'concurrently ', 2)))), 'gone') as "index now"
  from architect.improvement_history as h where h.was_deployed order by h.improvement_id;
select h.improvement_id as id, split_part(h.explanation, '. ', 1) || '.' as "why this verdict"
  from architect.improvement_history as h where h.was_deployed order by h.improvement_id;
