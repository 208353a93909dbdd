"""Private PostgreSQL clusters for tests, over tools/cluster."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from support import errors_seen

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "architect_template"
PORT = 54330  # only names the socket

# Tests may lose their data; a server that crashes on purpose keeps what it wrote all the same. Autovacuum would run the
# code that hostile tables carry, as their owner, and is counted like everybody else.
FAST = {"fsync": "off", "max_connections": "60", "autovacuum": "off"}
DEFAULTS = {
    "shared_preload_libraries": "'pg_stat_statements'",
    "compute_query_id": "on",
    "pg_stat_statements.track": "all",
    "track_io_timing": "on",
}
WITH_CRON = {
    "shared_preload_libraries": "'pg_stat_statements,pg_cron'",
    "cron.use_background_workers": "on",
    "cron.database_name": "'postgres'",
}

_names = itertools.count(1)


class PsqlResult(NamedTuple):
    rc: int
    stdout: str
    stderr: str


class RecordingCursor(psycopg.Cursor[Any]):
    """A cursor that notes the errors of ours that it meets, for golden/errors.txt."""

    def execute(self, *args: Any, **kwargs: Any) -> RecordingCursor:
        try:
            super().execute(*args, **kwargs)
        except psycopg.Error as error:
            errors_seen.record(error.sqlstate, error.diag.message_primary, error.diag.context)
            raise
        return self


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running private cluster. With ``hba="stock"`` only ``psql`` reaches it, as the server's OS user."""

    directory: Path
    port: int = PORT
    hba: str = "trust"
    pg_config: str | None = None  # of another server installation; see copy_server
    server_user: str | None = field(default="postgres" if os.geteuid() == 0 else None)

    @property
    def socket(self) -> str:
        return str(self.directory / "socket")

    def tool(self, action: str, *args: str) -> None:
        """Run tools/cluster on this cluster; its message is the error's."""
        command = [str(ROOT / "tools/cluster"), action, str(self.directory), *args]
        env = {**os.environ, **({"PG_CONFIG": self.pg_config} if self.pg_config else {})}
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stdout}{done.stderr}")

    def start(self, conf: Mapping[str, str] | None = None, *, ident: str | None = None) -> None:
        """Start it, or make it first; ``conf`` is added to the tests' defaults."""
        settings = {**FAST, **DEFAULTS, **(conf or {})}
        options = [part for name, value in settings.items() for part in ("--conf", f"{name} = {value}")]
        with contextlib.ExitStack() as stack:
            for option, content in (("--hba", self.hba), ("--ident", ident)):
                if content is None:
                    continue
                if content not in ("trust", "stock"):  # the content of a file
                    file = stack.enter_context(tempfile.NamedTemporaryFile("w", dir="/var/tmp"))
                    file.write(content + "\n")
                    file.flush()
                    content = file.name
                options += [option, content]
            self.tool("start", "--port", str(self.port), *options)

    def connect(
        self, dbname: str = "postgres", user: str = "postgres", *, autocommit: bool = True, **options: Any
    ) -> psycopg.Connection[Any]:
        """A psycopg connection whose errors are recorded. It closes as a context manager."""
        connection = psycopg.connect(
            host=self.socket, port=self.port, dbname=dbname, user=user, autocommit=autocommit, **options
        )
        connection.cursor_factory = RecordingCursor
        return connection

    def psql(
        self, dbname: str, text: str, *, user: str = "postgres", timeout: float = 120, args: Sequence[str] = ()
    ) -> PsqlResult:
        """Run a script in psql: unaligned tuples, stops at the first error. Passwords and prompts never arise."""
        bindir = pg_config("--bindir")
        command = [f"{bindir}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-h", self.socket]
        command += ["-p", str(self.port), "-U", user, "-d", dbname, *args]
        if self.hba != "trust" and self.server_user:
            command = ["runuser", "-u", self.server_user, "--", *command]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, cwd="/var/tmp")
        errors_seen.record_psql(done.stderr)
        return PsqlResult(done.returncode, done.stdout, done.stderr)

    def run(self, program: str, *args: str, input: str | None = None) -> str:  # noqa: A002  (subprocess's own name)
        """Run one of PostgreSQL's programs (pg_dump, pgbench, …) as superuser; its output. Trust clusters only."""
        env = {**os.environ, "PGHOST": self.socket, "PGPORT": str(self.port), "PGUSER": "postgres"}
        command = [f"{pg_config('--bindir')}/{program}", *args]
        done = subprocess.run(command, input=input, capture_output=True, text=True, env=env, cwd="/var/tmp")
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
        return done.stdout

    def create_database(self, template: str = "template1", name: str | None = None) -> str:
        name = name or f"test_{next(_names)}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def make_template(self) -> None:
        """The database with all extensions that ``database`` clones."""
        self.create_database(name=TEMPLATE)
        with self.connect(TEMPLATE) as connection:
            install_extensions(connection)

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """A database of its own, gone afterwards."""
        name = self.create_database(template)
        try:
            yield name
        finally:
            self.drop_database(name)

    def remove(self) -> None:
        self.tool("remove")


def install_extensions(connection: psycopg.Connection[Any]) -> None:
    """pg_architect and what it uses where present."""
    connection.execute("create extension pg_architect cascade")
    connection.execute("create extension pg_stat_statements")
    if connection.execute("select from pg_available_extensions where name = 'hypopg'").fetchone() is not None:
        connection.execute("create extension hypopg")


def new_cluster(
    hba: str = "trust",
    conf: Mapping[str, str] | None = None,
    ident: str | None = None,
    pg_config: str | None = None,
) -> Cluster:
    """Make and start a cluster in a folder of its own. ``hba``: trust, stock, or the lines of a file."""
    directory = Path(tempfile.mkdtemp(prefix="pg_architect-test.", dir="/var/tmp"))
    cluster = Cluster(directory, hba=hba, pg_config=pg_config)
    try:
        cluster.start(conf, ident=ident)
    except BaseException:
        with contextlib.suppress(RuntimeError):
            cluster.remove()
        raise
    return cluster


_pg_config: dict[str, str] = {}


def pg_config(what: str) -> str:
    """An answer of pg_config, such as ``--bindir``."""
    if what not in _pg_config:
        program = subprocess.run([str(ROOT / "tools/pg-config")], capture_output=True, text=True, check=True)
        done = subprocess.run([program.stdout.strip(), what], capture_output=True, text=True, check=True)
        _pg_config[what] = done.stdout.strip()
    return _pg_config[what]


def copy_server(target: Path) -> str:
    """Copy the server installation without pg_architect, so that a test can install another one; its pg_config.

    PostgreSQL finds its libraries and scripts relative to its program, so that links do for all but the programs.
    """
    root = target.absolute()
    for option, ours in (("--bindir", ""), ("--pkglibdir", "pg_architect"), ("--sharedir", "extension")):
        source = Path(pg_config(option))
        _link(source, root / source.relative_to("/"), skip=ours, copy=option == "--bindir")
    extension = Path(pg_config("--sharedir")) / "extension"
    _link(extension, root / extension.relative_to("/"), skip="pg_architect", copy=False)
    root.chmod(0o755)
    return str(root / Path(pg_config("--bindir")).relative_to("/") / "pg_config")


def _link(source: Path, target: Path, *, skip: str, copy: bool) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if skip and (entry.name == skip or entry.name.startswith((f"{skip}-", f"{skip}."))):
            continue
        if copy:
            shutil.copy2(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry)
