"""Who can be architect_executor, by pg_hba.conf: check_health() names the lines that ask for no proof."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster
from support.people import make_role

Connection = psycopg.Connection[Any]
EXECUTOR = "architect_executor"
LINES = "select line_number, line, is_local from architect._trusting_hba_lines()"


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        yield connection


@pytest.fixture
def hba_file(cluster: Cluster) -> Iterator[Path]:
    """pg_hba.conf of the session's cluster, which nothing reloads: the server goes on as before."""
    path = cluster.directory / "data/pg_hba.conf"
    before = path.read_text()
    yield path
    path.write_text(before)


def health(connection: Connection) -> list[tuple[str, str, str | None]]:
    return connection.execute(
        "select status, detail, remedy from architect.check_health() where component = 'pg_hba.conf'"
    ).fetchall()


def test_trust_is_a_warning_that_names_the_line(superuser: Connection, hba_file: Path, database: str) -> None:
    ((status, detail, remedy),) = health(superuser)
    assert status == "warning"
    assert detail == (
        f"line 1 of {hba_file} (local all all trust) lets everybody who reaches the socket be {EXECUTOR}, with the "
        "rights of the enrolled owners"
    )
    match = re.fullmatch(
        rf"Put before the other lines of {hba_file}: (local .*) -- and in \S+: (\S+ \S+ \S+) -- then: .*;", remedy or ""
    )
    assert match, remedy
    assert match[1] == f'local "{database}" {EXECUTOR} peer map=architect'
    hba_file.write_text(f"{match[1]}\n{hba_file.read_text()}")
    assert health(superuser) == [("ok", f"nobody can be {EXECUTOR} without showing who they are", None)]
    hba_file.write_text("host all all samehost trust\n")
    ((status, detail, remedy),) = health(superuser)
    assert status == "warning"
    assert "line 1" in detail
    assert "everybody who connects from there" in detail
    match = re.fullmatch(rf"Put before the other lines of {hba_file}: (host .*) -- then: .*;", remedy or "")
    assert match, remedy
    hba_file.write_text(f"{match[1]}\n{hba_file.read_text()}")
    assert [status for status, *_ in health(superuser)] == ["ok"]


def test_the_way_back_from_the_emergency_stop(superuser: Connection) -> None:
    """Whatever pg_hba.conf lets in: the role itself may not log in."""
    executor = "select status, detail, remedy from architect.check_health() where component = 'executor'"
    superuser.execute(f"alter role {EXECUTOR} nologin")
    try:
        ((status, detail, remedy),) = superuser.execute(executor).fetchall()
    finally:
        superuser.execute(f"alter role {EXECUTOR} login")
    assert (status, remedy) == ("warning", f"alter role {EXECUTOR} login;")
    assert detail == f"approved changes have to be run by hand: {EXECUTOR} is not permitted to log in"
    assert superuser.execute(executor).fetchone()[0] == "ok"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("local all all peer", []),
        ("local all all reject\nlocal all all trust", []),
        ("local all postgres peer\nlocal all all trust", ["local all all trust"]),
        ("local other all peer\nlocal all all trust", ["local all all trust"]),
        ("local other all trust", []),
        (f"local other,{{db}} {EXECUTOR} trust", [f"local other,{{db}} {EXECUTOR} trust"]),
        ("local sameuser all trust\nlocal samerole all trust\nlocal replication all trust", []),
        ("local all +t_app trust", ["local all +t_app trust"]),
        ("local all +t_nobody trust\nlocal all +no_such_role trust", []),
        ("local all all trust\nlocal all all trust", ["local all all trust"]),
        ("host all all 127.0.0.1/32 trust", ["host all all 127.0.0.1 255.255.255.255 trust"]),
        ("local all all peer\nhostnossl all all all trust", ["hostnossl all all all trust"]),
        ("host all all 10.0.0.0/8 scram-sha-256\nhost all all 10.0.0.0/8 trust", []),
        ("host all all all scram-sha-256\nhostnossl all all 10.0.0.0/8 trust", []),
        ("hostnossl all all all scram-sha-256\nhost all all all trust", ["host all all all trust"]),
    ],
)
def test_the_first_line_that_fits_decides(
    superuser: Connection, hba_file: Path, database: str, lines: str, found: list[str]
) -> None:
    for role in ("t_app", "t_nobody"):
        make_role(superuser, role)
    superuser.execute(f"grant t_app to {EXECUTOR}")
    try:
        hba_file.write_text(lines.format(db=database) + "\n")
        seen = superuser.execute(LINES).fetchall()
    finally:
        superuser.execute(f"revoke t_app from {EXECUTOR}")
    assert [line for _, line, _ in seen] == [one.format(db=database) for one in found]
    assert all(local == line.startswith("local") for _, line, local in seen)


def test_a_file_that_cannot_be_read_hides_no_other_check(superuser: Connection, hba_file: Path) -> None:
    moved = hba_file.rename(hba_file.with_suffix(".moved"))
    try:
        rows = superuser.execute("select component, status from architect.check_health()").fetchall()
    finally:
        moved.rename(hba_file)
    assert ("authentication", "warning") in rows
    assert ("python", "ok") in rows


def test_only_pg_architect_itself_may_ask(cluster: Cluster, database: str, superuser: Connection) -> None:
    superuser.execute("set role architect_operator")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        superuser.execute(LINES)
