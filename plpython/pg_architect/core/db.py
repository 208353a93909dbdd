"""The one seam to the database: a protocol with a PL/Python and a psycopg implementation.

SQL uses ``$1`` placeholders, each with an explicit cast where its type matters (``$1::bigint``): a Python ``None``
travels as text. Values come back as Python's own types; ask for ``::text`` where the two implementations would
differ (times, jsonb, oids of named types), and see ``row_json``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from pg_architect.core import errors
from pg_architect.core.errors import ArchitectError

Row = dict[str, Any]

# What PostgreSQL puts before the message of an error of ours; taken off when it passes through a second function.
OURS = "pg_architect: "
# A cancel or a shutdown arrives as an ordinary exception; whoever handles errors passes these on.
NEVER_HANDLED = frozenset({errors.QUERY_CANCELED, errors.ADMIN_SHUTDOWN, errors.DATABASE_DROPPED, "57P02"})


# Prepared statements of this session, the one used last at the end.
KEPT_PLANS = 200
_plans: dict[tuple[str, tuple[str, ...]], Any] = {}


class DatabaseError(ArchitectError):
    """An error that the server raised for a statement of ours."""


class Database(Protocol):
    """What the package asks of a database session."""

    def query(self, sql: str, *params: object) -> list[Row]:
        """Run one statement; rows as dictionaries, empty for a statement without a result."""

    def query_typed(self, sql: str, types: Sequence[str], values: Sequence[str | None]) -> list[Row]:
        """Run one statement whose parameters have these SQL types, planned for these very values (given as text)."""

    def parse(self, sql: str) -> None:
        """Let the server parse one statement, and analyze it if it is a query; nothing is planned or executed."""

    def notice(self, message: str) -> None:
        """Tell the caller something (NOTICE)."""

    def subtransaction(self) -> contextlib.AbstractContextManager[None]:
        """Undo what happens inside if it raises."""

    def commit(self) -> None:
        """End the transaction and begin the next; only in a procedure called outside a transaction block."""

    def rollback(self) -> None:
        """Undo the transaction and begin the next; only where ``commit`` may be called."""

    def end_session(self, why: ArchitectError) -> NoReturn:
        """End the session with this error: for what must not go on, and what no rollback can take back."""


class PlpyDatabase:
    """``Database`` inside a backend, over the ``plpy`` module.

    ``pins_path``: for a procedure that commits. It cannot have a SET clause, so names in its SQL would be looked up in
    the caller's search_path, where a caller could put functions and operators of their own.
    """

    def __init__(self, plpy: Any, *, pins_path: bool = False) -> None:
        self._plpy = plpy
        self._pins_path = pins_path
        self._is_pinned = False

    def _pin(self) -> None:
        # Not at once after a commit: a session that has run no query since holds no snapshot that others wait for.
        # The setting ends with the transaction, so that the caller gets their own back.
        if self._pins_path and not self._is_pinned:
            self._plpy.execute("select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)")
            self._is_pinned = True

    def query(self, sql: str, *params: object) -> list[Row]:
        try:
            self._pin()
            if not params:
                result = self._plpy.execute(sql)
            else:
                plan = self._plan(sql, tuple(_type_name(value) for value in params))
                result = self._plpy.execute(plan, [_encode(value) for value in params])
        except self._plpy.SPIError as exc:
            raise _translated(exc) from exc
        return [dict(row) for row in result]

    def _plan(self, sql: str, types: tuple[str, ...]) -> Any:
        """A prepared statement, kept for the session: planning a catalogue query takes longer than running it.

        The server plans it anew when the objects or the search_path change, and checks rights at every execution.
        """
        plan = _plans.pop((sql, types), None) or self._plpy.prepare(sql, list(types))
        _plans[sql, types] = plan
        if len(_plans) > KEPT_PLANS:
            del _plans[next(iter(_plans))]
        return plan

    def query_typed(self, sql: str, types: Sequence[str], values: Sequence[str | None]) -> list[Row]:
        try:
            self._pin()
            result = self._plpy.execute(self._plpy.prepare(sql, list(types)), list(values))
        except self._plpy.SPIError as exc:
            raise _translated(exc) from exc
        return [dict(row) for row in result]

    def parse(self, sql: str) -> None:
        try:
            self._pin()
            self._plpy.prepare(sql)
        except self._plpy.SPIError as exc:
            raise _translated(exc) from exc

    def notice(self, message: str) -> None:
        self._plpy.notice(message)

    @contextlib.contextmanager
    def subtransaction(self) -> Iterator[None]:
        with self._plpy.subtransaction():
            yield

    def commit(self) -> None:
        try:
            self._plpy.commit()
            self._is_pinned = False
        except self._plpy.SPIError as exc:
            raise _translated(exc) from exc

    def rollback(self) -> None:
        try:
            self._plpy.rollback()
            self._is_pinned = False
        except self._plpy.SPIError as exc:
            raise _translated(exc) from exc

    def end_session(self, why: ArchitectError) -> NoReturn:
        self._plpy.fatal(OURS + why.message, sqlstate=why.sqlstate, detail=why.detail or "", hint=why.hint or "")
        raise why


class PsycopgDatabase:
    """``Database`` over a psycopg connection in autocommit mode (command line, tests)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, sql: str, *params: object) -> list[Row]:
        import psycopg
        from psycopg.rows import dict_row

        try:
            with psycopg.RawCursor(self._connection, row_factory=dict_row) as cursor:
                # Not prepared: safety.sandbox watches the prepared statements of the session.
                cursor.execute(sql, [_encode(value) for value in params] or None, prepare=False)
                return cursor.fetchall() if cursor.rownumber is not None else []  # rows may have no columns
        except psycopg.Error as exc:
            diag = exc.diag
            raise DatabaseError(
                exc.sqlstate or errors.EXTERNAL_ROUTINE_EXCEPTION,
                diag.message_primary or str(exc),
                hint=diag.message_hint,
                detail=diag.message_detail,
            ) from exc

    def query_typed(self, _sql: str, _types: Sequence[str], _values: Sequence[str | None]) -> list[Row]:
        raise ArchitectError(errors.FEATURE_NOT_SUPPORTED, "typed parameters need a session inside the server")

    def parse(self, sql: str) -> None:
        from psycopg.pq import DiagnosticField, ExecStatus

        result = self._connection.pgconn.prepare(b"", sql.encode())
        if result.status != ExecStatus.COMMAND_OK:
            sqlstate = result.error_field(DiagnosticField.SQLSTATE) or b""
            message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""
            raise DatabaseError(sqlstate.decode(), message.decode())

    def notice(self, message: str) -> None:
        print(message)  # noqa: T201  the command line is where this one speaks

    @contextlib.contextmanager
    def subtransaction(self) -> Iterator[None]:
        with self._connection.transaction():
            yield

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def end_session(self, why: ArchitectError) -> NoReturn:
        self._connection.close()
        raise why


