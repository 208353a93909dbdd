-- The views that people build on: their columns are only ever appended to.
begin;
select plan(13);

create function pg_temp.begins_with(view text, columns text[]) returns text language sql as $$
  select is((array(select attname::text from pg_attribute
                    where attrelid = format('architect.%I', view)::regclass and attnum > 0 order by attnum))[:cardinality(columns)],
            columns, format('architect.%s has its columns', view))
$$;

select pg_temp.begins_with('proposals', '{proposal_id,state,title,why,hypothesis,predicted_reduction_percent,predicted_low,predicted_high}');
select pg_temp.begins_with('pending_approvals', '{proposal_id,title,why,hypothesis,predicted_reduction_percent}');
select pg_temp.begins_with('improvement_history',
  '{improvement_id,analysis_results,generated_code,target_file,change_type,risk_level,git_commit_hash,success_score,tests_passed,tests_failed,performance_delta,was_deployed,was_rolled_back,started_at,completed_at,rolled_back_at}');
select pg_temp.begins_with('improvement_success', '{change_type,risk_level,attempts}');
select pg_temp.begins_with('runs', '{run_id,requested_by,dry_run,status,started_at,ended_at}');
select pg_temp.begins_with('settings', '{name,value,unit,default_value,minimum,maximum,description}');
select pg_temp.begins_with('policies', '{change_type,autonomy_level,allow_self_approval,max_changes_per_day}');
select pg_temp.begins_with('enrollments', '{role_name,enrolled_by,enrolled_at,is_effective}');
select pg_temp.begins_with('deployments', '{deployment_id,organization,system_identifier,database_name}');
select pg_temp.begins_with('top_queries', '{statement_id,text,role_name,kind,calls,total_ms,mean_ms}');
select pg_temp.begins_with('findings', '{finding_id,snapshot_id,severity,rule,title}');
select pg_temp.begins_with('measurements', '{measurement_id,proposal_id,verdict,performance_delta,interval_low,interval_high,success_score}');
select pg_temp.begins_with('measurement_statements', '{measurement_id,proposal_id,ordinal,kind,statement_id,query_id,calls}');

select * from finish();
rollback;
