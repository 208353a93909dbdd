"""A second session as architect_executor, over the server's own Unix socket.

It needs no password: the server's OS user is let in by a line of pg_ident.conf that `architect.check_health()` prints.
Everything is asynchronous, since a blocking call would not notice a cancel; see `Loopback.run`.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

from pg_architect.core.db import OURS, Database, Row
from pg_architect.core.errors import (
    EXTERNAL_ROUTINE_EXCEPTION,
    OBJECT_NOT_IN_PREREQUISITE_STATE,
    QUERY_CANCELED,
    ArchitectError,
)

ROLE = "architect_executor"
# How often the waiting session looks for a cancel: well within the second that users expect.
POLL_SECONDS = 0.1
CONNECT_SECONDS = 5.0


# A build waits for the transactions that are older than it, however long they take.
WAIT_IS_OVER = (
    "Call again with a longer wait: it goes on from here; what is half built is built anew. What a build waits for: "
    "select pid, usename, xact_start from pg_stat_activity where xact_start is not null order by xact_start;"
)


class StatementError(ArchitectError):
    """The server refused or failed a statement in the executor's session."""


class UnreachableError(ArchitectError):
    """No session as architect_executor can be opened here."""


class Loopback:
    """An open session as architect_executor. ``holder`` is the session that waits for it."""

    def __init__(self, holder: Database, pgconn: Any, commits: bool) -> None:
        self._holder = holder
        self._pgconn = pgconn
        self._commits = commits

    def run(
        self, sql: str, deadline: float, *params: str | None, watch: Callable[[], str | None] = lambda: None
    ) -> list[Row]:
        """Run one statement, ``$1`` … being ``params`` as text; rows as dictionaries of text.

        While waiting, the holder runs a query so that a cancel reaches it, and commits so that a concurrent build does
        not wait for the holder's own snapshot. On a cancel, or past ``deadline`` (time.monotonic), the statement is
        canceled. Raises StatementError, or ArchitectError 57014 past the deadline. ``watch()`` is called meanwhile; it
        may cancel too, but then the executor says what becomes of it. If it had to end the session, it returns why.
        """
        import psycopg

        try:
            # The extended protocol takes exactly one statement.
            self._pgconn.send_query_params(sql.encode(), [None if p is None else p.encode() for p in params])
            while self._pgconn.is_busy():
                self._wait(deadline, watch)
                self._pgconn.consume_input()
            return self._result()
        except psycopg.Error as exc:
            raise self._ended(str(exc)) from exc
        except BaseException:
            self._cancel()
            raise

    def set(self, name: str, value: str, deadline: float) -> None:
        """Set a parameter of the session."""
        self.run("select pg_catalog.set_config($1, $2, false)", deadline, name, value)

    def close(self) -> None:
        self._pgconn.finish()

    def _wait(self, deadline: float, watch: Callable[[], str | None]) -> None:
        select.select([self._pgconn.socket], [], [], POLL_SECONDS)
        if time.monotonic() > deadline:
            raise ArchitectError(QUERY_CANCELED, "the time to wait is over", hint=WAIT_IS_OVER)
        self._holder.query("select 1")
        why = watch()
        if self._commits:
            self._holder.commit()
        if why is not None:
            raise self._ended(why)

    def _result(self) -> list[Row]:
        from psycopg import pq

        rows: list[Row] = []
        failure: StatementError | None = None
        while (result := self._pgconn.get_result()) is not None:
            if result.status == pq.ExecStatus.TUPLES_OK:
                names = [result.fname(i).decode() for i in range(result.nfields)]
                for i in range(result.ntuples):
                    values = [result.get_value(i, k) for k in range(result.nfields)]
                    rows.append({n: None if v is None else v.decode() for n, v in zip(names, values, strict=True)})
            elif result.status != pq.ExecStatus.COMMAND_OK:
                failure = _failure(result)
        if self._pgconn.status != pq.ConnStatus.OK:
            raise self._ended(failure.message if failure else "the connection was lost")
        if failure is not None:
            raise failure
        return rows

    def _ended(self, why: str) -> ArchitectError:
        return ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"the executor's session ended: {why.strip()}",
            hint="Nothing is lost: call the procedure again, it goes on from here.",
        )

    def _cancel(self) -> None:
        # The connection may be the very thing that failed; nothing more can be done for it then.
        with contextlib.suppress(Exception):
            self._pgconn.get_cancel().cancel()


@contextlib.contextmanager
def loopback(holder: Database, commits: bool = True) -> Iterator[Loopback]:
    """Open a session as architect_executor on this very server and database; raises UnreachableError."""
    where = holder.query("select * from architect._own_address()")[0]
    pgconn = _connect(holder, where, commits)
    session = Loopback(holder, pgconn, commits)
    try:
        deadline = time.monotonic() + CONNECT_SECONDS
        seen = session.run(
            "select session_user::text as who, extract(epoch from pg_postmaster_start_time())::text as started,"
            " current_database()::text as name",
            deadline,
        )[0]
        if seen != {"who": ROLE, "started": where["started"], "name": where["database_name"]}:
            raise UnreachableError(OBJECT_NOT_IN_PREREQUISITE_STATE, "the server behind the socket is another one")
        yield session
    finally:
        session.close()


def _connect(holder: Database, where: Row, commits: bool) -> Any:
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    conninfo = make_conninfo(
        host=where["socket_directory"],
        port=where["port"],
        dbname=where["database_name"],
        user=ROLE,
        client_encoding="UTF8",
        application_name="pg_architect executor",
        # The session must die with its holder, also in the middle of a long build.
        options="-c client_connection_check_interval=1s -c search_path=pg_catalog,pg_temp -c client_min_messages=error"
        r" -c default_transaction_isolation=read\ committed",
    )
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    deadline = time.monotonic() + CONNECT_SECONDS
    status: int = pq.PollingStatus.WRITING
    while status not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED) and time.monotonic() < deadline:
        if pgconn.socket >= 0:
            reading = [pgconn.socket] if status == pq.PollingStatus.READING else []
            writing = [pgconn.socket] if status == pq.PollingStatus.WRITING else []
            select.select(reading, writing, [], POLL_SECONDS)
        holder.query("select 1")
        if commits:
            holder.commit()
        status = pgconn.connect_poll()
    if status != pq.PollingStatus.OK:
        message = pgconn.error_message.decode(errors="replace").strip() or "no answer within 5 s"
        pgconn.finish()
        raise UnreachableError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"no session as {ROLE} can be opened: {message}",
            hint="architect.check_health() prints the lines for pg_hba.conf and pg_ident.conf.",
        )
    return pgconn


def _failure(result: Any) -> StatementError:
    from psycopg.pq import DiagnosticField

    def field(which: DiagnosticField) -> str | None:
        value = result.error_field(which)
        return None if value is None else value.decode(errors="replace")

    return StatementError(
        field(DiagnosticField.SQLSTATE) or EXTERNAL_ROUTINE_EXCEPTION,
        (field(DiagnosticField.MESSAGE_PRIMARY) or "the connection was lost").removeprefix(OURS),
        detail=field(DiagnosticField.MESSAGE_DETAIL),
        hint=field(DiagnosticField.MESSAGE_HINT),
    )
