-- The newest entries of one account.
\set aid 1 + 20 * random(0, 99999)
select tid, bid, delta, mtime from pgbench_history where aid = :aid order by mtime desc limit 10;
