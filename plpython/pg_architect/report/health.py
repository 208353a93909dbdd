"""``architect.check_health()``: what is missing or misconfigured here, and the command that mends it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

from pg_architect.core.db import Database, handled
from pg_architect.core.errors import ArchitectError
from pg_architect.core.words import counted
from pg_architect.improvement import executor


@dataclass(frozen=True, slots=True)
class Check:
    """One line: status is ok, info, warning or critical."""

    component: str
    status: str
    detail: str
    remedy: str | None = None


def check(db: Database) -> list[tuple[str, str, str, str | None]]:
    """Every check, the gravest first; one that fails says so and does not hide the others."""
    found: list[Check] = []
    for one in CHECKS:
        try:
            with db.subtransaction():
                found += list(one(db))
        except ArchitectError as exc:
            if not handled(exc):
                raise
            found.append(Check(one.__name__.strip("_"), "warning", f"could not be checked: {exc.message}", exc.hint))
    order = ("critical", "warning", "info", "ok")
    return [astuple(one) for one in sorted(found, key=lambda c: order.index(c.status))]


def _python(_db: Database) -> Iterator[Check]:
    import sys

    from pg_architect.safety import parse

    parse.parse_one("select 1")
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", "ok", f"Python {version}; the SQL parser is loaded")


def _statements(db: Database) -> Iterator[Check]:
    name = "pg_stat_statements"
    preloaded = _setting(db, "shared_preload_libraries")
    preloads = [part.strip(' "') for part in preloaded.split(",") if part.strip()]
    if name not in preloads:
        value = ", ".join([*preloads, name])
        yield Check(
            name,
            "critical",
            "not preloaded: the workload cannot be seen",
            f"alter system set shared_preload_libraries = {value}; -- then restart the server",
        )
    elif not _has_extension(db, name):
        yield Check(
            name, "critical", "not installed in this database: the workload cannot be seen", f"create extension {name};"
        )
    elif _setting(db, "compute_query_id") == "off":
        yield Check(
            name,
            "critical",
            "query ids are off",
            "alter system set compute_query_id = 'auto'; select pg_reload_conf();",
        )
    else:
        yield Check(name, "ok", "the workload can be seen")
    if _setting(db, "track_io_timing") == "off":
        yield Check(
            "track_io_timing",
            "info",
            "off: time spent on reading cannot be told from CPU time",
            "alter system set track_io_timing = on; select pg_reload_conf();",
        )


def _hypopg(db: Database) -> Iterator[Check]:
    if _has_extension(db, "hypopg"):
        yield Check("hypopg", "ok", "indexes can be tried before they exist")
    elif db.query("select from pg_available_extensions where name = 'hypopg'"):
        yield Check(
            "hypopg",
            "warning",
            "not installed in this database: effects cannot be predicted",
            "create extension hypopg;",
        )
    else:
        yield Check(
            "hypopg",
            "warning",
            "not on this server: effects cannot be predicted",
            f"Install the package postgresql-{_major(db)}-hypopg, then: create extension hypopg;",
        )


def _executor(db: Database) -> Iterator[Check]:
    if not _may_log_in(db):  # somebody's emergency stop; pg_hba.conf may be just as it should
        detail = f"approved changes have to be run by hand: {executor.ROLE} is not permitted to log in"
        yield Check("executor", "warning", detail, f"alter role {executor.ROLE} login;")
        return
    try:
        with executor.loopback(db, commits=False):
            yield Check("executor", "ok", f"{executor.ROLE} can be reached over the local socket")
            return
    except executor.UnreachableError as exc:
        reason = exc.message
    if db.query("select architect._cron_is_usable() as usable")[0]["usable"]:
        yield Check("executor", "ok", "pg_cron workers carry out changes, beginning at full minutes")
        return
    yield Check("executor", "warning", f"approved changes have to be run by hand: {reason}", _let_in_by_peer(db))


def _authentication(db: Database) -> Iterator[Check]:
    """Whoever is the executor holds the rights of the enrolled owners, and has nobody's approval to wait for."""
    lines = db.query("select file_name, line_number, line, is_local from architect._trusting_hba_lines()")
    for line in lines:
        reach = "reaches the socket" if line["is_local"] else "connects from there"
        instead = f'host "{_database(db)}" {executor.ROLE} all reject -- then: select pg_reload_conf();'
        yield Check(
            "pg_hba.conf",
            "warning",
            f"line {line['line_number']} of {line['file_name']} ({line['line']}) lets everybody who {reach} be "
            f"{executor.ROLE}, with the rights of the enrolled owners",
            _let_in_by_peer(db)
            if line["is_local"]
            else f"Put before the other lines of {line['file_name']}: {instead}",
        )
    if not lines:
        yield Check("pg_hba.conf", "ok", f"nobody can be {executor.ROLE} without showing who they are")


