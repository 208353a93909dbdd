"""Fixtures: one private cluster for the session, a fresh database for each test."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pg_architect.core.errors import ArchitectError
from support import errors_seen
from support.cluster import Cluster, new_cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate-golden", action="store_true", help="write tests/golden anew instead of comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The list of error messages is compared last, when every other test has met its own."""
    items.sort(key=lambda item: "last" in item.keywords)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: runs after every other test")
    # Stop the clusters also when somebody ends the run with a plain kill.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def noted_errors() -> Iterator[None]:
    """Errors that are raised in this very process are met, too."""
    original = ArchitectError.__init__

    def note(self: ArchitectError, sqlstate: str, message: str, **details: Any) -> None:
        errors_seen.seen.add(message)
        original(self, sqlstate, message, **details)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArchitectError, "__init__", note)
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's cluster: trust on the socket, pg_stat_statements, a template with the extensions."""
    cluster = new_cluster()
    try:
        cluster.make_template()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The name of a fresh database with pg_architect, pg_stat_statements and HypoPG; dropped afterwards."""
    with cluster.database() as name:
        yield name


@pytest.fixture
def plain_database(cluster: Cluster) -> Iterator[str]:
    """The name of a fresh database without any extension; dropped afterwards."""
    with cluster.database("template1") as name:
        yield name


@pytest.fixture(scope="session")
def cluster_factory() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters with other settings: ``cluster_factory(hba="stock", conf=WITH_CRON, ident="map a b")``.

    They are removed at the end of the session; a test may remove its own earlier.
    """
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        made.append(new_cluster(**options))
        return made[-1]

    try:
        yield make
    finally:
        with contextlib.ExitStack() as stack:
            for cluster in made:
                stack.callback(cluster.remove)
