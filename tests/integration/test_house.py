"""Rules about the catalogue and the code that no single feature's test would notice."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from support.cluster import ROOT, WITH_CRON, Cluster, pg_config

PACKAGE = ROOT / "plpython/pg_architect"
VERSION = next(
    line.split("'")[1]
    for line in (ROOT / "pg_architect.control").read_text().splitlines()
    if line.startswith("default_version")
)
LOAD = (
    f'api = GD.get("pg_architect {VERSION}") or plpy.execute("select architect._load()") '
    f'and GD["pg_architect {VERSION}"]'
)


def test_python_bodies_are_load_and_call(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        bodies = connection.execute(
            "select p.oid::regprocedure::text, prosrc from pg_proc as p join pg_language as l on l.oid = prolang"
            " where pronamespace = 'architect'::regnamespace and lanname = 'plpython3u' and proname <> '_load'"
        ).fetchall()
    assert bodies
    wrong = []
    for name, source in bodies:
        lines = source.strip().splitlines()
        if len(lines) != 2 or lines[0] != LOAD or not lines[1].startswith(("return api.", "api.")):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize(
    ("rule", "exceptions"),
    [
        # Below PostgreSQL 17 a parallel-safe PL/Python function that enters SPI breaks the session's later ones.
        ("lanname = 'plpython3u' and proparallel <> 'u'", "parallel unsafe"),
        ("obj_description(p.oid, 'pg_proc') is null", "commented"),
        # A procedure that commits may not have a SET clause: it sets the path inside.
        (
            "prokind <> 'p' and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)",
            "with a pinned search path",
        ),
        ("proowner <> 'architect_owner'::regrole and not prosecdef and proname <> '_load'", "owned by architect_owner"),
        ("prokind = 'p' and prosecdef", "no definer where it may commit"),
    ],
)
def test_functions_are(cluster: Cluster, database: str, rule: str, exceptions: str) -> None:
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select p.oid::regprocedure::text from pg_proc as p join pg_language as l on l.oid = prolang"
            f" where pronamespace = 'architect'::regnamespace and {rule} order by 1"
        ).fetchall()
    assert [name for (name,) in wrong] == [], f"not {exceptions}"


def test_relations_are_commented(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select oid::regclass::text from pg_class where relnamespace = 'architect'::regnamespace"
            " and relkind in ('r', 'p', 'v', 'm') and obj_description(oid, 'pg_class') is null order by 1"
        ).fetchall()
    assert wrong == []


def test_columns_are_commented(cluster: Cluster, database: str) -> None:
    """A view's column may have the comment of the table's column that it passes on, by sql/980_view_comments.sql."""
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select format('%s.%I', attrelid::regclass, attname)"
            " from pg_attribute as a join pg_class as c on c.oid = attrelid"
            " where relnamespace = 'architect'::regnamespace and relkind in ('r', 'p', 'v', 'm')"
            " and attnum > 0 and not attisdropped"
            " and coalesce(btrim(col_description(attrelid, attnum)), '') = '' order by 1"
        ).fetchall()
    assert [name for (name,) in wrong] == []


def test_views_run_with_the_rights_of_who_asks(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select oid::regclass::text from pg_class where relnamespace = 'architect'::regnamespace and relkind = 'v'"
            " and not coalesce('security_invoker=true' = any (reloptions), false) order by 1"
        ).fetchall()
    assert wrong == []


def test_every_table_is_dumped(cluster: Cluster, database: str) -> None:
    """Tables of an extension are left out of a dump, with their identity sequences, unless it says otherwise."""
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select c.oid::regclass::text from pg_class as c, pg_extension as e"
            " where e.extname = 'pg_architect' and relnamespace = 'architect'::regnamespace"
            " and relkind in ('r', 'p', 'S') and not c.oid = any (coalesce(extconfig, '{}')) order by 1"
        ).fetchall()
    # What is being measured now, and what no transaction that wrote to it can commit.
    assert wrong == [("architect.must_roll_back",), ("architect.replay",), ("architect.replay_statement",)]


def test_public_gets_nothing(cluster: Cluster, database: str) -> None:
    """Not even EXECUTE, which every new function gives to PUBLIC unless it is revoked."""
    with cluster.connect(database) as connection:
        wrong = connection.execute(
            "select oid::regprocedure::text from pg_proc where pronamespace = 'architect'::regnamespace"
            " and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))"
            " union all select oid::regclass::text from pg_class where relnamespace = 'architect'::regnamespace"
            " and exists (select from aclexplode(relacl) where grantee = 0)"
            " union all select nspname from pg_namespace where nspname = 'architect'"
            " and exists (select from aclexplode(nspacl) where grantee = 0)"
        ).fetchall()
    assert wrong == []


def test_missing_python_tree_says_what_to_do(cluster: Cluster, database: str) -> None:
    """As on a standby that nobody installed the package on."""
    text = f"""
        do $$
        begin
            execute (select replace(pg_get_functiondef('architect._load()'::regprocedure), '{VERSION}', '0.0.0'));
        end $$;
        select architect._load();
    """
    found = cluster.psql(database, text)
    assert found.rc != 0
    assert "58P01" in found.stderr
    assert "the Python code of version 0.0.0 is not installed" in found.stderr
    assert "HINT:  Install the same version" in found.stderr


def test_loading_imports_no_third_party_module() -> None:
    """A server backend pays for pglast and psycopg when it uses them, not before."""
    program = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import pg_architect.api; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-ISc", program], capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert names - sys.stdlib_module_names - {"pg_architect", "__main__"} == set()


def test_third_party_imports_stay_where_they_belong() -> None:
    """plpy in core/db.py only; pglast in one module, because it needs RTLD_DEEPBIND (else the server crashes)."""
    importers: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for name in imported(path):
            importers.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    assert importers.get("plpy", set()) <= {"core/db.py"}
    assert len(importers.get("pglast", set())) <= 1, importers["pglast"]
    assert not {"scipy", "sklearn", "pandas", "torch"} & importers.keys()


def imported(path: Path) -> set[str]:
    """Top-level names of what a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_released_scripts_are_frozen() -> None:
    """A released script never changes: users have run it."""
    for line in (ROOT / "extension/frozen.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            digest, name = line.split()
            assert hashlib.sha256((ROOT / "extension" / name.lstrip("*")).read_bytes()).hexdigest() == digest, name


def test_installed_files_are_readable_by_all() -> None:
    home = Path(pg_config("--pkglibdir")) / "pg_architect"
    owner = home.stat().st_uid
    for path in (home, *home.rglob("*")):
        status = path.stat()
        assert status.st_uid == owner
        assert status.st_mode & 0o022 == 0, f"{path} is writable by others"
        assert status.st_mode & 0o004, f"{path} is not readable by all"


def test_the_build_names_no_index() -> None:
    """Registries are the machine's own settings, never ours."""
    for name in ("plpython/requirements.lock", "tests/requirements.lock"):
        assert "://" not in (ROOT / name).read_text(), name


def test_cluster_tool(tmp_path: Path) -> None:
    """tools/cluster leaves the machine's own server and other people's folders alone, and stops as often as asked."""

    def tool(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(ROOT / "tools/cluster"), *args], capture_output=True, text=True)

    assert "5432" in tool("start", str(tmp_path / "new"), "--port", "5432").stderr
    (tmp_path / "precious").write_text("mine")
    assert "not empty" in tool("start", str(tmp_path)).stderr
    assert "no cluster of ours" in tool("remove", str(tmp_path)).stderr
    assert tool("stop", str(tmp_path)).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.skipif(os.geteuid() != 0, reason="peer authentication needs a second OS user")
def test_stock_cluster_with_cron(cluster_factory: Callable[..., Cluster]) -> None:
    """Debian's own pg_hba.conf: the server's OS user is the superuser, everybody else is refused."""
    stock = cluster_factory(hba="stock", conf=WITH_CRON)
    done = stock.psql("postgres", "create extension pg_cron; select current_user, count(*) from cron.job;")
    assert (done.rc, done.stdout) == (0, "postgres|0\n"), done.stderr
    with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
        stock.connect()
    stock.tool("kill")
    stock.tool("start")  # with the settings it had
    assert stock.psql("postgres", "show cron.use_background_workers").stdout == "on\n"
    stock.tool("stop")
    stock.tool("stop")
