-- Three months of history, merged from several systems, so that it does not lie in order of time: 300,000 entries of
-- 100,000 accounts. Channels are recorded since 18 days. The seed is fixed; times count back from now.
alter table pgbench_history add column kind text not null default 'payment', add column channel text;
select setseed(0.42) \g /dev/null
insert into pgbench_history (tid, bid, aid, delta, mtime, kind, channel)
select 1 + floor(random() * 200),
       1 + floor(random() * 20),
       1 + 20 * floor(random() * 100000),
       floor(random() * 10001) - 5000,
       entry.mtime,
       case when random() < 0.001 then 'disputed' else 'payment' end,
       case when entry.mtime > localtimestamp - interval '18 days'
            then (array['web', 'app', 'teller', 'atm', 'phone', 'partner', 'mail', 'kiosk'])[1 + floor(random() * 8)] end
  from (select localtimestamp - random() * interval '90 days' as mtime from generate_series(1, 300000)) as entry;
grant select, insert, update on pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history to app;
vacuum (freeze, analyze) pgbench_history;
