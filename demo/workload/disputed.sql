-- One entry in a thousand is disputed; the others are payments.
select aid, bid, delta, mtime from pgbench_history where kind = 'disputed';
