"""A small shop on a private cluster: its tables, its people, a slow workload; and calls that others can watch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from support.cluster import Cluster, install_extensions

Connection = psycopg.Connection[Any]
T = TypeVar("T")

TEMPLATE = "architect_shop"
OWNER, APP = "app_owner", "app"
DANA, INES = "dana", "ines"  # operator, approver
ROLES = {OWNER: None, APP: None, DANA: "architect_operator", INES: "architect_approver"}

# The orders of a customer and the rare open ones are read without an index. `trap` has channels only at the end of
# time, so that an index on its time looks good to the planner and is not.
TABLES = """
create schema app authorization app_owner;
set role app_owner;
create table app.orders
  (id int primary key, customer int not null, status text not null, total int not null, note text);
insert into app.orders
select i, (i * 7919) % 3000, case when i % 400 = 0 then 'open' else 'done' end, i % 1000, repeat('x', 60)
  from generate_series(1, 40000) as i;
create table app.trap (id int primary key, at timestamp not null, channel text, note text);
insert into app.trap
select i, timestamp '2024-01-01' + ((i * 7919) % 40000) * interval '1 minute',
       case when (i * 7919) % 40000 > 32000 then (array['web', 'shop', 'mail', 'phone'])[1 + i % 4] end, repeat('x', 60)
  from generate_series(1, 40000) as i;
