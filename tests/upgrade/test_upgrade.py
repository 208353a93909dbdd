"""An upgrade ends where a fresh installation ends, and a running session gets the new code.

The next version is made up: this tree with one more migration. Both are installed in a private copy of the server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import catalogue
from support.cluster import ROOT, Cluster, copy_server, new_cluster

CURRENT = re.search(r"default_version = '(.*)'", (ROOT / "pg_architect.control").read_text())[1]  # type: ignore[index]
NEXT = "999.0.0"

ANSWER = """
create or replace function architect.synthetic_answer() returns int
language plpython3u volatile parallel unsafe set search_path = pg_catalog, pg_temp as $python$
LOAD
return api.run(plpy, "synthetic", "answer")
$python$;
comment on function architect.synthetic_answer() is 'For tests.';
""".replace(
    "LOAD",
    'api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") '
    'and GD["pg_architect @EXTVERSION@"]',
)
# The comment of id comes from the table (sql/980_view_comments.sql); the next version no longer states that of answer.
VIEW = """
create or replace view architect.synthetics with (security_invoker = true) as
select id, architect.synthetic_answer() as answer from architect.synthetic;
"""
NEW_FUNCTION = """
create or replace function architect.synthetic_new() returns int language sql immutable parallel unsafe
set search_path = pg_catalog, pg_temp return 1;
"""
VIEW_COMMENT = "comment on column architect.synthetics.answer is 'For tests.';"
FIRST_MIGRATION = """
create table architect.synthetic (id int generated always as identity primary key, gone int);
comment on table architect.synthetic is 'For tests.';
comment on column architect.synthetic.id is 'Before.';
create function architect.synthetic_gone() returns int language sql immutable parallel unsafe
set search_path = pg_catalog, pg_temp return 1;
"""
NEXT_MIGRATION = """
alter table architect.synthetic add column added text not null default 'x' check (added <> ''), drop column gone;
create table architect.synthetic_child (
  id int primary key references architect.synthetic, number int generated always as identity
);
comment on table architect.synthetic_child is 'For tests.';
drop function architect.synthetic_gone();
comment on column architect.synthetic.id is 'After.';
"""


@pytest.fixture(scope="module")
def two_versions() -> Iterator[Cluster]:
    """A cluster whose server has two versions of the extension installed."""
    directory = Path(tempfile.mkdtemp(prefix="pg_architect-upgrade.", dir="/var/tmp"))
    cluster = None
    try:
        pg_config = copy_server(directory)
        tree = copy_tree(directory / "tree")
        write(tree / f"migrations/{CURRENT}/999_core_synthetic.sql", FIRST_MIGRATION)
        write(tree / "sql/core/synthetic.sql", ANSWER + VIEW + VIEW_COMMENT)
        install(tree, pg_config, answer=1)
        write(tree / f"migrations/{NEXT}/010_core_synthetic.sql", NEXT_MIGRATION)
        write(tree / "sql/core/synthetic.sql", ANSWER + VIEW + NEW_FUNCTION)
        control = tree / "pg_architect.control"
        control.write_text(control.read_text().replace(f"'{CURRENT}'", f"'{NEXT}'"))
        install(tree, pg_config, answer=2)
        cluster = new_cluster(pg_config=pg_config)
        yield cluster
    finally:
        if cluster:
            cluster.remove()
        shutil.rmtree(directory)


def copy_tree(target: Path) -> Path:
    for name in ("Makefile", "pgxs.mk", "pg_architect.control", "tools", "sql", "migrations", "plpython", "build"):
        source = ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("venv", "__pycache__", "*.sql.part")
            shutil.copytree(source, target / name, ignore=skip)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def install(tree: Path, pg_config: str, *, answer: int) -> None:
    write(tree / "plpython/pg_architect/synthetic.py", f"def answer(db):\n    return {answer}\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-s", "install", f"PG_CONFIG={pg_config}"]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def everything(cluster: Cluster, database: str) -> list[str]:
    queries = (catalogue.OBJECTS, catalogue.PRIVILEGES, catalogue.SCHEMA, catalogue.BODIES)
    with cluster.connect(database) as connection:
        return [line for query in queries for line in catalogue.lines(connection, query)]


def view_comments(cluster: Cluster, database: str) -> list[str | None]:
    with cluster.connect(database) as connection:
        rows = connection.execute(
            "select col_description(attrelid, attnum) from pg_attribute"
            " where attrelid = 'architect.synthetics'::regclass and attnum > 0 order by attnum"
        ).fetchall()
    return [comment for (comment,) in rows]


def test_upgrade_ends_like_a_fresh_installation(two_versions: Cluster) -> None:
    with two_versions.database("template1") as fresh, two_versions.database("template1") as upgraded:
        with two_versions.connect(fresh) as connection:
            connection.execute("create extension pg_architect cascade")
        with two_versions.connect(upgraded) as connection:
            connection.execute(f"create extension pg_architect version '{CURRENT}' cascade")
            before = everything(two_versions, upgraded)
            assert view_comments(two_versions, upgraded) == ["Before.", "For tests."]
            connection.execute("alter extension pg_architect update")
        assert view_comments(two_versions, upgraded) == ["After.", None]
        after = everything(two_versions, upgraded)
        assert any("synthetic_child" in line for line in after)
        assert after != before
        assert after == everything(two_versions, fresh)


NEW = ("synthetic_child", "synthetic_new")  # what the next version creates; the child's sequence has its name
DEFAULT_PRIVILEGES = """
create extension pg_stat_statements;
alter default privileges grant all on tables to t_reader;
alter default privileges in schema architect grant all on sequences to t_reader, public;
alter default privileges in schema architect grant execute on routines to t_reader with grant option;
alter default privileges revoke execute on functions from public;
alter default privileges grant all on schemas to t_reader;
"""
DBA = """
grant usage on schema architect to t_reader;
grant select on architect.synthetic, architect.synthetics, architect.proposal to t_reader;
grant usage on sequence architect.synthetic_id_seq to t_reader;
grant execute on function architect.synthetic_answer(), architect.check_health() to t_reader, public;
grant select (happened_at) on architect.proposal_event to t_reader;
revoke select on architect.proposal from architect_viewer;
revoke execute on function architect.approve from architect_approver;
revoke usage on schema architect from architect_viewer;
"""


def test_an_upgrade_keeps_what_a_dba_granted(two_versions: Cluster) -> None:
    """New objects get our privileges whatever the default ones are; others keep theirs, also in a dump."""
    with two_versions.connect() as connection:
        connection.execute("create role t_reader")
    with two_versions.database("template1") as fresh, two_versions.connect(fresh) as connection:
        connection.execute("create extension pg_architect cascade")
        wanted = {line for line in catalogue.lines(connection, catalogue.PRIVILEGES) if any(n in line for n in NEW)}
    with two_versions.database("template1") as name, two_versions.database("template1") as restored:
        with two_versions.connect(name) as connection:
            connection.execute(f"create extension pg_architect version '{CURRENT}' cascade")
            connection.execute(DEFAULT_PRIVILEGES)
            connection.execute(DBA)
            before = set(catalogue.lines(connection, catalogue.PRIVILEGES))
            connection.execute("alter extension pg_architect update")
            after = set(catalogue.lines(connection, catalogue.PRIVILEGES))
        assert len(wanted) == 3
        assert after - before == wanted
        assert all("synthetic_gone" in line for line in before - after)
        assert two_versions.psql(restored, two_versions.run("pg_dump", name)).rc == 0
        with two_versions.connect(restored) as connection:
            assert set(catalogue.lines(connection, catalogue.PRIVILEGES)) == after


def test_a_session_gets_the_new_code(two_versions: Cluster) -> None:
    with two_versions.database("template1") as name, two_versions.connect(name) as connection:
        connection.execute(f"create extension pg_architect version '{CURRENT}' cascade")
        question = "select architect.synthetic_answer()"
        assert connection.execute(question).fetchone() == (1,)
        connection.execute("alter extension pg_architect update")
        assert connection.execute(question).fetchone() == (2,)
        paths = connection.execute(
            "create function pg_temp.paths() returns text[] language plpython3u"
            " as $$import sys; return [p for p in sys.path if 'pg_architect' in p]$$; select pg_temp.paths()"
        )
        paths.nextset()
        ours = paths.fetchone()
        assert ours is not None
        assert [Path(path).name.partition("-")[0] for path in ours[0]] == [NEXT, "deps"]


def test_updating_twice_changes_nothing(two_versions: Cluster) -> None:
    with two_versions.database("template1") as name:
        with two_versions.connect(name) as connection:
            connection.execute("create extension pg_architect cascade")
            before = everything(two_versions, name)
            connection.execute("alter extension pg_architect update")
        assert everything(two_versions, name) == before


def test_install_honours_destdir(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-s", "install", f"DESTDIR={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"pg_architect.control", f"pg_architect--{CURRENT}.sql", "deps.txt", "api.py"} <= names
