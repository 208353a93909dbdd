-- Before and after of every statement that the change touches, per call.
\echo Measured on every statement that touches the table, per call, without -> with the index:
select regexp_replace(left(regexp_replace(regexp_replace(coalesce(t.text, 'query ' || m.query_id), '\s+', ' ', 'g'),
                                          '^select .*? from ', 'select ... from '), 52), 'pgbench_', '', 'g') as statement,
       m.calls,
       format('%s -> %s', to_char(m.elapsed_ms_before, 'FM99990.00'), to_char(m.elapsed_ms_after, 'FM99990.00')) as ms,
       case m.kind when 'read' then format('%s -> %s', to_char(m.buffers_before, 'FM9,999,990'),
                                           to_char(m.buffers_after, 'FM9,999,990')) end as blocks,
       case m.kind when 'write' then format('%s -> %s', round(m.wal_bytes_before), round(m.wal_bytes_after)) end as "WAL bytes",
       case when m.ratio is null then 'not measured'
            when m.plan_changed is false then 'same plan'
            when m.ratio < 0.95 then format('%sx cheaper', to_char(1 / m.ratio, case when m.ratio < 0.1 then 'FM99990' else 'FM90.0' end))
            when m.worse then format('%sx dearer', to_char(greatest(m.ratio, m.wal_bytes_after / nullif(m.wal_bytes_before, 0)), 'FM9990.0'))
            else 'about the same' end as cost
  from architect.measurement_statements as m
  left join architect.top_queries as t using (statement_id)
 where m.proposal_id = :proposal order by m.ordinal;
