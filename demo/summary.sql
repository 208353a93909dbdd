select h.improvement_id as id, h.title, h.requested_by as "asked by", h.decided_by as "decided by",
       format('%s %% [%s; %s]', round(h.performance_delta::numeric, 1), round(h.performance_low::numeric, 1),
              round(h.performance_high::numeric, 1)) as "measured gain",
       h.verdict, h.state
  from architect.improvement_history as h where h.was_deployed order by h.improvement_id;
\x on
select h.title as change, h.state, h.explanation as because,
       pg_size_pretty(pg_relation_size(i.indexrelid)) as index_size
  from architect.improvement_history as h
  join architect.proposals as p on p.proposal_id = h.improvement_id
  left join pg_indexes as n on p.apply_sql like '%' || n.indexname || '%'
  left join pg_index as i on i.indexrelid = to_regclass(format('%I.%I', n.schemaname, n.indexname))
 where h.was_deployed order by h.improvement_id;