def _let_in_by_peer(db: Database) -> str:
    """What lets the server's own operating system user be the executor, and nobody else."""
    files = db.query("select current_setting('hba_file') as hba, current_setting('ident_file') as ident")[0]
    return (
        f'Put before the other lines of {files["hba"]}: local "{_database(db)}" {executor.ROLE} peer map=architect'
        f" -- and in {files['ident']}: architect {_os_user()} {executor.ROLE} -- then: select pg_reload_conf();"
    )


def _cron(db: Database) -> Iterator[Check]:
    if not _has_extension(db, "pg_cron"):
        where = _setting(db, "cron.database_name")
        elsewhere = where not in ("", _database(db))
        yield Check(
            "pg_cron",
            "info",
            f"{f'lives in database {where}' if elsewhere else 'not installed'}: it cannot be used as an executor here",
            _move_cron(db) if elsewhere else None,
        )
    elif _setting(db, "cron.use_background_workers") != "on":
        yield Check(
            "pg_cron",
            "info",
            "its jobs log in by password or peer instead of running in background workers",
            "alter system set cron.use_background_workers = on; -- then restart the server",
        )
    elif not _may_log_in(db):
        detail = f"{executor.ROLE} is not permitted to log in, which its jobs need"
        yield Check("pg_cron", "info", detail, f"alter role {executor.ROLE} login;")
    elif not db.query("select architect._cron_is_usable() as usable")[0]["usable"]:
        yield Check(
            "pg_cron", "info", "architect_executor may not use it", f"grant usage on schema cron to {executor.ROLE};"
        )
    else:
        yield Check("pg_cron", "ok", "its background workers can act as architect_executor")


def _move_cron(db: Database) -> str:
    name = db.query("select quote_literal(current_database()) as literal")[0]["literal"]
    return f"alter system set cron.database_name = {name}; -- then restart the server"


def _owners(db: Database) -> Iterator[Check]:
    rows = db.query(
        """select r.rolname::text as owner, r.rolsuper as is_superuser, count(*)::int as tables,
                  quote_literal(r.rolname) as literal, pg_has_role('architect_executor', r.oid, 'usage') as is_enrolled,
                  exists (select from architect.enrollments as e where e.role_name = r.rolname) as is_recorded,
                  string_agg(distinct missing, ' ') as grants,
                  count(distinct n.oid) filter (where missing is not null)::int as schemas,
                  count(missing)::int as unindexable
             from pg_class as c join pg_roles as r on r.oid = c.relowner
             join pg_namespace as n on n.oid = c.relnamespace
            cross join lateral architect._missing_create(c.oid) as missing
            where c.relkind = 'r' and not c.relispartition and c.relpersistence <> 't'
              and n.nspname not in ('pg_catalog', 'information_schema', 'architect')
              and not exists (select from pg_depend as d
                               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
            group by r.oid, r.rolname, r.rolsuper order by 3 desc limit 20"""
    )
    for row in rows:
        component = f"tables of {row['owner']}"
        tables = counted(row["tables"], "table")
        if row["is_superuser"]:
            yield Check(
                component,
                "warning",
                f"{tables} of a superuser, whose rights the executor cannot be given",
                "Let an ordinary role own them: alter table ... owner to ...;",
            )
        elif not row["is_enrolled"]:
            yield Check(
                component,
                "warning",
                f"{tables} can be looked at, but not changed: building an index needs the owner's rights",
                f"select architect.enroll({row['literal']});",
            )
        elif not row["is_recorded"]:
            yield Check(
                component,
                "warning",
                "architect_executor holds the rights of this owner, but nobody enrolled it in this database",
                f"Keep it: select architect.enroll({row['literal']}); "
                f"or take it back: select architect.withdraw({row['literal']});",
            )
        elif row["grants"]:
            where = "their schema" if row["schemas"] == 1 else f"their {row['schemas']} schemas"
            yield Check(
                component,
                "warning",
                f"{counted(row['unindexable'], 'table')}, but no index may be created in {where}: CREATE is missing",
                row["grants"],
            )
        else:
            yield Check(component, "ok", f"{tables} can be looked at and, after approval, indexed")


def _people(db: Database) -> Iterator[Check]:
    for role, purpose in (("architect_operator", "run the cycle"), ("architect_approver", "approve proposals")):
        members = db.query("select from pg_auth_members where roleid = $1::regrole", role)
        if not members:
            yield Check(
                role, "warning", f"nobody but superusers may {purpose}: no role is a member", f"grant {role} to ...;"
            )
        else:
            yield Check(role, "ok", f"{counted(len(members), 'role')} may {purpose}")


