"""Snapshots are deleted when they are old, and statements that nothing refers to any more with them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.people import Connection, refused
from support.shop import DANA, Shop

DRY_RUN = "call architect.sp_autonomous_improvement()"


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        yield connection


def number(connection: Connection, query: str, *values: object) -> int:
    row = connection.execute(query, values).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row[0])


def insert_snapshot(
    connection: Connection, days: int, *queries: str, deployment: uuid.UUID | None = None, analysed: bool = False
) -> int:
    """A snapshot taken so many days ago, which holds these statements; each has a finding."""
    snapshot = number(
        connection,
        """insert into architect.snapshot (deployment_id, taken_at, statement_count, source, analysed_at)
           select coalesce(%s, architect._this_deployment()), t, 1, 'test', case when %s then t end
             from (select clock_timestamp() - make_interval(days => %s)) as x (t) returning snapshot_id""",
        deployment,
        analysed,
        days,
    )
    for text in queries:
        connection.execute(
            """with s as (
                 insert into architect.statement (deployment_id, query_id, role_oid, role_name, kind, text)
                 select deployment_id, hashtext(%(text)s), 10, 'postgres', 'select', %(text)s
                   from architect.snapshot where snapshot_id = %(snapshot)s
                 on conflict (deployment_id, query_id, role_oid) do update set text = excluded.text
                 returning *
               ), f as (
                 insert into architect.finding (snapshot_id, deployment_id, rule, key, severity, title, statement_id,
                   detail, remedy)
                 select %(snapshot)s, deployment_id, 'test', statement_id, 'low', 't', statement_id, 'd', 'r' from s
               )
               insert into architect.statement_statistics
               select %(snapshot)s, statement_id, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 from s""",
            {"snapshot": snapshot, "text": text},
        )
        # which a snapshot of today would have set to now
        connection.execute(
            "update architect.statement as s set last_seen_at = x.taken_at"
            " from architect.snapshot as x where x.snapshot_id = %s and s.text = %s"
            " and s.deployment_id = x.deployment_id",
            (snapshot, text),
        )
    return snapshot


def snapshots(connection: Connection) -> list[int]:
    return [i for (i,) in connection.execute("select snapshot_id from architect.snapshot order by 1").fetchall()]


def texts(connection: Connection) -> set[str]:
    rows = connection.execute("select text from architect.statement where text like 'old%'").fetchall()
    return {text for (text,) in rows}


def other_deployment(connection: Connection) -> uuid.UUID:
    made = uuid.uuid4()
    connection.execute(
        "insert into architect.deployment (deployment_id, organization_id, system_identifier, database_name)"
        " select %s, organization_id, 1, 'elsewhere' from architect.organization",
        (made,),
    )
    return made


def test_what_is_old_is_deleted(superuser: Connection) -> None:
    """But not the last snapshot before the limit, from which the kept time counts, nor the last that was analysed."""
    elsewhere = other_deployment(superuser)
    theirs = [insert_snapshot(superuser, days, "old of theirs", deployment=elsewhere) for days in (200, 100)]
    insert_snapshot(superuser, 100, "old and gone", "old and still seen", "old and measured")
    analysed = insert_snapshot(superuser, 60, "old but analysed", analysed=True)
    insert_snapshot(superuser, 50)
    last = insert_snapshot(superuser, 40, "old but last")
    recent = insert_snapshot(superuser, 10, "old and still seen")
    measured = number(superuser, "select statement_id from architect.statement where text = 'old and measured'")
    statement = {"ordinal": 1, "statement_id": measured, "kind": "read", "calls": 1, "blocks": 1, "worse": False}
    result = {
        "method": "replay", "started_at": "2026-01-01", "verdict": "inconclusive", "explanation": "x", "parameters": {},
        "statements": [statement | {"not_measured_reason": "x"}],
    }  # fmt: skip
    superuser.execute("select architect._record_measurement(1, %s)", (json.dumps(result),))

    new = number(superuser, "select architect.take_snapshot()")

    assert snapshots(superuser) == sorted([*theirs, analysed, last, recent, new])
    assert texts(superuser) == {
        "old of theirs", "old and still seen", "old and measured", "old but analysed", "old but last",
    }  # fmt: skip
    orphans = "select count(*) from architect.{} where snapshot_id not in (select snapshot_id from architect.snapshot)"
    for table in ("finding", "statement_statistics"):
        assert number(superuser, orphans.format(table)) == 0
        assert number(superuser, f"select count(*) from architect.{table} where snapshot_id = any (%s)", theirs) == 2


def test_how_long_is_a_setting(superuser: Connection) -> None:
    refused(superuser, "select architect.set_setting('snapshot_retention', '6')", "22023", "snapshot_retention")
    for days in (30, 20, 10):
        insert_snapshot(superuser, days)
    superuser.execute("select architect.take_snapshot()")
    assert len(snapshots(superuser)) == 4
    superuser.execute("select architect.set_setting('snapshot_retention', '7')")
    superuser.execute("select architect.take_snapshot()")
    assert len(snapshots(superuser)) == 3  # that of ten days ago, and the two of now


def test_the_newest_snapshot_stays_whatever_the_clock_says(superuser: Connection) -> None:
    superuser.execute("select architect.take_snapshot()")
    superuser.execute("update architect.snapshot set taken_at = taken_at + interval '400 days'")
    new = number(superuser, "select architect.take_snapshot()")
    superuser.execute("update architect.snapshot set taken_at = taken_at - interval '800 days'")
    newest = number(superuser, "select architect.take_snapshot()")
    assert snapshots(superuser) == [new, newest]


def test_what_a_proposal_names_is_kept(shop: Shop) -> None:
    """Two runs grow old; what only the first one saw is gone, but for the statements of its proposal."""

    def run_and_age(days: int) -> None:
        shop.begin(DRY_RUN).result()
        shop.rows("update architect.snapshot set taken_at = taken_at - make_interval(days => %s)", days)
        shop.rows("update architect.statement set last_seen_at = last_seen_at - make_interval(days => %s)", days)
        shop.rows("select pg_stat_statements_reset()")

    run_and_age(60)
    before = shop.value("select count(*) from architect.statement where text like '%%app.%%'")
    helped = """select count(*), count(s.statement_id) from architect.proposal as p
                 cross join lateral jsonb_array_elements(p.prediction -> 'helped') as h
                  left join architect.statement as s on s.statement_id = (h ->> 'statement_id')::bigint"""
    named = shop.rows(helped)[0][0]
    assert 0 < named < before
    run_and_age(40)
    with shop.connect(DANA) as dana:
        dana.execute("select architect.take_snapshot()")
    assert shop.rows(helped) == [(named, named)]
    assert shop.value("select count(*) from architect.statement where text like '%%app.%%'") == named
    # the run itself still says what it saw
    assert shop.value("select count(*) from architect.runs where snapshot_id is not null and analysis is not null") == 2