create table app.quiet (id int primary key, a int not null, b int not null);
insert into app.quiet select i, i % 10, i from generate_series(1, 2000) as i;
grant usage on schema app to app;
grant select, insert, update, delete on all tables in schema app to app;
reset role;
vacuum analyze app.orders, app.trap, app.quiet;
"""
# Long enough to be caught in the middle of its replay.
SLOW = "select count(*) from app.orders as o join app.trap as t on t.note = o.note where o.total = {}"
BY_CUSTOMER = "select id, total from app.orders where customer = {}"
OPEN = "select id, total from app.orders where status = 'open' order by id"
TRAP = "select id, at from app.trap where channel = '{}' order by at limit 10"
QUIET = "select sum(b) from app.quiet where a = {}"

CUSTOMER_INDEX = "create index concurrently orders_customer on app.orders using btree (customer)"
TRAP_INDEX = "create index concurrently trap_at on app.trap using btree (at)"
UNUSED_INDEX = "create index concurrently orders_note on app.orders using btree (note)"

# Short windows: what is measured here is the machinery, not the workload.
QUICK = {"measurement_window_seconds": "0.1"}


@dataclass(slots=True)
class Call:
    """A statement that runs in a session of its own, on a thread, to be watched and disturbed from outside."""

    connection: Connection
    statement: str
    pid: int
    notices: list[str] = field(default_factory=list)
    row: tuple[Any, ...] | None = None
    error: psycopg.Error | None = None
    ended_at: float | None = None
    _thread: threading.Thread | None = None

    def start(self) -> Call:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            cursor = self.connection.execute(self.statement)
            self.row = cursor.fetchone() if cursor.description else None
        except psycopg.Error as error:
            self.error = error
        self.ended_at = time.monotonic()

    @property
    def is_running(self) -> bool:
        return self.ended_at is None

    def join(self, seconds: float = 60) -> Call:
        """Wait for its end, however it ends."""
        assert self._thread is not None
        self._thread.join(seconds)
        assert not self.is_running, f"still running after {seconds} s: {self.statement}"
        return self

    def close(self) -> None:
        """End its session, also in the middle of the statement."""
        if self.is_running:
            with contextlib.suppress(psycopg.Error):
                self.connection.cancel()
            self.join(10)
        self.connection.close()

    def result(self, seconds: float = 60) -> tuple[Any, ...]:
        """Its row; raises what it raised."""
        self.join(seconds)
        if self.error is not None:
            raise self.error
        assert self.row is not None
        return self.row

    def failure(self, seconds: float = 60) -> psycopg.Error:
        """The error that it must have ended with."""
        self.join(seconds)
        assert self.error is not None, f"it returned {self.row}"
        return self.error


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's database. Methods that take no connection speak as superuser."""

    cluster: Cluster
    name: str
    calls: list[Call] = field(default_factory=list)

    def connect(self, user: str = "postgres", **options: Any) -> Connection:
        return self.cluster.connect(self.name, user, **options)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: Any) -> Any:
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None

    def work(self, *queries: str, times: int = 15) -> None:
        """The application runs these statements, with a number filled in where they have a place for one."""
        with self.connect(APP) as connection:
            for query in queries:
                for n in range(times):
                    connection.execute(query.format(n * 31))

    def workload(self, times: int = 15) -> None:
        """The slow statements of the shop, often enough that pg_stat_statements shows what they cost."""
        self.work(BY_CUSTOMER, OPEN, QUIET, times=times)
        self.work(*(TRAP.format(channel) for channel in ("web", "shop", "mail", "phone")), times=5)

    def forget_slow(self) -> None:
        """As if the application had never run `SLOW`, so that what goes on does not replay it."""
        self.rows("select public.pg_stat_statements_reset()")
        self.rows(
            "delete from architect.statement_statistics using architect.statement as s"
            " where s.statement_id = statement_statistics.statement_id and s.text like '%%t.note = o.note%%'"
        )
        self.workload()

    def propose(self, statement: str = CUSTOMER_INDEX, reason: str = "orders of a customer are read often") -> int:
        """Dana's own proposal; its number."""
        with self.connect(DANA) as dana:
            row = dana.execute("select architect.propose_change(%s, %s)", (statement, reason)).fetchone()
        assert row is not None
        return int(row[0])

    def approve(self, proposal: int) -> int:
        with self.connect(INES) as ines:
            ines.execute("select architect.approve(%s, 'looks right')", (proposal,))
        return proposal

    def approved(self, statement: str = CUSTOMER_INDEX) -> int:
        """A proposal of dana's that ines approved; its number."""
        return self.approve(self.propose(statement))

    def begin(self, statement: str, user: str = DANA, **options: Any) -> Call:
        """Begin a statement in a session of its own."""
        connection = self.connect(user, **options)
        call = Call(connection, statement, connection.info.backend_pid)
        connection.add_notice_handler(lambda diagnostic: call.notices.append(diagnostic.message_primary or ""))
        self.calls.append(call)
        return call.start()

    def begin_deployment(self, proposal: int, wait: str = "2 minutes", **options: Any) -> Call:
        return self.begin(f"call architect.sp_deploy_approved({proposal}, wait => '{wait}')", **options)

    def deploy(self, proposal: int, wait: str = "2 minutes") -> tuple[str | None, str]:
        """Dana deploys; (verdict, next step)."""
        verdict, next_step = self.begin_deployment(proposal, wait).result(120)
        return verdict, next_step

    def explanation(self, proposal: int) -> str:
        """Why the verdict is what it is: for the message of a failing test."""
        query = "select explanation from architect.improvement_history where improvement_id = %s"
        return str(self.value(query, proposal))

    def state(self, proposal: int) -> str:
        return str(self.value("select state from architect.proposal where proposal_id = %s", proposal))

    def events(self, proposal: int) -> list[str]:
        """The states that it went through, in order."""
        return [
            state
            for (state,) in self.rows(
                "select to_state from architect.proposal_event where proposal_id = %s order by event_id", proposal
            )
        ]

    def indexes(self, table: str = "app.orders") -> dict[str, bool]:
        """Its indexes but the primary key, and whether each is valid."""
        return dict(
            self.rows(
                "select c.relname::text, indisvalid from pg_index join pg_class as c on c.oid = indexrelid"
                " where indrelid = %s::regclass and not indisprimary order by 1",
                table,
            )
        )

    def executor_pid(self) -> int | None:
        """The session of architect_executor in this database."""
        pid: int | None = self.value(
            "select max(pid) from pg_stat_activity"
            " where usename = 'architect_executor' and datname = current_database()"
        )
        return pid

    def building(self) -> str | None:
        """The phase of the concurrent build that is under way."""
        phase: str | None = self.value(
            "select phase from pg_stat_progress_create_index where datname = current_database()"
        )
        return phase

    def health(self, component: str) -> list[tuple[str, str, str | None]]:
        """Lines of check_health(): status, detail, remedy."""
        return [
            (status, detail, remedy)
            for status, detail, remedy in self.rows(
                "select status, detail, remedy from architect.check_health() where component = %s", component
            )
        ]

    def set(self, **settings: str) -> None:
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute("select architect.set_setting(%s, %s)", (name, value))

    @contextlib.contextmanager
    def old_snapshot(self) -> Iterator[Connection]:
        """A transaction that a concurrent build has to wait for, until the end of the block."""
        with self.connect(APP, autocommit=False) as connection:
            connection.execute("set transaction isolation level repeatable read")
            connection.execute("select count(*) from app.quiet")
            yield connection
            connection.rollback()


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Poll until the condition is true (or anything but empty); its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return value


def make_roles(connection: Connection) -> None:
    """Roles are the cluster's: they may be there already."""
    for name, group in ROLES.items():
        if connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        if group:
            connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(name)))


def make_template(cluster: Cluster) -> None:
    """The database that every shop is a copy of, made once per cluster."""
    with cluster.connect() as connection:
        if connection.execute("select from pg_database where datname = %s", (TEMPLATE,)).fetchone() is not None:
            return
    cluster.create_database(name=TEMPLATE)
    with cluster.connect(TEMPLATE) as connection:
        install_extensions(connection)
        make_roles(connection)
        for statement in TABLES.strip().split(";\n"):
            connection.execute(statement)
        connection.execute("select architect.enroll(%s)", (OWNER,))
        for name, value in QUICK.items():
            connection.execute("select architect.set_setting(%s, %s)", (name, value))


@contextlib.contextmanager
def open_shop(cluster: Cluster) -> Iterator[Shop]:
    """A fresh shop with its workload seen; gone afterwards."""
    make_template(cluster)
    with cluster.database(TEMPLATE) as name:
        shop = Shop(cluster, name)
        try:
            shop.workload()
            yield shop
        finally:
            for call in shop.calls:
                call.close()
