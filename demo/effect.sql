-- Before and after of every statement that the change touches, per call.
\echo Measured, per call (before = without the index):
select coalesce(left(regexp_replace(t.text, '\s+', ' ', 'g'), 44), 'query ' || m.query_id) as statement,
       m.calls,
       to_char(m.elapsed_ms_before, 'FM99990.00') as "ms before",
       to_char(m.elapsed_ms_after, 'FM99990.00') as after,
       to_char(m.buffers_before, 'FM9,999,990') as "blocks before",
       to_char(m.buffers_after, 'FM9,999,990') as after,
       to_char(m.wal_bytes_before, 'FM9,999,990') as "WAL before",
       to_char(m.wal_bytes_after, 'FM9,999,990') as after,
       case when m.ratio is null then 'not measured'
            when m.worse then format('%sx, worse', round(m.ratio::numeric, 2))
            when m.plan_changed is false then 'same plan'
            else format('%sx', round(m.ratio::numeric, 3)) end as cost
  from architect.measurement_statements as m
  left join architect.top_queries as t using (statement_id)
 where m.proposal_id = :proposal order by m.ordinal;
