"""Statements that nobody wrote: mutants of the corpus are judged, and those that pass are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import gate, locks, parse
from support.cluster import Cluster
from support.corpus import JUDGE, corpus_database, lines
from support.traps import Connection

MUTANTS = 1500
LONGEST = 600  # bytes: the rest of the corpus is about length

HELD = """
select c.oid::regclass::text, l.mode
from pg_locks l
join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p', 'v', 'm') and c.oid >= 16384
where l.pid = pg_backend_pid() and l.database = (select oid from pg_database where datname = current_database())
    and c.xmin <> pg_current_xact_id_if_assigned()::xid
"""


def token_lists() -> list[list[str]]:
    found = []
    for name in ("harmless", "risky", "hostile"):
        for line in lines(name):
            if len(line.sql) < LONGEST:
                try:
                    found.append([token.text for token in parse.tokens(line.sql)])
                except ArchitectError:
                    continue
    return found


def mutants(seed: int) -> Iterator[str]:
    """Statements of the corpus with tokens taken out, put in, replaced, or mixed in from another; all of them parse."""
    generator = random.Random(seed)
    pool = token_lists()
    every = [token for tokens in pool for token in tokens]
    while True:
        tokens = list(generator.choice(pool))
        for _ in range(generator.choice((1, 1, 2, 3))):
            place = generator.randrange(len(tokens)) if tokens else 0
            other = generator.choice(pool)
            start = generator.randrange(len(other))
            change = generator.choice(("drop", "insert", "replace", "graft"))
            if change == "drop":
                del tokens[place : place + 1]
            elif change == "insert":
                tokens.insert(place, generator.choice(every))
            elif change == "replace":
                tokens[place : place + 1] = [generator.choice(every)]
            else:
                tokens[place:place] = other[start : start + generator.randint(1, 5)]
        text = " ".join(tokens)
        try:
            parse.parse_one(text)
        except ArchitectError:
            continue
        yield text


@pytest.fixture(scope="module")
def corpus(cluster: Cluster) -> Iterator[str]:
    with corpus_database(cluster) as name:
        yield name


def overtaken(connection: Connection, judgement: gate.Judgement) -> list[str]:
    """Locks on user relations that were there before, stronger than predicted, after applying it; undone."""
    connection.execute("begin")
    try:
        connection.execute("set local lock_timeout = '1s'; set local statement_timeout = '10s'")
        connection.execute("select pg_current_xact_id()")
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute(judgement.apply_sql or "")
        taken = connection.execute(HELD).fetchall()
    except psycopg.Error:
        return []  # it fails: nothing has happened
    finally:
        connection.execute("rollback")
    said = judgement.objects["locks"]
    return [
        f"{name}: {mode} instead of {said.get(name)}"
        for name, mode in taken
        if locks.strength(mode) > max(locks.strength(said.get(name)), locks.strength(locks.ACCESS_SHARE))
        and not mode.startswith("Row")
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_mutants_have_a_verdict_and_run_nobodys_code(cluster: Cluster, corpus: str, seed: int) -> None:
    verdicts: Counter[str] = Counter()
    wrong = []
    with cluster.connect(corpus) as admin, cluster.connect(corpus, JUDGE) as owner:
        admin.execute("set search_path = pg_catalog, pg_temp")
        database = PsycopgDatabase(admin)
        for statement, _ in zip(mutants(seed), range(MUTANTS), strict=False):
            judgement = gate.judge(database, statement)
            verdicts[judgement.verdict] += 1
            assert "judging-failed" not in [reason.rule for reason in judgement.reasons], statement
            if judgement.apply_sql is None or judgement.needs_own_transaction:
                continue
            if problems := overtaken(owner, judgement):
                wrong.append((statement, problems))
            assert admin.execute("select is_called from evil.ran").fetchone() == (False,), statement
    assert not wrong
    assert verdicts["allow"] > MUTANTS / 20
    assert verdicts["refuse"] > MUTANTS / 2
