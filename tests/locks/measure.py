"""Measures which locks every DDL form of forms.tsv takes, and prints one line of JSON for each.

A new server version is one command, as a superuser of a private cluster (nothing else should run in it):

    tools/cluster start /var/tmp/locks --port 54831 --conf 'autovacuum = off'
    (eval "$(tools/cluster env /var/tmp/locks)" && build/venv/bin/python tests/locks/measure.py >tests/locks/pg15.jsonl)
    tools/cluster remove /var/tmp/locks

Arguments are ids of forms, to measure these only. Every form gets a fresh copy of fixture.sql; all of its statements
but the last are set-up. Fields, besides those of the form:

    in_txn              null when it fails (see error), false when the server refuses it in a transaction block
    heap_scanned        every page of the target's heap was read through the buffers; says little of VACUUM and
                        ANALYZE where the target is small (they skip and sample pages of t only)
    table_lock          strongest mode on the target, held or awaited
    other_locks         the same for other tables, indexes, views and sequences of users that others can see; ACCESS
                        SHARE of an index is left out
    blocks_read         EXPLAIN SELECT on the target waits; null where it is no relation
    blocks_write        EXPLAIN DELETE (a sequence: nextval) waits; null where the target cannot be written
    waits_for_open_txn  only outside a transaction: it waits for a transaction that has read the target
    waits_for_snapshot  only outside a transaction: it waits for any transaction of the database that holds a snapshot
    rewrites            the target got a new file, and so did tables_rewritten and indexes_rebuilt (a TRUNCATE too)

How a statement that commits several times is stopped in each of its transactions: see ``outside``. The locks of an
instant before its first write to pg_class in a transaction escape, as VACUUM's ACCESS EXCLUSIVE while it truncates.
REINDEX DATABASE and SYSTEM are no forms: they lock the catalogues that this script reads.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

HERE = Path(__file__).resolve().parent
SCRATCH = "architect_locks"
TEMPLATE = "architect_locks_template"
# A sample of 300 rows for ANALYZE, so that it does not read the whole of the fixture's table t.
OPTIONS = "-c default_statistics_target=1 -c max_parallel_maintenance_workers=0 -c client_min_messages=error"
DEADLINE = 30  # seconds for one statement

# From weakest to strongest, as in src/include/storage/lockdefs.h.
MODES = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
]

RELATIONS = """
    select c.oid, c.relname, c.relkind, pg_relation_filenode(c.oid), c.relpages
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
     where n.nspname !~ '^(pg_|information_schema$)' and c.relkind in ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'f')
"""
LOCKS = """
    select relation, mode
      from pg_locks
     where pid = %s and locktype = 'relation'
       and database = (select oid from pg_database where datname = current_database())
