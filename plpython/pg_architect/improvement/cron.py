"""pg_cron as the executor: its background workers run committing procedures and concurrent builds without a credential.

Two jobs of architect_executor per proposal, both unscheduled as soon as they have served: one that calls
``architect._advance`` every minute, and one for the statement that cannot run inside a procedure.
"""

from __future__ import annotations

from pg_architect.core.db import Database

RUNNING = "running"


def step_job(proposal_id: int) -> str:
    return f"pg_architect {proposal_id} step"


def statement_job(proposal_id: int) -> str:
    return f"pg_architect {proposal_id} statement"


def start(db: Database, proposal_id: int) -> None:
    """Have a worker go on with the proposal every minute until it is done (runs as architect_executor)."""
    _schedule(db, step_job(proposal_id), f"call architect._advance({proposal_id}, null, 'pg_cron')")


def schedule_statement(db: Database, proposal_id: int, sql: str) -> None:
    """Run one statement at the next minute, as the whole command of a job: no transaction block is around it then."""
    # Anything older would be taken for the outcome of this one.
    _unschedule(db, statement_job(proposal_id))
    # At one minute of the year, at least 5 s ahead: a job of every minute would start again before it is unscheduled.
    once = db.query("select architect._next_cron_minute() as schedule")[0]["schedule"]
    _schedule(db, statement_job(proposal_id), sql, once)


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
    """Unschedule both jobs."""
    _unschedule(db, statement_job(proposal_id))
    _unschedule(db, step_job(proposal_id))


def _schedule(db: Database, name: str, command: str, schedule: str = "* * * * *") -> None:
    db.query("select cron.schedule($1, $2, $3)", name, schedule, command)


def _unschedule(db: Database, name: str) -> None:
    db.query("select cron.unschedule(jobid) from cron.job where jobname = $1 and username = current_user", name)
