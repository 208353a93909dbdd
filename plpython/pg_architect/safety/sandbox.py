"""Planning and running what was proved harmless, as if the proof could be wrong.

Between a proof and its use an owner may give a table an index expression of their own, or put a view in its place, and
the planner would run what is in it. So everything that plans or runs captured text

- holds the rights of the statement's author and no other, so that code of others gains nothing by it, and
- happens in a subtransaction that is read-only and always rolled back: a deferred trigger that was left on a temporary
  table would else fire at commit, with the session's own rights. Prepared statements outlive a rollback, and the
  session would execute one of somebody else's making with its own rights: where they were changed it is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pg_architect.core import errors
from pg_architect.core.db import Database, Row, handled
from pg_architect.core.errors import ArchitectError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Author:
    """Whose rights a statement is planned with, and the tables (by OID) that it was proved to read."""

    role_oid: int
    relation_oids: tuple[int, ...]


class NotLentError(ArchitectError):
    """The author's rights cannot be had; the message is ours and may be shown."""


class _Undo(Exception):  # noqa: N818  not an error: how a subtransaction is told to roll back
    pass


def lend(db: Database, author: Author) -> None:
    """Give architect_planner the author's rights in this transaction, which must be rolled back."""
    try:
        db.query("select architect._lend_rights($1::oid, $2::oid[])", author.role_oid, _texts(author.relation_oids))
    except ArchitectError as exc:
        if not handled(exc):
            raise
        raise NotLentError(exc.sqlstate, exc.message, hint=exc.hint) from exc


def read_only(call: str) -> str:
    """An SQL expression that evaluates ``call`` in a transaction that is read-only from here on.

    PL/Python runs each statement in a subtransaction, at whose end this setting is lost: both have to be one statement.
    A function may not set it either (PostgreSQL 16). CASE forces the order of evaluation.
    """
    return f"case when pg_catalog.set_config('transaction_read_only', 'on', true) = 'on' then {call} end"


def confined(db: Database, work: Callable[[], T]) -> T:
    """The inside of a function of architect_planner: ``undone``, and refused (55000) where it could write."""
    if db.query("select pg_catalog.current_setting('transaction_read_only') as it")[0]["it"] != "on":
        raise ArchitectError(
            errors.OBJECT_NOT_IN_PREREQUISITE_STATE,
            "nothing is planned in a transaction that may write",
            hint="Run: set transaction read only; before it.",
        )
    before = _prepared_statements(db)
    try:
        return undone(db, work)
    finally:
        if _prepared_statements(db) != before:
            db.end_session(
                ArchitectError(
                    errors.INSUFFICIENT_PRIVILEGE,
                    "the code of others changed the prepared statements of this session, which is ended",
                    hint="Look for a table that its owner has just replaced by a view; the server's log has the time.",
                )
            )


def undone(db: Database, work: Callable[[], T], author: Author | None = None) -> T:
    """The result of ``work()``, whose every effect on the database is undone; with ``author`` their rights are lent."""
    results: list[T] = []
    try:
        with db.subtransaction():
            if author is not None:
                lend(db, author)
            results.append(work())
            raise _Undo
    except _Undo:
        return results[0]


def _prepared_statements(db: Database) -> list[Row]:
    return db.query(
        "select name, statement, prepare_time::text as at, parameter_types::text as types"
        " from pg_catalog.pg_prepared_statements order by name"
    )


def refusal(exc: ArchitectError) -> str:
    """Why a captured statement could not be planned or run. A message could be written by code that it reached."""
    return exc.message if isinstance(exc, NotLentError) else f"the server refuses it (SQLSTATE {exc.sqlstate})"


def _texts(oids: Sequence[int]) -> list[str]:
    return [str(oid) for oid in oids]
