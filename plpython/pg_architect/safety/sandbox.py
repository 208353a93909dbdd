"""Planning and running what was proved harmless, as if the proof could be wrong.

Between a proof and its use an owner may give the table an index expression of their own, and the planner would run it.
It could leave a deferred trigger on a temporary table behind, which fires at commit with the session's own rights. So
everything that plans or runs captured text happens in a read-only subtransaction that is always rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pg_architect.core.db import Database

T = TypeVar("T")


class _Undo(Exception):  # noqa: N818  not an error: how a subtransaction is told to roll back
    pass


def undone(db: Database, work: Callable[[], T]) -> T:
    """The result of ``work()``, whose every effect on the database is undone."""
    results: list[T] = []
    try:
        with db.subtransaction():
            # Ends with the subtransaction, and cannot be taken back inside it.
            db.query("select pg_catalog.set_config('transaction_read_only', 'on', true)")
            results.append(work())
            raise _Undo
    except _Undo:
        return results[0]
