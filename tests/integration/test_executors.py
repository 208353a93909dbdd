"""Who carries out what was approved: pg_cron's workers, a session over the socket, a person; on Debian's pg_hba."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from pg_architect.core.db import PsycopgDatabase
from pg_architect.core.errors import ArchitectError
from pg_architect.improvement import executor
from support.cluster import WITH_CRON, Cluster, PsqlResult
from support.shop import CUSTOMER_INDEX, DANA, INES, SLOW, TEMPLATE, UNUSED_INDEX, Shop, make_template, until

CRON, PEER, HAND, DROP, REJECTED = "shop_cron", "shop_peer", "shop_hand", "shop_drop", "shop_rejected"
CONF = {**WITH_CRON, "cron.database_name": f"'{CRON}'"}

needs_a_server_user = pytest.mark.skipif(os.geteuid() != 0, reason="peer authentication needs a second OS user")


@pytest.fixture(scope="module")
def stock(cluster_factory: Callable[..., Cluster]) -> Cluster:
    """A cluster as Debian makes it (local peer), with shops; each has proposal 1, approved but in one."""
    cluster = cluster_factory(conf=CONF)
    make_template(cluster)
    for name in (CRON, PEER, HAND, DROP, REJECTED):
        cluster.create_database(TEMPLATE, name)
        shop = Shop(cluster, name)
        shop.workload()
        assert shop.propose(UNUSED_INDEX if name == DROP else CUSTOMER_INDEX) == 1
        if name != REJECTED:
            shop.approve(1)
            continue
        with shop.connect(INES) as ines:
            ines.execute("select architect.reject(1, 'no')")
    # The launcher looks for its database when the server starts.
    cluster.tool("stop")
    stock = replace(cluster, hba="stock")
    stock.start(CONF)
    done = stock.psql(CRON, "create extension pg_cron; grant usage on schema cron to architect_executor")
    assert done.rc == 0, done.stderr
    return stock


def ask(cluster: Cluster, database: str, query: str) -> str:
    done = cluster.psql(database, query)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def health(cluster: Cluster, database: str) -> str:
    return ask(cluster, database, "select * from architect.check_health() where component = 'executor'")


def deploy(
    cluster: Cluster, database: str, user: str = DANA, wait: str = "1 minute", timeout: float = 120
) -> PsqlResult:
    script = f"set session authorization {user};\ncall architect.sp_deploy_approved(1, wait => '{wait}');"
    return cluster.psql(database, script, timeout=timeout)


def check_kept(cluster: Cluster, database: str, done: PsqlResult) -> None:
    assert done.rc == 0, done.stderr
    assert done.stdout.startswith("improved|kept; undo with"), done.stdout + done.stderr
    assert ask(
        cluster,
        database,
        "select state, verdict, was_deployed, performance_delta > 5 from architect.improvement_history",
    ) == ("kept|improved|t|t")
    valid = "select indisvalid from pg_index where indexrelid = 'app.orders_customer'::regclass"
    assert ask(cluster, database, valid) == "t"


@needs_a_server_user
@pytest.mark.timeout(420)
def test_pg_cron_carries_out_everything(stock: Cluster) -> None:
    """Build, measurement and verdict happen in background workers; no credential, no session from outside."""
    assert health(stock, CRON).startswith("executor|ok|pg_cron workers")
    done = deploy(stock, CRON, wait="5 minutes", timeout=330)
    runs = (
        "select runid, command, status, return_message, start_time, end_time from cron.job_run_details order by runid"
    )
    print(ask(stock, CRON, runs), ask(stock, CRON, "select * from cron.job"))  # shown if the test fails
    assert "pg_cron carries this out" in done.stderr
    check_kept(stock, CRON, done)
    assert ask(stock, CRON, "select distinct username, database from cron.job_run_details") == (
        f"architect_executor|{CRON}"
    )
    assert ask(
        stock, CRON, "select to_state || ' ' || session_user_name from architect.proposal_event order by event_id"
    ).splitlines() == [
        "proposed dana",
        "awaiting_approval dana",
        "approved ines",
        *(f"{state} architect_executor" for state in ("deploying", "deployed", "verifying", "kept")),
    ]


@needs_a_server_user
def test_a_session_over_the_socket_with_the_lines_that_check_health_prints(stock: Cluster) -> None:
    told = health(stock, PEER)
    assert told.startswith("executor|warning|approved changes have to be run by hand: no session as architect_executor")
    match = re.search(
        r"Put before the other lines of (\S+): (local .*?) -- and in (\S+): (\S+ \S+ \S+)"
        r" -- then: (select pg_reload_conf\(\);)",
        told,
    )
    assert match, told
    hba_file, hba_line, ident_file, ident_line, reload_ = match.groups()
    with open(hba_file, encoding="utf-8") as file:
        before = file.read()
    with open(hba_file, "w", encoding="utf-8") as file:
        file.write(f"{hba_line}\n{before}")
    with open(ident_file, "a", encoding="utf-8") as file:
        file.write(f"{ident_line}\n")
    assert ask(stock, PEER, reload_) == "t"
    assert until(lambda: "|ok|" in (now := health(stock, PEER)) and now, "the lines are read", 10) == (
        "executor|ok|architect_executor can be reached over the local socket|"
    )
    # The lines let in nobody else, and not from another database.
    assert "|warning|" in health(stock, HAND)
    with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
        stock.connect(PEER, "architect_executor")
    done = deploy(stock, PEER)
    assert "executor: CREATE INDEX CONCURRENTLY architect_1_" in done.stderr
    check_kept(stock, PEER, done)


@needs_a_server_user
def test_by_hand_where_nothing_else_works(stock: Cluster) -> None:
    done = deploy(stock, HAND)
    assert done.rc != 0
    assert "55000: pg_architect: no session as architect_executor can be opened" in done.stderr
    assert "HINT:  architect.check_health() prints how to enable an executor" in done.stderr
    assert ask(stock, HAND, "select state from architect.proposals") == "approved"
    done = deploy(stock, HAND, "postgres")
    assert done.rc == 0, done.stderr
    assert "no executor is available" in done.stderr
    match = re.search(r"run, outside a transaction block: (CREATE INDEX .*); then ", done.stdout)
    assert match, done.stdout
    assert ask(stock, HAND, "select state from architect.proposals") == "deploying"
    assert ask(stock, HAND, match[1]) == ""
    done = deploy(stock, HAND, "postgres")
    assert "No other session watches" in done.stderr
    check_kept(stock, HAND, done)
    # The same with the way back.
    script = "call architect.sp_rollback(1, 'maintenance')"
    done = stock.psql(HAND, script)
    match = re.search(r"(?i)run, outside a transaction block: (drop index .*); then call architect.sp_r", done.stdout)
    assert match, done.stdout
    assert ask(stock, HAND, match[1]) == ""
    done = stock.psql(HAND, script)
    assert done.stdout.startswith("reverted|"), done.stderr
    # Who asks again, with nobody to carry it out, hears how it ended.
    assert "|reverted; " in deploy(stock, HAND).stdout


@needs_a_server_user
def test_by_hand_the_verdict_comes_before_the_drop(stock: Cluster) -> None:
    done = deploy(stock, DROP, "postgres")
    match = re.search(r"run, outside a transaction block: (CREATE INDEX .*); then ", done.stdout)
    assert match, done.stdout + done.stderr
    ask(stock, DROP, match[1])
    done = deploy(stock, DROP, "postgres")
    state, verdict = ask(stock, DROP, "select state, verdict from architect.proposals").split("|")
    assert state == "reverting"
    assert verdict not in ("", "improved")
    match = re.search(rf"{verdict}\|run, outside a transaction block: (drop index .*); then ", done.stdout)
    assert match, done.stdout
    assert f"verdict: {verdict}: " in done.stderr
    ask(stock, DROP, match[1])
    assert deploy(stock, DROP, "postgres").stdout.startswith(f"{verdict}|reverted; ")


@needs_a_server_user
def test_what_was_rejected_is_said_before_that_nobody_can_do_it(stock: Cluster) -> None:
    done = deploy(stock, REJECTED)
    assert "proposal 1 is rejected, it cannot be deployed" in done.stderr
    assert "HINT:  It came to its end; propose it again with architect.propose_change." in done.stderr
    lines = ask(stock, REJECTED, "select detail, remedy from architect.check_health() where component = 'pg_cron'")
    assert lines == (
        f"lives in database {CRON}: it cannot be used as an executor here|"
        f"alter system set cron.database_name = '{REJECTED}'; -- then restart the server"
    )


@needs_a_server_user
def test_a_role_that_may_not_log_in_gets_no_jobs(stock: Cluster) -> None:
    """The emergency stop holds for pg_cron, too: it refuses such a role."""
    ask(stock, CRON, "alter role architect_executor nologin")
    try:
        lines = ask(stock, CRON, "select * from architect.check_health() where component in ('executor', 'pg_cron')")
    finally:
        ask(stock, CRON, "alter role architect_executor login")
    told, mend = "architect_executor is not permitted to log in", "alter role architect_executor login;"
    assert lines.splitlines() == [
        f"executor|warning|approved changes have to be run by hand: {told}|{mend}",
        f"pg_cron|info|{told}, which its jobs need|{mend}",
    ]


@needs_a_server_user
def test_pg_cron_leaves_no_jobs_behind(stock: Cluster) -> None:
    until(lambda: ask(stock, CRON, "select count(*) from cron.job") == "0", "the jobs are unscheduled", 75)
    ended = "select command, status, return_message from cron.job_run_details where status <> 'succeeded'"
    assert ask(stock, CRON, ended) == ""


def test_the_executors_session(shop: Shop) -> None:
    """What it can be trusted with: who it is, where it looks for names, and that it ends with its holder."""
    with shop.connect() as connection, executor.loopback(PsycopgDatabase(connection), commits=False) as session:
        deadline = float("inf")
        seen = {
            name: session.run(f"show {name}", deadline)[0][name]
            for name in ("search_path", "client_connection_check_interval", "application_name", "session_authorization")
        }
        assert seen == {
            "search_path": "pg_catalog,pg_temp",
            "client_connection_check_interval": "1s",
            "application_name": "pg_architect executor",
            "session_authorization": "architect_executor",
        }
        with pytest.raises(executor.StatementError) as caught:
            session.run("select 1/$1::int", deadline, "0")
        assert caught.value.sqlstate == "22012"
        with pytest.raises(executor.StatementError, match="multiple commands"):
            session.run("select 1; select 2", deadline)
        with pytest.raises(ArchitectError) as late:
            session.run("select pg_sleep(60)", 0.0)
        assert late.value.sqlstate == "57014"
    until(lambda: shop.executor_pid() is None, "it ends with its holder", 5)


def test_a_failure_without_words() -> None:
    """As when the connection is gone: that the session ended is said by who raises it."""

    class Nothing:
        def error_field(self, _which: object) -> None:
            return None

    assert executor._failure(Nothing()).message == "the connection was lost"


def test_a_build_has_a_timeout(shop: Shop) -> None:
    proposal = shop.approved()
    shop.set(build_timeout="1")
    with shop.old_snapshot():
        error = shop.begin_deployment(proposal).failure()
    message = error.diag.message_primary or ""
    assert "could not be built: canceling statement due to statement timeout (57014)" in message
    assert (shop.state(proposal), shop.indexes()) == ("retry", {})


def test_the_timeout_of_a_build_does_not_end_a_measurement(shop: Shop) -> None:
    shop.work(SLOW, times=2)
    proposal = shop.approved()
    shop.set(build_timeout="1")
    call = shop.begin_deployment(proposal).join(120)
    assert call.error is None
    assert shop.state(proposal) in ("kept", "reverted")


def test_an_owner_who_is_not_enrolled(shop: Shop) -> None:
    """Said before anything is done, with the command for the DBA."""
    shop.rows("create table app.more (id int primary key, a int)")
    shop.rows("alter table app.more owner to app")
    proposal = shop.approved("create index concurrently more_a on app.more using btree (a)")
    error = shop.begin_deployment(proposal).failure()
    assert (error.sqlstate, error.diag.message_hint) == (
        "42501",
        "A DBA has to run: select architect.enroll('app');",
    )
    assert [row[0] for row in shop.health("tables of app")] == ["warning"]
    assert shop.indexes("app.more") == {}


def test_no_executor_role_for_people(shop: Shop) -> None:
    """Who may only operate or approve cannot take the executor's place."""
    for user in (DANA, INES):
        with shop.connect(user) as person:
            for statement in ("set role architect_executor", "call architect._advance(1, null, 'hand')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    person.execute(statement)
