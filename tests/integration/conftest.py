"""Fixtures of the tests that run the whole cycle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.shop import Shop, open_shop


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[Shop]:
    """A fresh shop database on the session's cluster."""
    with open_shop(cluster) as made:
        yield made
