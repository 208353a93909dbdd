-- Came with a release: the oldest entries of a channel. Only entries of the last 18 days have a channel.
select aid, tid, delta, mtime from pgbench_history where channel = 'web' order by mtime limit 20;
