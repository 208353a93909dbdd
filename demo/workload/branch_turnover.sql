-- What a branch turned over in a week.
\set bid random(1, 20)
\set day random(8, 89)
select current_date - :day as first_day, current_date - :day + 7 as end_day \gset
select count(*), sum(delta) from pgbench_history where bid = :bid and mtime >= ':first_day' and mtime < ':end_day';
