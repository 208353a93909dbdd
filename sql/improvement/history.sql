create or replace view architect.improvement_history with (security_invoker = true) as
select p.proposal_id as improvement_id,
       coalesce(r.analysis, '{}'::jsonb) as analysis_results,
       p.apply_sql as generated_code,
       p.target_file,
       p.change_type,
       p.risk_level,
       -- no repository is configured in this release, so no commit and no test run can be named
       null::text as git_commit_hash,
       round(m.success_score::numeric, 4) as success_score,
       null::integer as tests_passed,
       null::integer as tests_failed,
       round(m.performance_delta::numeric, 1) as performance_delta,
       p.deployed_at is not null as was_deployed,
       p.rolled_back_at is not null as was_rolled_back,
       p.started_at,
       p.completed_at,
       p.rolled_back_at,
       p.state,
       p.verdict,
       round(m.interval_low::numeric, 1) as performance_low,
       round(m.interval_high::numeric, 1) as performance_high,
       round(m.minimum_detectable_effect::numeric, 1) as minimum_detectable_effect,
       m.explanation,
       p.title,
       p.hypothesis,
       p.why,
       p.revert_sql,
       round((p.prediction ->> 'reduction_percent')::numeric, 1) as predicted_reduction_percent,
       p.generator,
       p.requested_by,
       a.decision,
       a.decided_by,
       a.reason as decision_reason,
       p.error,
       p.gate_version,
       r.versions,
       p.measurement_id,
       p.run_id
  from architect.proposal as p
  left join architect.run as r using (run_id)
  left join architect.measurement as m using (measurement_id)
  left join lateral (select x.* from architect.approval as x where x.proposal_id = p.proposal_id
                      order by x.approval_id desc limit 1) as a on true
 order by p.proposal_id;
comment on view architect.improvement_history is
  'One row per proposal, whatever happened. performance_delta: per cent less cost of the touched statements, as measured.';
comment on column architect.improvement_history.improvement_id is 'Number of the proposal.';
comment on column architect.improvement_history.analysis_results is 'What the run saw: counts and findings; {} for a person''s own proposal.';
comment on column architect.improvement_history.generated_code is 'The statement that is run: apply_sql of architect.proposals.';
comment on column architect.improvement_history.git_commit_hash is 'NULL: this release works without a repository.';
comment on column architect.improvement_history.tests_passed is 'NULL: this release runs no tests of yours.';
comment on column architect.improvement_history.tests_failed is 'NULL: this release runs no tests of yours.';
comment on column architect.improvement_history.was_deployed is 'Whether the change was ever in place.';
comment on column architect.improvement_history.was_rolled_back is 'Whether it was undone.';
comment on column architect.improvement_history.performance_low is 'Lower limit of the 95 % interval of performance_delta, in per cent; NULL without a measurement.';
comment on column architect.improvement_history.performance_high is 'Upper limit of the 95 % interval of performance_delta, in per cent; NULL without a measurement.';
comment on column architect.improvement_history.explanation is 'The verdict in plain words, with what was not measured; NULL without a measurement.';
comment on column architect.improvement_history.predicted_reduction_percent is 'Predicted reduction of the planner''s cost of the statements on the table, in per cent; NULL without a prediction.';
comment on column architect.improvement_history.requested_by is 'Session user who asked for it.';
comment on column architect.improvement_history.decision is 'The latest decision, approved or rejected; NULL if nobody has decided.';
comment on column architect.improvement_history.decided_by is 'Who decided; NULL if nobody has.';
comment on column architect.improvement_history.decision_reason is 'Their words; NULL if there are none.';
comment on column architect.improvement_history.gate_version is 'Version of the gate that judged it.';
comment on column architect.improvement_history.versions is 'Versions of all that the run used; NULL for a person''s own proposal.';
comment on column architect.improvement_history.measurement_id is 'The measurement; NULL until there is one.';
comment on column architect.improvement_history.run_id is 'The run that made it; NULL for a person''s own proposal.';

create or replace view architect.improvement_success with (security_invoker = true) as
select h.change_type,
       h.risk_level,
       count(*) as attempts,
       count(*) filter (where h.verdict = 'improved') as improved,
       count(*) filter (where h.verdict = 'harmful') as harmful,
       count(*) filter (where h.was_rolled_back) as rollbacks,
       round(avg(h.success_score), 4) as average_success_score,
       round(avg(h.performance_delta), 1) as average_performance_delta
  from architect.improvement_history as h
 where h.was_deployed
 group by h.change_type, h.risk_level;
comment on view architect.improvement_success is 'Which kinds of change succeed, among those that were deployed.';
comment on column architect.improvement_success.attempts is 'Changes that were deployed.';
comment on column architect.improvement_success.improved is 'How many of them were measured as improved.';
comment on column architect.improvement_success.harmful is 'How many of them were measured as harmful.';
comment on column architect.improvement_success.rollbacks is 'How many of them were undone.';
comment on column architect.improvement_success.average_success_score is 'Mean of success_score, 0 to 1; NULL if none was measured.';
comment on column architect.improvement_success.average_performance_delta is 'Mean of performance_delta in per cent, positive is better; NULL if none was measured.';
