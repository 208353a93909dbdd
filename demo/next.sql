select p.proposal_id as id, p.title, format('%s %%', round(p.predicted_reduction_percent, 1)) as predicted,
       p.estimated_size as size, p.state
  from architect.proposals as p
 where p.run_id = (select max(run_id) from architect.runs) order by p.proposal_id;