def _unfinished(db: Database) -> Iterator[Check]:
    rows = db.query(
        """select proposal_id, state, index_name::text as index_name from architect.proposal as p
            where deployment_id = architect._this_deployment()
              and state in ('deploying', 'deployed', 'verifying', 'reverting', 'revert_failed')
              and not architect._is_at_work(proposal_id)"""
    )
    for row in rows:
        undo = row["state"] in ("reverting", "revert_failed")
        call = "sp_rollback({0}, 'go on')" if undo else "sp_deploy_approved({0}, wait => '10 minutes')"
        yield Check(
            f"proposal {row['proposal_id']}",
            "critical",
            f"{row['state'].replace('_', ' ')}, and no session works on it (index {row['index_name']})",
            f"call architect.{call.format(row['proposal_id'])};",
        )


def _kept(db: Database) -> Iterator[Check]:
    """An index that somebody dropped, or that is not used any more, is on record as a change that is in place."""
    rows = db.query(
        """select p.proposal_id, p.index_name::text as name, p.relation_name, found.display
             from architect.proposal as p
             left join lateral (
               select format('%I.%I', n.nspname, c.relname) as display, i.indisvalid and i.indisready as is_valid
                 from pg_index as i join pg_class as c on c.oid = i.indexrelid
                 join pg_namespace as n on n.oid = c.relnamespace
                where i.indrelid = p.relation_oid
                  -- REINDEX CONCURRENTLY makes a new index, with the same comment
                  and (i.indexrelid = p.created_index_oid
                       or obj_description(c.oid, 'pg_class') = format('pg_architect proposal %s', p.proposal_id))
                order by is_valid desc limit 1) as found on true
            where p.deployment_id = architect._this_deployment() and p.state = 'kept' and found.is_valid is not true
            order by p.proposal_id"""
    )
    for row in rows:
        fault = "invalid" if row["display"] else "gone"
        undo = f"call architect.sp_rollback({row['proposal_id']}, 'the index is {fault}');"
        yield Check(
            f"proposal {row['proposal_id']}",
            "warning",
            f"kept, but its index {row['name']} of {row['relation_name']} is {fault}",
            f"reindex index concurrently {row['display']}; or undo it: {undo}" if row["display"] else undo,
        )


def _visibility(db: Database) -> Iterator[Check]:
    standby = db.query("select pg_is_in_recovery() as standby")[0]["standby"]
    if standby:
        yield Check("server", "critical", "this is a standby: nothing can be recorded here", "Use the primary.")


def _orphans(db: Database) -> Iterator[Check]:
    """An index under a work name that no proposal builds or drops now: its rights or its extension went meanwhile."""
    rows = db.query(
        """select format('%I.%I', n.nspname, c.relname) as display
             from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'i' and c.relname ~ '^architect_[0-9]+_[0-9a-f]{12}$'
              and not exists (select from architect.proposal as p
                               where p.deployment_id = architect._this_deployment() and p.work_name = c.relname
                                 and p.state in ('deploying', 'deployed', 'reverting', 'revert_failed', 'retry'))
            order by 1"""
    )
    for row in rows:
        detail = f"{row['display']} was left by a deployment that nobody goes on with"
        yield Check("left index", "warning", detail, f"drop index concurrently {row['display']};")


def _encoding(db: Database) -> Iterator[Check]:
    name = _setting(db, "server_encoding")
    if name not in ("UTF8", "SQL_ASCII"):
        detail = (
            f"{name}: PL/Python does not convert the text of statements: those outside ASCII cannot be planned here"
        )
        yield Check("encoding", "warning", detail, None)


CHECKS: tuple[Callable[[Database], Iterator[Check]], ...] = (
    _visibility,
    _python,
    _statements,
    _hypopg,
    _executor,
    _authentication,
    _cron,
    _owners,
    _people,
    _unfinished,
    _kept,
    _orphans,
    _encoding,
)


def _setting(db: Database, name: str) -> str:
    value: str | None = db.query("select current_setting($1, true) as value", name)[0]["value"]
    return value or ""


def _database(db: Database) -> str:
    return str(db.query("select current_database()::text as name")[0]["name"])


def _has_extension(db: Database, name: str) -> bool:
    return bool(db.query("select from pg_extension where extname = $1", name))


def _major(db: Database) -> int:
    return int(db.query("select current_setting('server_version_num')::int / 10000 as major")[0]["major"])


def _may_log_in(db: Database) -> bool:
    return bool(db.query("select from pg_roles where rolname = $1 and rolcanlogin", executor.ROLE))


def _os_user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
