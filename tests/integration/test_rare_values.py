"""A value that is rare in its table and asked for all the time, as the open orders of a queue are."""

from __future__ import annotations

from support.shop import Shop

QUEUE = """
create table app.queue (id int primary key, status text not null, placed_at int not null, note text);
alter table app.queue owner to app_owner;
insert into app.queue
select i, case when i % 200 = 7 then 'open' when i % 1000 = 8 then 'lost' when i % 10 = 0 then 'sent' else 'done' end,
       (i * 7919) % 40000, repeat('x', 60)
  from generate_series(1, 40000) as i;
vacuum analyze app.queue;
grant select on app.queue to app, dana;
grant usage on schema app to dana;
"""
OPEN_INDEX = "create index concurrently queue_open on app.queue using btree (placed_at) where status = 'open'"


OPEN = "select id, note from app.queue where status = 'open' order by placed_at limit 20"


def test_an_index_on_the_value_that_is_asked_for_is_predicted_and_kept(shop: Shop) -> None:
    for statement in QUEUE.strip().split(";\n"):
        shop.rows(statement)
    # Two values only, each half of the parameter sets: the gain is far beyond the noise of a shared machine.
    shop.rows("update app.queue set status = 'done' where status <> 'open'")
    shop.rows("vacuum full analyze app.queue")
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work(OPEN, times=100)
    proposal = shop.propose(OPEN_INDEX)
    predicted = shop.value(
        "select predicted_reduction_percent from architect.proposals where proposal_id = %s", proposal
    )
    assert predicted > 5
    verdict, _ = shop.deploy(shop.approve(proposal))
    assert verdict == "improved", shop.explanation(proposal)
    assert shop.indexes("app.queue") == {"queue_open": True}
