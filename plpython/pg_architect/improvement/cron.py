"""pg_cron as the executor: its background workers run committing procedures and concurrent builds without a credential.

Up to three jobs of architect_executor per proposal: one that calls ``architect._advance`` every minute until there is
nothing more to do, and two that run once, one for the statement that cannot run inside a procedure and one that watches
the measurement. A job that is unscheduled while it runs would be reported as canceled, so all go in a later minute.
"""

from __future__ import annotations

import time

from pg_architect.core.db import Database
from pg_architect.experiment.watch import POLL_SECONDS, TOGETHER_SECONDS, announce

RUNNING = "running"
# How long a watching worker waits for the other, which starts in the same minute.
IDLE_SECONDS = 10.0


def step_job(proposal_id: int) -> str:
    return f"pg_architect {proposal_id} step"


def watch_job(proposal_id: int) -> str:
    return f"pg_architect {proposal_id} watch"


def statement_job(proposal_id: int) -> str:
    return f"pg_architect {proposal_id} statement"


def start(db: Database, proposal_id: int) -> None:
    """Have a worker go on with the proposal every minute until it is done (runs as architect_executor)."""
    _schedule(db, step_job(proposal_id), f"call architect._advance({proposal_id}, null, 'pg_cron')")


def watch(db: Database, proposal_id: int) -> None:
    """Cancel a run of the replay that must end, as long as another worker is at work on the proposal."""
    begun, has_worked = time.monotonic(), False
    while True:
        at_work = db.query("select architect._is_at_work($1) as busy", proposal_id)[0]["busy"]
        if not at_work and (has_worked or time.monotonic() > begun + IDLE_SECONDS):
            return
        has_worked = at_work
        db.query("select architect._executor_interrupt($1)", proposal_id)
        db.commit()
        time.sleep(POLL_SECONDS)  # without a snapshot, which a concurrent build would wait for


def has_watch(db: Database, proposal_id: int) -> bool:
    """Whether a measurement may begin now: another worker watches. If not, one will in a minute."""
    if announce(db, proposal_id, 0.0, TOGETHER_SECONDS):
        return True
    schedule_watch(db, proposal_id, 1)
    return False


def schedule_watch(db: Database, proposal_id: int, minutes: int) -> None:
    """Have a worker watch in so many minutes, beside the one that works."""
    _schedule(db, watch_job(proposal_id), f"call architect._watch({proposal_id})", _once(db, minutes))


def schedule_statement(db: Database, proposal_id: int, sql: str) -> None:
    """Run one statement at the next minute, as the whole command of a job: no transaction block is around it then."""
    # Anything older would be taken for the outcome of this one.
    _unschedule(db, statement_job(proposal_id))
    _schedule(db, statement_job(proposal_id), sql, _once(db, 1))


def _once(db: Database, minutes: int) -> str:
    # One minute of the year, at least 5 s ahead: a job of every minute would start again before it is unscheduled.
    schedule: str = db.query("select architect._cron_minute($1::integer) as schedule", minutes)[0]["schedule"]
    return schedule


def outcome_of_statement(db: Database, proposal_id: int) -> str | None:
    """`RUNNING` while the job has not ended, its message when it failed, None when it succeeded or there is none."""
    rows = db.query(
        """select d.status, d.return_message
             from cron.job as j left join cron.job_run_details as d on d.jobid = j.jobid and d.start_time is not null
            where j.jobname = $1 and j.username = current_user
            order by d.runid limit 1""",
        statement_job(proposal_id),
    )
    if not rows:
        return None
    status = rows[0]["status"]
    if status not in ("succeeded", "failed"):
        return RUNNING
    _unschedule(db, statement_job(proposal_id))
    return None if status == "succeeded" else (rows[0]["return_message"] or "the pg_cron job failed").strip()


def forget(db: Database, proposal_id: int) -> None:
    """Unschedule all jobs; two of them have ended."""
    for job in (statement_job, watch_job, step_job):
        _unschedule(db, job(proposal_id))


def _schedule(db: Database, name: str, command: str, schedule: str = "* * * * *") -> None:
    db.query("select cron.schedule($1, $2, $3)", name, schedule, command)


def _unschedule(db: Database, name: str) -> None:
    db.query("select cron.unschedule(jobid) from cron.job where jobname = $1 and username = current_user", name)
