"""The ``architect`` command as it is installed, against a private cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support import people
from support.cluster import Cluster, pg_config
from support.people import OPERATOR, VIEWER

SAFE = "set lock_timeout = '2s';\n\nalter table public.orders\n  add column note text;\n"
APPROVAL = "alter table public.orders drop column status;"
REFUSED = "select 1;\ncreate table public.new (a int primary key);\ncreate index on public.orders (status);\n"


@pytest.fixture
def dsn(cluster: Cluster, database: str) -> str:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        connection.execute("""
            create table public.orders (id int primary key, status text);
            insert into public.orders select i, 'new' from generate_series(1, 100000) as i;
            analyze public.orders;
            select architect.set_setting('scan_mb_per_second', '1');
            select architect.set_setting('max_blocked_seconds', '1')""")
    return f"host={cluster.socket} port={cluster.port} dbname={database} user={OPERATOR}"


def run(*args: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    command = [str(Path(pg_config("--bindir")) / "architect"), *args]
    return subprocess.run(command, input=text, capture_output=True, text=True, env={**clean, **env}, timeout=60)


@pytest.mark.parametrize(
    ("script", "args", "code"),
    [
        (SAFE, [], 0),
        (APPROVAL, [], 0),
        (APPROVAL, ["--fail-on", "needs_approval"], 1),
        (SAFE, ["--fail-on", "needs_approval"], 0),
        (REFUSED, [], 2),
        (APPROVAL + REFUSED, ["--fail-on", "needs_approval"], 2),
        ("create index concurrently i on public.orders (status)", ["--no-single-transaction"], 0),
        ("create index concurrently i on public.orders (status)", ["--single-transaction"], 2),
        ("", [], 2),
    ],
)
def test_exit_codes(dsn: str, script: str, args: list[str], code: int) -> None:
    done = run("judge", "-", "--dsn", dsn, *args, text=script)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""


def test_what_is_printed(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text(SAFE)
    (tmp_path / "two.sql").write_text("\n-- create index on public.orders (status);\n" + REFUSED)
    done = run("judge", str(tmp_path / "one.sql"), str(tmp_path / "two.sql"), "--dsn", dsn)
    assert done.returncode == 2, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/one.sql:1: allow set_timeout"
    assert lines[1] == f"{tmp_path}/one.sql:3: allow add_column"
    assert lines[3] == f"{tmp_path}/two.sql:4: allow create_table"
    assert lines[4].startswith(f"{tmp_path}/two.sql:5: refuse create_index — index-not-concurrent: the build blocks")
    assert any(line.startswith("    safer: CREATE INDEX CONCURRENTLY") for line in lines), done.stdout
    assert "\033" not in done.stdout


def test_json(dsn: str) -> None:
    done = run("judge", "-", "--dsn", dsn, "--json", text=REFUSED)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == 2
    assert [(row["file"], row["number"], row["line"], row["verdict"]) for row in rows] == [
        ("-", 1, 1, "allow"), ("-", 2, 2, "allow"), ("-", 3, 3, "refuse"),
    ]  # fmt: skip
    assert rows[2]["reasons"][0]["rule"]
    assert rows[2]["estimated_seconds"] > 1


def test_the_environment_of_libpq(dsn: str, cluster: Cluster, database: str) -> None:
    env = {"PGHOST": cluster.socket, "PGPORT": str(cluster.port), "PGDATABASE": database, "PGUSER": OPERATOR}
    assert run("judge", "-", text=SAFE, **env).returncode == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["judge"], "FILE"),
        (["judge", "-", "--fail-on", "never"], "--fail-on"),
        (["judge", "/does/not/exist.sql"], "cannot read /does/not/exist.sql: No such file or directory"),
        (["judge", "-", "--dsn", "host=/nowhere port=1"], "connection"),
        (["judge", "-", "--dsn", "nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_and_no_server(args: list[str], message: str) -> None:
    done = run(*args)
    assert done.returncode == 3
    assert done.stderr.startswith("architect: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_database_without_the_extension_and_a_role_without_rights(dsn: str, cluster: Cluster, database: str) -> None:
    base = f"host={cluster.socket} port={cluster.port}"
    done = run("judge", "-", "--dsn", f"{base} dbname=postgres user=postgres", text=SAFE)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "create extension pg_architect" in done.stderr
    done = run("judge", "-", "--dsn", f"{base} dbname={database} user={VIEWER}", text=SAFE)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "architect_operator" in done.stderr


def test_text_that_cannot_be_sent(dsn: str, tmp_path: Path) -> None:
    for content in (b"select '\xff'", b"select '\0'"):
        (tmp_path / "bad.sql").write_bytes(content)
        done = run("judge", str(tmp_path / "bad.sql"), "--dsn", dsn)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr


def test_help() -> None:
    done = run("judge", "--help")
    assert done.returncode == 0
    assert "--single-transaction" in done.stdout


def superuser(dsn: str) -> str:
    return dsn.replace(f"user={OPERATOR}", "user=postgres")


def test_predictions_are_proved_on_a_copy(cluster: Cluster, dsn: str) -> None:
    script = """alter table public.orders add column note text;
        alter table public.orders add constraint known check (note <> '') not valid; vacuum public.orders"""
    done = run("judge", "-", "--prove", "--json", "--dsn", superuser(dsn), text=script)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, third = (row["proof"] for row in json.loads(done.stdout))
    assert first["locks"] == {"public.orders": "AccessExclusiveLock"}
    assert second["locks"]["public.orders"] == "AccessExclusiveLock"
    assert [one["error"] for one in (first, second, third)] == [None] * 3
    assert [one["surprises"] for one in (first, second, third)] == [[]] * 3
    with cluster.connect() as connection:
        assert connection.execute("select count(*) from pg_database where datname ~ 'prove'").fetchone() == (0,)
    assert not [column for column in columns(cluster, dsn) if column == "note"]


def columns(cluster: Cluster, dsn: str) -> list[str]:
    name = dsn.split("dbname=")[1].split()[0]
    with cluster.connect(name) as connection:
        rows = connection.execute("select attname from pg_attribute where attrelid = 'public.orders'::regclass")
        return [row[0] for row in rows.fetchall()]


def test_what_fails_and_what_is_refused_is_not_proved(dsn: str) -> None:
    script = "drop table public.orders; alter table public.orders alter column status type text using lower(status)"
    done = run("judge", "-", "--prove", "--dsn", superuser(dsn), text=script)
    assert done.returncode == 2
    assert "proved" not in done.stdout.splitlines()[1]


def test_proving_without_the_right_to_make_databases(dsn: str) -> None:
    done = run("judge", "-", "--prove", "--dsn", dsn, text=SAFE)
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing can be proved: permission denied to create database" in done.stderr
