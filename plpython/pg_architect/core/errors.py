"""Errors that a user may see: one class, with the SQLSTATE, detail and hint that PostgreSQL will show."""

from __future__ import annotations


class ArchitectError(Exception):
    """A condition that the caller can understand and mend.

    ``message`` is lower case without a full stop; ``hint`` is a sentence that says what to do.
    ``core.db`` turns it into a server error at the boundary; outside the server it is raised as it is.
    """

    def __init__(self, sqlstate: str, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.hint = hint
        self.detail = detail


# SQLSTATEs, by PostgreSQL's own names (appendix A of its manual).
INVALID_PARAMETER_VALUE = "22023"
NO_DATA_FOUND = "P0002"
OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"
DUPLICATE_TABLE = "42P07"
OBJECT_IN_USE = "55006"
LOCK_NOT_AVAILABLE = "55P03"
INVALID_TRANSACTION_TERMINATION = "2D000"
INSUFFICIENT_PRIVILEGE = "42501"
FEATURE_NOT_SUPPORTED = "0A000"
QUERY_CANCELED = "57014"
ADMIN_SHUTDOWN = "57P01"
DATABASE_DROPPED = "57P04"
EXTERNAL_ROUTINE_EXCEPTION = "38000"