"""
FETCHED_IN_TRANSACTION = "select pg_stat_get_xact_blocks_fetched(%s)"
FETCHED = "select pg_stat_get_blocks_fetched(%s)"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Form:
    """A line of forms.tsv."""

    id: str
    target: str
    sql: str
    undo: str  # for what lies outside the database

    @property
    def statements(self) -> list[str]:
        """The parts of the SQL; the last one is measured."""
        return re.split(r"; (?!end\b)", self.sql, flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Relation:
    name: str
    kind: str
    file: int | None
    pages: int


Relations = dict[int, Relation]


@dataclass(slots=True)
class Findings:
    """What was seen of one statement."""

    in_txn: bool | None = None
    error: str | None = None
    fetched: int = 0  # pages of the target, from the buffers or the disk
    locks: dict[str, str] = field(default_factory=dict)
    blocks_read: bool | None = None
    blocks_write: bool | None = None
    waits_for_open_txn: bool | None = None
    waits_for_snapshot: bool | None = None
    after: Relations = field(default_factory=dict)

    def note_locks(self, rows: list[tuple[Any, ...]], relations: Relations) -> None:
        """Keep the strongest mode of each relation that is known by name; planning reads every index of a table."""
        for oid, mode in rows:
            if oid in relations and not (mode == MODES[0] and relations[oid].kind in "iI"):
                name = relations[oid].name
                self.locks[name] = max(self.locks.get(name, MODES[0]), mode, key=MODES.index)

    def note_blocks(self, read: bool | None, write: bool | None) -> None:
        self.blocks_read = read if self.blocks_read is None else self.blocks_read or read
        self.blocks_write = write if self.blocks_write is None else self.blocks_write or write


def main(wanted: list[str]) -> None:
    """Measure the wanted forms, or all of them, and print the lines in the order of their ids."""
    with (HERE / "forms.tsv").open(encoding="utf-8", newline="") as lines:
        forms = [
            Form(row["id"], row["target"], row["sql"], row["undo"] or "")
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    with fixture() as admin:
        for form in sorted(forms, key=lambda form: form.id):
            if not wanted or form.id in wanted:
                print(json.dumps(measure(admin, form), ensure_ascii=False), flush=True)


@contextmanager
def fixture() -> Iterator[Connection]:
    """The template database with what belongs to the whole cluster; yields a connection to another database."""
    with connect("postgres") as admin, ExitStack() as undo:
        undo.callback(drop_databases, admin)
        drop_databases(admin)
        admin.execute("set allow_in_place_tablespaces = on")
        admin.execute("create role other_role")
        undo.callback(admin.execute, "drop role other_role")
        admin.execute("create tablespace other_ts location ''")
        undo.callback(admin.execute, "drop tablespace other_ts")
        undo.callback(drop_databases, admin)
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(TEMPLATE)))
        with connect(TEMPLATE) as template:
            template.execute((HERE / "fixture.sql").read_bytes())
            template.execute("vacuum (freeze, analyze)")
        yield admin


def connect(database: str) -> Connection:
    return psycopg.connect(dbname=database, options=OPTIONS, autocommit=True)


def drop_databases(admin: Connection) -> None:
    for name in (SCRATCH, TEMPLATE):
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def measure(admin: Connection, form: Form) -> dict[str, Any]:
    """The line of one form."""
    copy_fixture(admin)
    findings = Findings()
    before: Relations = {}
    with connect(SCRATCH) as worker, connect(SCRATCH) as observer:
        observer.execute("set statement_timeout = '5s'")
        try:
            for statement in form.statements[:-1]:
                run(worker, statement)
            before = relations(observer)
            if not inside(form, worker, observer, before, findings):
                outside(form, worker, observer, before, findings)
        except psycopg.Error as error:
            findings.error = str(error.diag.message_primary or error)
        except TimeoutError as error:
            findings.error = str(error)
        major = str(observer.info.server_version // 10000)
    if findings.in_txn is False:
        findings.after, fetched = afterwards(before, form.target)
        findings.fetched += fetched
    if form.undo and findings.error is None:
        run(admin, form.undo)
    return line(form, before, findings, major)


def copy_fixture(admin: Connection) -> None:
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(SCRATCH)))
    copy = sql.SQL("create database {} template {}").format(sql.Identifier(SCRATCH), sql.Identifier(TEMPLATE))
    admin.execute(copy)


def run(connection: Connection, statement: str) -> None:
    connection.execute(statement.encode())


def relations(connection: Connection) -> Relations:
    """The relations of users, as this connection sees them."""
    return {oid: Relation(*rest) for oid, *rest in connection.execute(RELATIONS)}


def target_of(relations_: Relations, name: str) -> tuple[int, Relation] | None:
    return next(((oid, relation) for oid, relation in relations_.items() if relation.name == name), None)


def number(connection: Connection, query: LiteralString, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def inside(form: Form, worker: Connection, observer: Connection, before: Relations, findings: Findings) -> bool:
    """Run the statement in a transaction that is rolled back; false when the server refuses that."""
    target = target_of(before, form.target)
    oid = target[0] if target else 0
    worker.execute("begin")
    try:
        fetched = number(worker, FETCHED_IN_TRANSACTION, oid)
        run(worker, form.statements[-1])
        findings.fetched = number(worker, FETCHED_IN_TRANSACTION, oid) - fetched
        findings.in_txn = True
        findings.note_locks(observer.execute(LOCKS, [worker.info.backend_pid]).fetchall(), before)
        findings.note_blocks(*blocks(observer, target))
        findings.after = relations(worker)
    except errors.ActiveSqlTransaction:
        return False
    finally:
        worker.execute("rollback")
    return True


def blocks(observer: Connection, target: tuple[int, Relation] | None) -> tuple[bool | None, bool | None]:
    """Whether a read and a write of the target have to wait now. Planning locks the table and all of its indexes."""
    if target is None:
        return None, None
    name = sql.Identifier(target[1].name)
    read = waits(observer, sql.SQL("explain select from {}").format(name))
    if target[1].kind == "S":
        return read, waits(observer, sql.SQL("select nextval({})").format(sql.Literal(target[1].name)))
    if target[1].kind in "mf":
        return read, None
    return read, waits(observer, sql.SQL("explain delete from {}").format(name))


def waits(observer: Connection, statement: sql.Composed) -> bool | None:
    observer.execute("set lock_timeout = '20ms'")
    try:
        observer.execute(statement)
    except errors.LockNotAvailable:
        return True
    except psycopg.Error:
        return None  # gone, or not to be written
    finally:
        observer.execute("reset lock_timeout")
    return False


class Gate:
    """Holds SHARE on pg_class, which stops any transaction at its first write to it. Two sessions take turns."""

    def __init__(self, stack: ExitStack, observer: Connection) -> None:
        self.observer = observer
        self.sessions = [stack.enter_context(connect(SCRATCH)) for _ in range(2)]
        self.pool = stack.enter_context(ThreadPoolExecutor(1))
        self._lock(self.sessions[0])

    @staticmethod
    def _lock(session: Connection) -> None:
        session.execute("begin")
        session.execute("lock table pg_catalog.pg_class in share mode")

    def step(self) -> None:
        """Let the transaction that waits go on to its end, and stop the next one."""
        holder, follower = self.sessions
        queued = self.pool.submit(self._lock, follower)
        query: LiteralString = "select 1 from pg_locks where pid = %s and relation = 'pg_class'::regclass"
        while not self.observer.execute(query, [follower.info.backend_pid]).fetchone():
            if queued.done():
                break
            time.sleep(0.001)
        holder.execute("rollback")
        queued.result(DEADLINE)
        self.sessions.reverse()

    def holds(self, pids: list[int]) -> bool:
        return any(session.info.backend_pid in pids for session in self.sessions)


def outside(form: Form, worker: Connection, observer: Connection, before: Relations, findings: Findings) -> None:
    """Run a statement that commits by itself, and look at it whenever it waits.

    It is made to wait for a transaction that has read the target, for one that only holds a snapshot, and for the
    gate in each of its transactions; what it waits for is let go, one after the other.
    """
    findings.in_txn = False
    findings.waits_for_open_txn = findings.waits_for_snapshot = False
    target = target_of(before, form.target)
    worker.execute("select pg_stat_force_next_flush()")  # what the set-up has read is not the statement's
    findings.fetched = -number(observer, FETCHED, target[0]) if target else 0
    findings.note_blocks(*((False, None if target[1].kind in "mf" else False) if target else (None, None)))
    with ExitStack() as stack:
        reader, bystander = (stack.enter_context(connect(SCRATCH)) for _ in range(2))
        hold_snapshot(reader, form.target if target else None)
        hold_snapshot(bystander, None)
        gate = Gate(stack, observer)
        # Leaving in this order: what it waits for ends before the thread is joined.
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(worker.cancel)
        running = pool.submit(run, worker, form.statements[-1])
        for pids in stops(running, worker.info.backend_pid, observer):
            findings.note_locks(
                observer.execute(LOCKS, [worker.info.backend_pid]).fetchall(), before | relations(observer)
            )
            findings.note_blocks(*blocks(observer, target))
            if reader.info.backend_pid in pids:
                findings.waits_for_open_txn = True
                reader.execute("rollback")
            elif bystander.info.backend_pid in pids:
                findings.waits_for_snapshot = True
                bystander.execute("rollback")
            elif gate.holds(pids):
                gate.step()
        running.result()


def hold_snapshot(connection: Connection, name: str | None) -> None:
    connection.execute("begin isolation level repeatable read")
    connection.execute(sql.SQL("select from {} limit 0").format(sql.Identifier(name or "pg_tablespace")))


def stops(running: Future[None], pid: int, observer: Connection) -> Iterator[list[int]]:
    """The processes that the statement waits for, each time that it waits for a lock, until it ends."""
    end = time.monotonic() + DEADLINE
    while not running.done():
        row = observer.execute("select pg_blocking_pids(%s)", [pid]).fetchone()
        if row and row[0]:
            yield row[0]
        if time.monotonic() > end:
            raise TimeoutError("the statement waits for something that was not foreseen")
        time.sleep(0.002)


def afterwards(before: Relations, name: str) -> tuple[Relations, int]:
    """Relations and fetched pages of the target, once the sessions that worked on it have ended and reported."""
    target = target_of(before, name)
    with connect(SCRATCH) as connection:
        query: LiteralString = "select count(*) from pg_stat_activity where datname = current_database()"
        while number(connection, query) > 1:
            time.sleep(0.01)
        return relations(connection), number(connection, FETCHED, target[0]) if target else 0


def line(form: Form, before: Relations, findings: Findings, major: str) -> dict[str, Any]:
    """What is printed, its keys in a fixed order."""
    result: dict[str, Any] = {"id": form.id, "sql": form.sql, "target": form.target, "in_txn": findings.in_txn}
    if findings.in_txn is not None:
        target = target_of(before, form.target)
        changed = rewritten(before, findings.after)
        others = [relation for relation in changed if relation.name != form.target]
        result |= {
            "heap_scanned": bool(target and 0 < target[1].pages <= findings.fetched and target[1].kind in "rm"),
            "table_lock": findings.locks.pop(form.target, None),
            "other_locks": dict(sorted(findings.locks.items())),
            "blocks_read": findings.blocks_read,
            "blocks_write": findings.blocks_write,
        }
        if not findings.in_txn:
            result["waits_for_open_txn"] = findings.waits_for_open_txn
            result["waits_for_snapshot"] = findings.waits_for_snapshot
        result |= {
            "rewrites": len(others) < len(changed),
            "tables_rewritten": sorted(relation.name for relation in others if relation.kind != "i"),
            "indexes_rebuilt": sorted(relation.name for relation in others if relation.kind == "i"),
        }
    if findings.error is not None:
        result["error"] = findings.error
    return result | {"server": major}


def rewritten(before: Relations, after: Relations) -> list[Relation]:
    """Relations whose file is another one. An index that was dropped and made again goes by its name.

    Sequences are left out: theirs has one page.
    """
    by_name = {relation.name: relation for relation in after.values()}
    return [
        relation
        for oid, relation in before.items()
        if relation.kind in "rmi"
        and (now := after.get(oid) or by_name.get(relation.name))
        and now.file != relation.file
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
