"""The run's own record: who asked, what each phase said."""

from __future__ import annotations

from dataclasses import dataclass

from pg_architect.core.db import Database
from pg_architect.core.errors import OBJECT_NOT_IN_PREREQUISITE_STATE, ArchitectError


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is under way in this session."""

    run_id: int
    requested_by: str
    dry_run: bool
    max_changes: int
    target_area: str | None

    def say(self, db: Database, phase: str, message: str, level: str = "info") -> None:
        """Log it, and tell the caller."""
        db.query(
            "insert into architect.run_log (run_id, phase, level, message) values ($1, $2, $3, $4)",
            self.run_id,
            phase,
            level,
            message,
        )
        db.notice(f"{phase}: {message}")


def timings(db: Database, run_id: int) -> str:
    """How long each phase took until its last word, in the order of the phases."""
    rows = db.query(
        """select l.phase, extract(epoch from max(l.logged_at)
                  - lag(max(l.logged_at), 1, r.started_at) over (order by max(l.entry_id)))::float8 as seconds
             from architect.run_log as l join architect.run as r using (run_id)
            where run_id = $1 group by l.phase, r.started_at order by max(l.entry_id)""",
        run_id,
    )
    return ", ".join(f"{row['phase']} {row['seconds']:.2f} s" for row in rows)


def running(db: Database, run_id: int) -> Run:
    """The run of that number, which must be this session's and still running."""
    rows = db.query(
        """select run_id, requested_by::text, dry_run, max_changes_per_run, target_area
             from architect.run
            where run_id = $1 and status = 'running'
              and requested_by = session_user and backend_pid = pg_backend_pid()""",
        run_id,
    )
    if not rows:
        raise ArchitectError(
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"run {run_id} is not running in this session",
            hint="Start a run with: call architect.sp_autonomous_improvement();",
        )
    row = rows[0]
    return Run(row["run_id"], row["requested_by"], row["dry_run"], row["max_changes_per_run"], row["target_area"])
