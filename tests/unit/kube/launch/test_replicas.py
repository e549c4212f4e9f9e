"""Workers as the Pods of a StatefulSet, on a cluster in memory. A real one: tests/integration."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from daft_k8s.kube.objects.stateful_set import stateful_set
from daft_k8s.kube.objects.target import Owner, Target
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, launch_held, make_launcher

POD = "daft-s1-worker-0"
REFUSAL = 'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
TARGET = Target("jobs", "image", owner=Owner("driver", "uid"))


@pytest.fixture
def launcher(cluster: FakeCluster, pool: Pool) -> Iterator[PodLauncher]:
    launcher = make_launcher(cluster, pool, allocation="statefulset")
    yield launcher
    launcher.shutdown(2)


def begin(launcher: PodLauncher, cluster: FakeCluster, workers: int = 1) -> None:
    for number in range(workers):
        launcher.launch(f"worker-{number}", 1)
    cluster.wait_until(lambda: len(cluster.pods) == workers and "watch pods" in cluster.calls)


def restart(cluster: FakeCluster, name: str, restarts: int, *, ready: bool = True) -> None:
    """What the kubelet tells when a container was killed and started again."""
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    own = {"name": "worker", "ready": ready, "restartCount": restarts, "state": {"running": {}}, "lastState": last}
    cluster.set_status(name, phase="Running", podIP="10.0.0.9", containerStatuses=[own])


def test_a_ready_pod_is_reached_by_its_ip_and_by_other_workers_by_its_name(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    name = "daft-s1-worker-0.daft-s1.jobs.svc:7778"
    assert pool.wait_for("started") == [("started", "worker-0", 1, "10.0.0.9:7777", "10.0.0.9:7778", name)]


def test_a_restart_in_place_is_an_exit_and_the_next_launch_takes_the_new_process(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    restart(cluster, POD, 1)
    [news] = pool.wait_for("exited")
    assert "OOMKilled" in str(news[3])
    assert f"(Pod {POD})" in str(news[3])
    launcher.launch("worker-0", 2)
    assert pool.wait_for("started", 2)[1][:3] == ("started", "worker-0", 2)
    assert len(cluster.pods) == 1
    assert "delete pods" not in cluster.calls


def test_a_deleted_pod_is_an_exit_and_the_controllers_next_one_is_the_next_launch(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster, 2)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster._delete(POD)
    assert "the Pod was deleted" in str(pool.wait_for("exited")[0][3])
    launcher.launch("worker-0", 2)
    cluster.make_ready(POD, "10.0.0.10")
    assert pool.wait_for("started", 2)[1][2:4] == (2, "10.0.0.10:7777")


def test_workers_are_added_and_removed_by_the_number_of_replicas(launcher: PodLauncher, cluster: FakeCluster) -> None:
    begin(launcher, cluster, 2)
    launcher.launch("worker-2", 1)
    cluster.wait_until(lambda: len(cluster.pods) == 3)
    launcher.stop("worker-2", 1, "no longer wanted")
    cluster.wait_until(lambda: len(cluster.pods) == 2)
    launcher.stop("worker-1", 1, "no longer wanted")
    cluster.wait_until(lambda: list(cluster.pods) == [POD])


def test_a_stop_that_overtakes_the_question_for_a_pod_leaves_none(launcher: PodLauncher, cluster: FakeCluster) -> None:
    may_go_on = launch_held(launcher, cluster)
    launcher.stop("worker-0", 1, "too late")
    may_go_on.set()
    cluster.wait_until(lambda: "delete pods" in cluster.calls)  # the last of what the stop does
    assert not cluster.pods


def test_a_worker_that_did_not_answer_gets_another_pod(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster, 2)
    cluster.make_ready(POD)
    pool.wait_for("started")
    before = cluster.pods[POD]["metadata"]["uid"]
    launcher.stop("worker-0", 1, "it has not answered")
    launcher.launch("worker-0", 2)
    cluster.wait_until(lambda: cluster.pods[POD]["metadata"]["uid"] != before)
    cluster.make_ready(POD)
    assert pool.wait_for("started", 2)[1][2] == 2


def test_what_does_not_admit_the_pods_is_told_at_once(cluster: FakeCluster, pool: Pool) -> None:
    words = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    cluster.problems["create pods"] = [ApiError("create pods", 403, words, reason="Forbidden")]
    launcher = make_launcher(cluster, pool, allocation="statefulset")
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert words in str(news[3])
        assert news[4] is False
        assert not cluster.stateful_sets
    finally:
        launcher.shutdown(2)


def test_no_more_replicas_are_asked_for_than_a_quota_has_room_for(cluster: FakeCluster, pool: Pool) -> None:
    cluster.quotas = [{"metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}, "status": {}}]
    launcher = make_launcher(cluster, pool, allocation="statefulset", num_workers=4)
    try:
        for number in range(4):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: len(cluster.pods) >= 2)  # news of these two may already make a third try
        launcher.stop("worker-3", 1, "somebody wants fewer")  # which is a reason to ask again
        cluster.wait_until(lambda: cluster.calls.count("create pods") >= 3)
        cluster.wait_until(lambda: len(cluster.pods) == 3)  # this quota has become larger
        assert {news[1] for news in pool.wait_for("postponed", 2)} == {"worker-2", "worker-3"}
        assert pool.wait_for("admitted") == [("admitted", "worker-2", 1)]
    finally:
        launcher.shutdown(2)


def test_a_worker_that_a_quota_kept_waiting_and_no_controller_makes_is_given_up_with_that_reason(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    cluster.problems["create pods"] = [ApiError("create pods", 403, REFUSAL, reason="Forbidden")]
    cluster.controller_is_away = True
    launcher.launch("worker-0", 1)
    [postponed] = pool.wait_for("postponed")
    assert REFUSAL in str(postponed[3])
    launcher.launch("worker-1", 1)
    launcher.stop("worker-1", 1, "not wanted")  # which is a reason to ask again
    assert pool.wait_for("admitted") == [("admitted", "worker-0", 1)]
    given_up = {news.key[0]: news.reason for news in launcher._launches.tick(time.monotonic() + 10_000)}
    assert "not ready after 120 s; the StatefulSet's controller has not made it yet" in given_up["worker-0"]


def test_a_stateful_set_that_somebody_deleted_is_made_again(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster.stateful_sets.clear()
    cluster._delete(POD)
    pool.wait_for("exited")
    launcher.launch("worker-0", 2)
    cluster.wait_until(lambda: POD in cluster.pods)
    cluster.make_ready(POD)
    assert pool.wait_for("started", 2)[1][2] == 2


def test_a_stateful_set_whose_making_was_not_answered_is_taken_as_it_is(cluster: FakeCluster, pool: Pool) -> None:
    made = stateful_set(Configuration(allocation="statefulset"), TARGET, session_id="s1", replicas=0)
    cluster.stateful_sets[made["metadata"]["name"]] = made
    launcher = make_launcher(cluster, pool, allocation="statefulset")
    try:
        begin(launcher, cluster, 2)
    finally:
        launcher.shutdown(2)


def test_shutting_down_leaves_nothing(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster, 2)
    launcher.shutdown(5)
    assert not (cluster.pods or cluster.stateful_sets or cluster.services or cluster.secrets)
    assert not pool.news
