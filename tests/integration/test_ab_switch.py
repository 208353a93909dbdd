"""The A/B switch: it hides an index from one session of architect_executor, and can never last."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from support.cluster import Cluster
from support.experiment import EXECUTOR, oid, valid

QUERY = "select count(*) from public.orders where customer = 5"


def plan(connection: psycopg.Connection[Any], text: str) -> str:
    return "\n".join(row[0] for row in connection.execute(f"explain (costs off) {text}"))


def test_the_switch_is_seen_by_its_own_session_alone_and_locks_the_table_no_more_than_a_query(
    cluster: Cluster, db: str
) -> None:
    with cluster.connect(db) as owner:
        owner.execute("grant select on public.orders to architect_executor")
        index = oid(owner, "public.ours_customer")
        with cluster.connect(db, EXECUTOR, autocommit=False) as executor:
            assert "ours_customer" in plan(executor, QUERY)
            executor.execute("select architect._hide_index(%s::oid)", [index])
            assert "Seq Scan" in plan(executor, QUERY)
            assert valid(owner, "public.ours_customer")
            assert "ours_customer" in plan(owner, QUERY)
            locks = executor.execute(
                "select distinct mode from pg_locks where pid = pg_backend_pid()"
                " and relation in ('public.orders'::regclass, 'public.ours_customer'::regclass)"
            ).fetchall()
            assert locks == [("AccessShareLock",)]
            executor.rollback()
            assert "ours_customer" in plan(executor, QUERY)


@pytest.mark.parametrize("end", ["commit", "prepare transaction 'x'", "set constraints all immediate"])
def test_the_switch_cannot_be_committed(cluster: Cluster, db: str, end: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        index = oid(owner, "public.ours_customer")
        executor.execute("begin")
        executor.execute("select architect._hide_index(%s::oid)", [index])
        if end.startswith("prepare"):
            executor.execute("select 1")
        with pytest.raises(
            psycopg.Error, match=r"the A/B switch must be rolled back|prepared transactions are disabled"
        ):
            executor.execute(end)
        executor.execute("rollback")
        assert valid(owner, "public.ours_customer")
        assert owner.execute("select count(*) from architect.must_roll_back").fetchone() == (0,)


def test_the_switch_outside_a_transaction_changes_nothing(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        with pytest.raises(psycopg.Error, match="must be rolled back"):
            executor.execute("select architect._hide_index(%s::oid)", [oid(owner, "public.ours_customer")])
        assert valid(owner, "public.ours_customer")


def test_the_switch_hides_only_indexes_of_ours_and_only_for_the_executor(cluster: Cluster, db: str) -> None:
    with cluster.connect(db) as owner, cluster.connect(db, EXECUTOR) as executor:
        for name in ("public.theirs", "public.orders_pkey"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not created by pg_architect"):
                executor.execute("select architect._hide_index(%s::oid)", [oid(owner, name)])
        index = oid(owner, "public.ours_customer")
        with cluster.connect(db, EXECUTOR) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("insert into architect.must_roll_back values (1)")
        owner.execute("create role stranger")
        try:
            owner.execute("grant usage on schema architect to stranger")
            owner.execute("set session authorization stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                owner.execute("select architect._hide_index(%s::oid)", [index])
            owner.execute("reset session authorization")
            owner.execute("grant execute on function architect._hide_index to stranger")
            owner.execute("set session authorization stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only architect_executor"):
                owner.execute("select architect._hide_index(%s::oid)", [index])
        finally:
            owner.execute("reset session authorization")
            owner.execute("drop owned by stranger")
            owner.execute("drop role stranger")
