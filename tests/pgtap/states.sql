-- The state machine of a proposal: which moves there are, what each one writes, and that history stays.
begin;
select plan(13 + (select count(*)::int from architect._allowed_transitions()));

create function pg_temp.make(state text) returns bigint language sql as $$
  insert into architect.proposal (deployment_id, generator, change_type, requested_by, relation_oid, relation_name,
    relation_owner, index_name, title, hypothesis, why, apply_sql, revert_sql, definition, risk_level, impact, prediction,
    gate_verdict, gate_reasons, gate_version, gate_objects, digest, state)
  values (architect._this_deployment(), 'rules', 'create_index', 'somebody', 0, 'app.thing', 'app', 'i', 't', 'h', 'w',
    'create index concurrently i on app.thing (a)', 'drop index concurrently app.i', gen_random_uuid()::text, 'low', 'unknown', '{}',
    'needs_approval', '[]', '1', '{}', 'x', state)
  returning proposal_id
$$;

select lives_ok(format('select architect._transition(%s, %L, %L)', pg_temp.make(from_state), to_state, 'why'),
                format('%s may become %s', from_state, to_state))
  from architect._allowed_transitions() order by from_state, to_state;

select is_empty($$
  select from_state, to_state from architect._allowed_transitions() as t
   where not exists (select from architect._allowed_transitions() as b where b.to_state = t.from_state)
     and from_state <> 'proposed'$$, 'every state can be reached from proposed');
select is_empty($$select 1 from architect._allowed_transitions()
                   where from_state in ('refused', 'rejected', 'expired', 'superseded', 'reverted', 'failed')$$,
                'what came to its end stays there');
select is_empty($$select 1 from architect._allowed_transitions() where to_state = 'deploying'
                   and from_state not in ('approved', 'retry', 'deferred')$$, 'nothing is deployed without an approval');
select throws_like(format('select architect._transition(%s, %L)', pg_temp.make('proposed'), 'deploying'),
                   '%is proposed, it cannot become deploying');
select throws_like(format('select architect._transition(%s, %L)', pg_temp.make('kept'), 'no such state'),
                   '%it cannot become no such state');
select throws_like('select architect._transition(-1, ''approved'')', 'proposal -1 is unknown%');

select throws_ok(format('select architect._begin_rollback(%s, %L)', pg_temp.make('kept'), reason), '22023', 'a rollback needs a reason')
  from (values (null), (' ')) as blank (reason);

create temp table moved as select pg_temp.make('deploying') as id;
select architect._transition(id, 'retry', 'a lock') from moved;
select results_eq('select p.state, p.error, p.completed_at is null from architect.proposal as p, moved where proposal_id = id',
                  $$values ('retry', 'a lock', true)$$, 'a failed attempt keeps its reason');
select architect._transition(id, 'deploying') from moved;
select is((select error from architect.proposal, moved where proposal_id = id), null, 'which a new attempt clears');
select architect._transition(id, 'deployed') from moved;
select isnt((select deployed_at from architect.proposal, moved where proposal_id = id), null, 'being in place has its time');
select results_eq('select from_state, to_state, detail from architect.proposal_event, moved where proposal_id = id order by event_id',
                  $$values ('deploying', 'retry', 'a lock'), ('retry', 'deploying', null), ('deploying', 'deployed', null)$$,
                  'every move is an event');
select throws_ok('update architect.proposal_event set detail = ''other''', '55000',
                 'rows of architect.proposal_event are never changed');

select * from finish();
rollback;
