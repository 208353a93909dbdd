-- HypoPG's index exists in this session's planner only.
\set statement `sed -n '/^select/s/;$//p' demo/workload/channel_queue.sql`
explain :statement;
select indexname as "with a hypothetical index" from hypopg_create_index('create index on public.pgbench_history (mtime)');
explain :statement;
