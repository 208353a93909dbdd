"""Fixtures that several of these files use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.experiment import TABLES
from support.people import make_role
from support.shop import Shop, open_shop
from support.traps import EVE, TRAPS, Connection


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[Shop]:
    """A fresh shop database on the session's cluster."""
    with open_shop(cluster) as made:
        yield made


@pytest.fixture(scope="module")
def trapped(cluster: Cluster) -> Iterator[str]:
    """The name of a database full of traps."""
    with cluster.database() as name:
        with cluster.connect(name) as connection:
            make_role(connection, EVE)
            make_role(connection, "t_victim")
            connection.execute(TRAPS)
        yield name
        with cluster.connect() as connection:
            connection.execute("alter role t_eve reset all")


@pytest.fixture
def admin(cluster: Cluster, trapped: str) -> Iterator[Connection]:
    """A superuser in the database of traps."""
    with cluster.connect(trapped) as connection:
        yield connection


@pytest.fixture
def db(cluster: Cluster, database: str) -> str:
    """The name of a database with tables to measure on, and an index that counts as ours."""
    with cluster.connect(database) as connection:
        version = connection.execute("select extversion from pg_extension where extname = 'pg_architect'").fetchone()
        assert version
        connection.execute(TABLES.replace("VERSION", version[0]))
    return database
