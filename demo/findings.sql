\echo What it found:
select severity, to_char(100 * share_of_database_time, 'FM990.0') || ' %' as "of time", title from architect.findings;
