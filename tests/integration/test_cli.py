"""The ``architect`` command as it is installed, against a private cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
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
        ("", [], 0),
        ("-- nothing yet\n", ["--fail-on", "needs_approval"], 0),
        (REFUSED, ["--ignore", "index-not-concurrent"], 0),
        (REFUSED, ["--ignore", "data-loss"], 2),
        (APPROVAL, ["--fail-on", "needs_approval", "--ignore", "data-loss", "--ignore", "no-way-back"], 1),
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


def test_files_in_order(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "301.sql").write_text("-- first\n\ncreate table public.made (id int primary key, note text)")
    (tmp_path / "302.sql").write_text("-- second\ncreate index on public.made (note);\nnonsense;\n")
    (tmp_path / "303.sql").write_text("alter table public.orders add column x int;")
    names = [str(tmp_path / f"{number}.sql") for number in (301, 302, 303)]
    done = run("judge", "--dsn", dsn, *names)
    assert "302.sql:2: refuse create_index — exists" in done.stdout
    done = run("judge", "--in-order", "--dsn", dsn, *names)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert lines[0].startswith(f"{names[0]}:3: allow create_table"), done.stdout + done.stderr
    assert lines[1].startswith(f"{names[1]}:2: ")
    assert "exists" not in lines[1]
    assert lines[2].startswith(f"{names[1]}:3: refuse")
    assert lines[3].startswith(f"{names[2]}:1: needs_approval")
    assert f"the statement of line 3 of {names[1]} cannot be followed" in lines[3]
    assert lines[4].startswith("4 statements: ")
    (tmp_path / "301.sql").write_text("select 'open")
    done = run("judge", "--in-order", "--dsn", dsn, *names)
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be judged in order" in done.stderr


def test_single_transactions_in_order(dsn: str, tmp_path: Path) -> None:
    for number in (1, 2):
        text = f"create table public.t{number} (id int); create index concurrently i{number} on public.t{number} (id);"
        (tmp_path / f"{number}.sql").write_text(text)
    names = [str(tmp_path / f"{number}.sql") for number in (1, 2)]
    done = run("judge", "--in-order", "--single-transaction", "--dsn", dsn, *names)
    assert done.stdout.count("concurrent-in-transaction") == 2, done.stdout
    assert run("judge", "--in-order", "--dsn", dsn, *names).returncode == 0


def test_acknowledged_in_the_file(dsn: str) -> None:
    script = (
        "-- architect: ignore index-not-concurrent because nobody is there at night\n"
        "create index on public.orders (status);\n"
        "alter table public.orders drop column status; -- architect: ignore data-loss because it is a copy\n"
        "create index on public.orders (status, id);\n"
    )
    done = run("judge", "-", "--json", "--dsn", dsn, text=script)
    rows = json.loads(done.stdout)
    assert (rows[0]["verdict"], rows[0]["effective_verdict"]) == ("refuse", "allow")
    ignored = {reason["rule"] for row in rows for reason in row["reasons"] if reason["ignored"]}
    assert ignored == {"index-not-concurrent", "data-loss"}
    assert rows[1]["effective_verdict"] == "needs_approval"
    assert done.returncode == 2  # the last one is not acknowledged
    done = run("judge", "-", "--dsn", dsn, text=script)
    assert "(ignored)" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[0].startswith("<stdin>:1: allow create_index") is False
    assert done.stdout.splitlines()[0].startswith("<stdin>:2: allow create_index")


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("select 1", ["--ignore", "no-such-rule"], "no-such-rule: architect.gate_rules lists them"),
        ("-- architect: ignore no-such-rule because x\nselect 1", [], "no-such-rule: architect.gate_rules lists them"),
        ("-- architect: ignore data-loss\nselect 1", [], "-:1: ignore needs a reason"),
        ("-- architect: ignores data-loss because x\nselect 1", [], "-:1: this is not understood"),
        ("-- architect: ignore data-loss because x\n\nselect 1", [], "-:1: no statement begins"),
        ("-- architect: script other\nselect 1", [], "give two files"),
    ],
)
def test_wrong_acknowledgements(dsn: str, script: str, args: list[str], message: str) -> None:
    done = run("judge", "-", "--dsn", dsn, *args, text=script)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert message in done.stderr


def test_a_comment_within_a_string_acknowledges_nothing(dsn: str) -> None:
    script = "create index on public.orders (status) where status <> '\n-- architect: ignore script because x\n'"
    assert run("judge", "-", "--dsn", dsn, text=script).returncode == 2


def test_the_forms_of_output(dsn: str) -> None:
    done = run("judge", "-", "--dsn", dsn, text=REFUSED)
    assert done.stdout.splitlines()[-1] == "3 statements: 1 refused, 2 allowed"
    assert "lock:" not in done.stdout
    done = run("judge", "-", "--verbose", "--dsn", dsn, text=REFUSED)
    assert "    lock: ShareLock on public.orders (blocks writes)" in done.stdout.splitlines()
    assert any(line.startswith("    takes: about ") for line in done.stdout.splitlines()), done.stdout
    done = run("judge", "-", "--format", "github", "--dsn", dsn, text=REFUSED + APPROVAL)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::error file=<stdin>,line=3,title=refuse create_index::index-not-concurrent: ")
    assert "%0Asafer: CREATE INDEX CONCURRENTLY" in lines[0]
    assert lines[1].startswith("::warning file=<stdin>,line=4,title=needs_approval drop_column::")
    assert lines[2] == "4 statements: 1 refused, 1 to approve, 2 allowed"
    assert done.returncode == 2


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "architect")
    assert done.stdout.split()[1][0].isdigit()


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
        (["judge", "-", "--format", "xml"], "--format"),
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


@pytest.fixture(scope="module")
def scratch(cluster_factory: Callable[..., Cluster]) -> str:
    """A server that may be thrown away."""
    other = cluster_factory()
    return f"host={other.socket} port={other.port} dbname=postgres user=postgres"


def superuser(dsn: str) -> str:
    return dsn.replace(f"user={OPERATOR}", "user=postgres")


def test_predictions_are_proved_on_a_copy(cluster: Cluster, dsn: str, scratch: str) -> None:
    script = """alter table public.orders add column note text;
        alter table public.orders add constraint known check (note <> '') not valid; vacuum public.orders"""
    done = run("judge", "-", "--prove", "--scratch-dsn", scratch, "--json", "--dsn", superuser(dsn), text=script)
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


def test_what_fails_and_what_is_refused_is_not_proved(dsn: str, scratch: str) -> None:
    script = "drop table public.orders; alter table public.orders alter column status type text using lower(status)"
    done = run("judge", "-", "--prove", "--scratch-dsn", scratch, "--dsn", superuser(dsn), text=script)
    assert done.returncode == 2
    assert "proved" not in done.stdout.splitlines()[1]


def test_proving_without_a_server_for_it(dsn: str, scratch: str) -> None:
    done = run("judge", "-", "--prove", "--dsn", dsn, text=SAFE)
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing can be proved: name a throw-away server with --scratch-dsn" in done.stderr
    with psycopg.connect(scratch, autocommit=True) as connection:
        connection.execute("create role nobody_much login")
    weak = scratch.replace("user=postgres", "user=nobody_much")
    done = run("judge", "-", "--prove", "--scratch-dsn", weak, "--dsn", dsn, text=SAFE)
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing can be proved: permission denied to create database" in done.stderr
