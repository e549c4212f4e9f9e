"""What tests of launchers have in common."""

from __future__ import annotations

import pytest

from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def pool() -> Pool:
    return Pool()
