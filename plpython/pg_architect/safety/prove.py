"""Predictions proved by doing: a script's statements run on an empty copy of the database's structure.

Used by the command line only: it creates and drops a scratch database, runs the statements in it one by one, and
compares the locks and new files that the server really took with what the gate said. What is refused is not run.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pg_architect.safety import locks

# Extensions whose objects the copy may need; this one is not judged, and not needed.
_NEVER_COPIED = ("plpgsql", "pg_architect")
_TIMEOUT = 60  # seconds for pg_dump, psql and each statement: nothing in the copy has rows

_SCHEMAS = """
select n.nspname::text as name
from pg_catalog.pg_namespace n
where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'architect') and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')
order by 1
"""
_EXTENSIONS = """
select e.extname::text as name, n.nspname::text as schema
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname <> all (%s)
order by e.oid
"""
_FILES = """
select format('%I.%I', n.nspname, c.relname) as name, c.relkind::text as kind, c.oid::bigint as oid,
    pg_catalog.pg_relation_filenode(c.oid)::bigint as file
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'v') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
_HELD = """
select l.relation::bigint as oid, l.mode
from pg_catalog.pg_locks l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
"""


class CannotProve(Exception):  # noqa: N818  what the person reads, in one line
    """Why nothing can be proved."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the server did: locks on relations that were there before, those that got a new file, or its error.

    ``surprises`` is in what it did more than the gate had said.
    """

    locks: Mapping[str, str]
    rewritten: Sequence[str]
    surprises: Sequence[str]
    error: str | None = None


def prove(dsn: str, scratch_dsn: str, rows: Sequence[Mapping[str, Any]]) -> list[Proof | None]:
    """A proof for each row of judge_script, None where it was refused; CannotProve if there can be no copy.

    ``dsn`` is the judged database, ``scratch_dsn`` a throw-away server for the copy: restoring a structure runs code of
    whoever made it (a domain's check in a partition bound, say) with the rights of this connection.
    """
    _check_other_server(dsn, scratch_dsn)
    with _copy(dsn, scratch_dsn) as connection:
        return [None if row["verdict"] == "refuse" or not row["apply_sql"] else _try(connection, row) for row in rows]


def _check_other_server(dsn: str, scratch_dsn: str) -> None:
    import psycopg

    if not scratch_dsn:
        raise CannotProve("name a throw-away server with --scratch-dsn: code of the database's own runs there")
    try:
        systems = []
        for server in (dsn, scratch_dsn):
            with psycopg.connect(server, autocommit=True) as connection:
                row = connection.execute("select system_identifier from pg_catalog.pg_control_system()").fetchone()
                systems.append(row)
    except psycopg.Error as exc:
        raise CannotProve(" ".join(str(exc.diag.message_primary or exc).split())) from exc
    if systems[0] == systems[1]:
        raise CannotProve("--scratch-dsn is the judged server: code of the database's own would run there")


def _try(connection: Any, row: Mapping[str, Any]) -> Proof:
    import psycopg

    before = {one["oid"]: one for one in connection.execute(_FILES).fetchall()}
    held: list[dict[str, Any]] = []
    try:
        if row["needs_own_transaction"]:
            connection.execute(row["apply_sql"])
        else:
            with connection.transaction():
                connection.execute(row["apply_sql"])
                held = connection.execute(_HELD).fetchall()
    except psycopg.Error as exc:
        return Proof({}, (), (), str(exc.diag.message_primary or exc))
    after = {one["oid"]: one["file"] for one in connection.execute(_FILES).fetchall()}
    taken: dict[str, str] = {}
    for lock in held:
        if lock["oid"] in before:
            name = before[lock["oid"]]["name"]
            taken[name] = max(taken.get(name, lock["mode"]), lock["mode"], key=locks.strength)
    rewritten = [one["name"] for oid, one in before.items() if oid in after and after[oid] != one["file"]]
    return Proof(taken, rewritten, _surprises(row, taken, rewritten))


def _surprises(row: Mapping[str, Any], taken: Mapping[str, str], rewritten: Sequence[str]) -> list[str]:
    said = row["objects"].get("locks", {})
    found = [
        f"{name} is locked by {mode}, not {said.get(name, 'at all')}"
        for name, mode in taken.items()
        # A lock that lets everybody read and write surprises nobody.
        if locks.blocks_writes(mode) and locks.strength(mode) > locks.strength(said.get(name))
    ]
    if rewritten and not row["rewrites"]:
        found.append(f"{', '.join(rewritten)} is written anew")
    return found


@contextmanager
def _copy(dsn: str, scratch_dsn: str) -> Iterator[Any]:
    """A connection to a new database with the structure of the judged one; it is dropped at the end."""
    import psycopg
    from psycopg import conninfo, sql
    from psycopg.rows import dict_row

    name = f"architect_prove_{secrets.token_hex(6)}"
    try:
        with psycopg.connect(scratch_dsn, autocommit=True) as maintenance:
            maintenance.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
            try:
                target = conninfo.make_conninfo(scratch_dsn, dbname=name)
                _fill(dsn, target)
                with psycopg.connect(target, autocommit=True, row_factory=dict_row) as connection:
                    connection.execute(f"set statement_timeout = '{_TIMEOUT}s'")
                    connection.execute("set search_path = pg_catalog, pg_temp")
                    yield connection
            finally:
                maintenance.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    except psycopg.Error as exc:
        raise CannotProve(" ".join(str(exc.diag.message_primary or exc).split())) from exc


def _fill(dsn: str, target: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(dsn, autocommit=True) as source:
        schemas = [row[0] for row in source.execute(_SCHEMAS).fetchall()]
        extensions = source.execute(_EXTENSIONS, (list(_NEVER_COPIED),)).fetchall()
    with psycopg.connect(target, autocommit=True) as copy:
        for extension, schema in extensions:
            where: sql.Composable = sql.SQL("")
            if schema != "pg_catalog":  # where some belong by their own decree
                copy.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
                where = sql.SQL("schema {}").format(sql.Identifier(schema))
            make = sql.SQL("create extension if not exists {} {} cascade")
            copy.execute(make.format(sql.Identifier(extension), where))
    dump = [_program("pg_dump"), "--schema-only", "--no-owner", "--no-privileges", "--no-publications"]
    dump += [f'--schema="{schema}"' for schema in schemas]
    text = _run([*dump, "--dbname", dsn or "dbname="], None)
    # CREATE SCHEMA public fails where it is there: the rest has to succeed.
    text = text.replace("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ")
    _run([_program("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "--dbname", target], text)


def _program(name: str) -> str:
    """A program of PostgreSQL: the one beside this command, else the one of PATH."""
    beside = Path(sys.argv[0]).resolve().with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CannotProve(f"{name} is not found: it makes the copy")
    return found


def _run(command: Sequence[str], text: str | None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as exc:
        raise CannotProve(f"{Path(command[0]).name} took longer than {_TIMEOUT} s") from exc
    if done.returncode:
        raise CannotProve(f"{Path(command[0]).name}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout
