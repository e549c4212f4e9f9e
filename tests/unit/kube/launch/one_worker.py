"""One launch of one worker, for tests of the launcher."""

from __future__ import annotations

from daft_k8s.kube.launch.launcher import PodLauncher
from tests.unit.kube.fake_cluster import FakeCluster

POD = "daft-s1-worker-0-1"


def begin(launcher: PodLauncher, cluster: FakeCluster) -> None:
    """Launches a worker, and returns once its Pod is there and watched."""
    launcher.launch("worker-0", 1)
    cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)
