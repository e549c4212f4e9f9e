"""A launcher on the cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daft_k8s.kube.launch.launcher import PodLauncher
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher


@pytest.fixture
def launcher(cluster: FakeCluster, pool: Pool) -> Iterator[PodLauncher]:
    launcher = make_launcher(cluster, pool)
    yield launcher
    launcher.shutdown(2)
