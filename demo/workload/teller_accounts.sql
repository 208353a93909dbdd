-- The accounts through which a teller moved most.
\set tid random(1, 200)
select a.aid, a.abalance, sum(h.delta) as moved
  from pgbench_history as h join pgbench_accounts as a on a.aid = h.aid
 where h.tid = :tid
 group by a.aid, a.abalance order by moved desc limit 20;
