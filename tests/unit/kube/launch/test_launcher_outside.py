"""The launcher of a driver outside the cluster, which reaches Pods by port-forwards. On a cluster in memory."""

from __future__ import annotations

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.launch.one_worker import POD, begin


def test_a_driver_outside_asks_it_too(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD, ready=False)
        assert str(pool.wait_for("started")[0][3]).startswith("127.0.0.1:")
    finally:
        launcher.shutdown(2)


def test_a_driver_outside_reaches_workers_by_forwards_and_they_each_other_by_their_addresses(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD)
        [(_, _, _, control, data, peer)] = pool.wait_for("started")
        assert str(control).startswith("127.0.0.1:")
        assert str(data).startswith("127.0.0.1:")
        assert control != data
        assert peer == "10.0.0.9:7778"
    finally:
        launcher.shutdown(2)


def test_a_worker_that_cannot_be_forwarded_to_is_an_exit_in_kubernetes_words(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        words = 'pods "p" is forbidden: User "u" cannot get resource "pods/portforward"'
        cluster.problems["get pods/portforward"] = [ApiError("get pods/portforward", 403, words, reason="Forbidden")]
        cluster.make_ready(POD)
        [news] = pool.wait_for("exited")
        assert words in str(news[3])
        assert news[4] is False
        cluster.wait_until(lambda: not cluster.pods)
    finally:
        launcher.shutdown(2)


def test_a_worker_that_falls_silent_outside_is_an_exit_with_its_pod_and_node_and_its_pod_goes(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.pods[POD]["spec"]["nodeName"] = "n"
        cluster.make_ready(POD)
        pool.wait_for("started")
        forwards = launcher._routes._forwards
        assert forwards is not None
        forwards._on_silent("worker-0/1", "nothing has come from it for 20 s")
        forwards._on_silent("worker-0/1", "nothing has come from it for 21 s")
        news = pool.wait_for("exited")[0]  # its Pod's end may have been told, too
        assert news[1:3] == ("worker-0", 1)
        assert news[3] == f"worker-0 (Pod {POD} on n): nothing has come from it for 20 s"
        assert news[4] is True
        assert pool.causes[0] == "infrastructure"
        cluster.wait_until(lambda: POD not in cluster.pods)
    finally:
        launcher.shutdown(2)


@pytest.mark.parametrize(("forwarded", "seconds"), [(False, 20), (True, 900)])
def test_outside_the_pool_waits_for_as_long_as_workers_wait_for_it(
    cluster: FakeCluster, pool: Pool, forwarded: bool, seconds: float
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=forwarded, unreachable_timeout_seconds=20)
    try:
        assert launcher.patience_seconds == seconds
    finally:
        launcher.shutdown(2)


def test_a_driver_outside_of_a_cluster_must_say_which_image(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="set image"):
        PodLauncher(
            Configuration(allocation="pod", num_workers=1),
            session_id="s1",
            token="t",
            manager_getter=lambda: pool,
        )
