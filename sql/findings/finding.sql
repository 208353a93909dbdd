create or replace view architect.findings with (security_invoker = true) as
select f.finding_id, f.snapshot_id, f.severity, f.rule, f.title, f.share as share_of_database_time, f.detail, f.remedy,
       f.statement_id, s.text as statement, f.relation_oid, f.evidence, f.found_at
  from architect.finding as f
  left join architect.statement as s using (statement_id)
 where f.snapshot_id = (select max(l.snapshot_id) from architect.snapshot as l
                         where l.deployment_id = f.deployment_id and l.analysed_at is not null)
 order by array_position(array['high', 'medium', 'low'], f.severity), f.share desc nulls last, f.finding_id;
comment on view architect.findings is 'What the latest analysed snapshot shows to be wrong, worst first.';
comment on column architect.findings.snapshot_id is 'The snapshot that shows it.';
comment on column architect.findings.share_of_database_time is 'Share of the database''s statement time, 0 to 1; NULL where the rule knows none.';
comment on column architect.findings.statement_id is 'The statement that it is about; NULL if it is about none.';
comment on column architect.findings.statement is 'Normalised text of that statement; NULL if there is none, it is not kept, or you may not see it.';