def row_json(value: object) -> Any:
    """A json or jsonb column as Python data: plpy hands it over as text, psycopg as data already."""
    return json.loads(value) if isinstance(value, str) else value


T = TypeVar("T")


def call(plpy: Any, function: Callable[..., T], args: Sequence[Any], *, commits: bool) -> T:
    """Call ``function(db, *args)`` with ``plpy`` as the database, its errors raised as the server's own.

    ``commits``: whether it is the body of a procedure.
    """
    try:
        return function(PlpyDatabase(plpy, pins_path=commits), *args)
    except ArchitectError as exc:
        raise _server_error(plpy, exc) from None


def handled(exc: ArchitectError) -> bool:
    """Whether a handler may go on after this error; a cancel and a shutdown are always passed on."""
    return exc.sqlstate not in NEVER_HANDLED


def _server_error(plpy: Any, exc: ArchitectError) -> Exception:
    # With these two names PostgreSQL prints "pg_architect: message" instead of a Python path.
    kind = type(OURS.removesuffix(": "), (plpy.Error,), {"__module__": "builtins"})
    error: Exception = kind(exc.message)
    error.sqlstate = exc.sqlstate  # type: ignore[attr-defined]
    error.detail = exc.detail  # type: ignore[attr-defined]
    error.hint = exc.hint  # type: ignore[attr-defined]
    return error


def _translated(exc: Any) -> DatabaseError:
    sqlstate = getattr(exc, "sqlstate", None) or errors.EXTERNAL_ROUTINE_EXCEPTION
    detail = hint = None
    # (sqlerrcode, detail, hint, query, position, schema, table, column, datatype, constraint)
    spidata = getattr(exc, "spidata", None)
    if spidata:
        detail, hint = spidata[1], spidata[2]
    return DatabaseError(sqlstate, str(exc).removeprefix(OURS), detail=detail, hint=hint)


def _type_name(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint"
    if isinstance(value, float):
        return "double precision"
    if isinstance(value, (list, tuple)):
        return f"{_type_name(next((v for v in value if v is not None), ''))}[]"
    return "jsonb" if isinstance(value, dict) else "text"


def _encode(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, tuple):
        return list(value)
    return value


__all__: Sequence[str] = [
    "Database",
    "DatabaseError",
    "PlpyDatabase",
    "PsycopgDatabase",
    "Row",
    "call",
    "handled",
    "row_json",
]
