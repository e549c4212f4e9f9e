"""Starts of workers as Pods, on a cluster in memory: creation, set-up, readiness. A real one: tests/integration."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError, UnsupportedError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from daft_k8s.kube.session.access import Access
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.launch.one_worker import POD, begin


def test_a_ready_pod_becomes_a_started_worker(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    assert pool.wait_for("started") == [("started", "worker-0", 1, "10.0.0.9:7777", "10.0.0.9:7778")]


def test_a_worker_is_asked_whether_it_serves_before_its_node_says_so(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD, ready=False)
    assert pool.wait_for("started") == [("started", "worker-0", 1, "10.0.0.9:7777", "10.0.0.9:7778")]


def test_a_worker_that_has_to_install_packages_is_not_asked_before_its_node_says_that_it_serves(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, pip=("emoji",))
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD, "10.0.0.8", ready=False)
        cluster.make_ready(POD, "10.0.0.9")
        assert pool.wait_for("started")[0][3] == "10.0.0.9:7777"
    finally:
        launcher.shutdown(2)


def test_an_address_of_ipv6_is_bracketed(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD, "fd00::1")
    assert pool.wait_for("started")[0][3:] == ("[fd00::1]:7777", "[fd00::1]:7778")


def test_workers_are_created_at_once(launcher: PodLauncher, cluster: FakeCluster) -> None:
    together = threading.Barrier(3)
    cluster.before_create = lambda: together.wait(20) and None
    for number in range(3):
        launcher.launch(f"worker-{number}", 1)
    cluster.wait_until(lambda: len(cluster.pods) == 3)


QUOTA = ApiError(
    "create pods",
    403,
    'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0',
    reason="Forbidden",
)
RBAC = ApiError("create pods", 403, 'pods is forbidden: User "u" cannot create resource "pods"', reason="Forbidden")


@pytest.mark.parametrize(("problem", "words", "restartable"), [(QUOTA, "no room left", False), (RBAC, "Role", False)])
def test_a_refused_creation_is_an_exit_in_kubernetes_words(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool, problem: ApiError, words: str, restartable: bool
) -> None:
    cluster.problems["create pods"] = [problem]
    launcher.launch("worker-0", 1)
    [news] = pool.wait_for("exited")
    assert words in str(news[3])
    assert problem.message in str(news[3])
    assert news[4] is restartable


def test_a_creation_whose_answer_was_lost_is_found_again(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.problems["create pods"] = [ApiError("create pods", 0, "the connection broke")]
    first = cluster.pods[POD]["metadata"]
    labels = first["labels"] | {"daft.io/worker": "worker-1"}
    cluster.pods["daft-s1-worker-1-1"] = {
        "metadata": first | {"name": "daft-s1-worker-1-1", "uid": "u", "labels": labels},
        "status": {},
    }
    launcher.launch("worker-1", 1)
    cluster.wait_until(lambda: "get pods" in cluster.calls)
    cluster.make_ready("daft-s1-worker-1-1")
    assert pool.wait_for("started")[0][1] == "worker-1"


@pytest.mark.parametrize("part", ["labels", "ownerReferences"])
def test_a_foreign_pod_of_a_workers_name_is_left_alone_and_the_next_launch_takes_another_name(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool, part: str
) -> None:
    begin(launcher, cluster)
    metadata = cluster.pods[POD]["metadata"]
    other = {"labels": {"app": "theirs"}, "ownerReferences": [{"kind": "Job", "name": "theirs", "uid": "theirs"}]}
    labels = metadata["labels"] | {"daft.io/worker": "worker-1"}
    foreign = {**metadata, "name": "daft-s1-worker-1-1", "uid": "f", "labels": labels, part: other[part]}
    cluster.pods["daft-s1-worker-1-1"] = {"metadata": foreign, "status": {}}
    launcher.launch("worker-1", 1)
    [(_, worker, launch, reason, restartable)] = pool.wait_for("exited")
    assert (worker, launch, restartable) == ("worker-1", 1, True)
    assert "there is another Pod of this name, which this session has not made" in str(reason)
    launcher.launch("worker-1", 2)
    cluster.wait_until(lambda: "daft-s1-worker-1-2" in cluster.pods)
    assert "daft-s1-worker-1-1" in cluster.pods


def test_a_pod_that_is_seen_while_its_creation_is_not_answered_is_adopted_only_with_the_right_owner(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.hangs.add("create pods")
    for number, owners in ((1, []), (2, cluster.pods[POD]["metadata"]["ownerReferences"])):
        name = f"daft-s1-worker-{number}-1"
        launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda number=number: cluster.calls.count("create pods") == 1 + number)
        metadata = cluster.pods[POD]["metadata"] | {"name": name, "uid": name, "ownerReferences": owners}
        cluster.pods[name] = {"metadata": metadata, "spec": {}, "status": {}}
        cluster.make_ready(name)
    assert pool.wait_for("started")[0][1] == "worker-2"
    cluster.hangs.clear()


def test_a_creation_whose_pod_is_gone_before_it_was_found_again_is_tried_once_more(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    """Its first answer was lost, and somebody deleted it: it was still there for the second try, and then no more."""
    exists = ApiError("create pods", 409, 'pods "p" already exists', reason="AlreadyExists")
    cluster.problems["create pods"] = [ApiError("create pods", 0, "the connection broke"), exists]
    launcher.launch("worker-0", 1)
    cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)
    cluster.make_ready(POD)
    assert pool.wait_for("started")[0][1:3] == ("worker-0", 1)
    assert [news[0] for news in pool.news] == ["started"]


def test_a_setup_that_stumbles_is_tried_again(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    launcher.shutdown(2)
    stumbling = FakeCluster()
    stumbling.problems["create secrets"] = [ApiError("create secrets", 503, "etcd has no leader")]
    launcher = make_launcher(stumbling, pool)
    try:
        launcher.launch("worker-0", 1)
        stumbling.wait_until(lambda: POD in stumbling.pods)
    finally:
        launcher.shutdown(2)


def test_a_setup_that_never_succeeds_ends_every_launch_with_the_apis_words_before_the_pool_loses_patience(
    cluster: FakeCluster, pool: Pool
) -> None:
    cluster.problems["create secrets"] = [ApiError("create secrets", 503, "etcd has no leader")] * 100
    launcher = make_launcher(cluster, pool, start_timeout_seconds=1)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "not ready after 1 s; the Kubernetes API does not take it" in str(news[3])
        assert "etcd has no leader" in str(news[3])
        assert (news[4], pool.causes) == (True, ["never_started"])
    finally:
        launcher.shutdown(2)


def test_a_cluster_that_is_never_reached_ends_every_launch_too(cluster: FakeCluster, pool: Pool) -> None:
    """A plugin for credentials may wait for ever."""

    async def connect() -> FakeCluster:
        await asyncio.Event().wait()
        return cluster

    configuration = Configuration(allocation="pod", num_workers=1, start_timeout_seconds=1)
    access = Access(connect, find_target=None)  # type: ignore[arg-type]
    launcher = PodLauncher(configuration, session_id="s1", token="t", manager_getter=lambda: pool, access=access)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "not ready after 1 s; the cluster has not been reached yet" in str(news[3])
    finally:
        began = time.monotonic()
        launcher.shutdown(1)
        assert time.monotonic() - began < 10


def test_a_setup_that_is_refused_ends_every_launch(launcher: PodLauncher, pool: Pool) -> None:
    launcher.shutdown(2)
    forbidding = FakeCluster()
    refusal = ApiError("create secrets", 403, 'secrets is forbidden: User "u" cannot create resource "secrets"')
    forbidding.problems["create secrets"] = [refusal] * 10  # each launch tries again
    launcher = make_launcher(forbidding, pool)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "may not create secrets" in str(news[3])
        assert not forbidding.pods
    finally:
        launcher.shutdown(2)


def test_the_token_stands_in_no_pod(launcher: PodLauncher, cluster: FakeCluster) -> None:
    begin(launcher, cluster)
    assert "secret-token" not in str(cluster.pods)


def test_a_stateful_set_cannot_be_elastic(cluster: FakeCluster, pool: Pool) -> None:
    with pytest.raises(UnsupportedError, match="max_workers"):
        make_launcher(cluster, pool, allocation="statefulset", max_workers=4)


def test_a_worker_that_a_queue_holds_back_is_postponed_until_it_is_admitted_and_that_is_told_once(
    cluster: FakeCluster, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    launcher = make_launcher(cluster, pool)
    gates = [{"name": "kueue.x-k8s.io/admission"}]
    create_pod = cluster.create_pod

    async def create_gated(namespace: str, pod: dict[str, Any], **options: Any) -> dict[str, Any]:
        pod["spec"]["schedulingGates"] = gates  # as a queue's webhook does
        return await create_pod(namespace, pod, **options)

    cluster.create_pod = create_gated  # type: ignore[method-assign]
    try:
        for number in range(2):
            launcher.launch(f"worker-{number}", 1)
        postponed = pool.wait_for("postponed", 2)
        assert "kueue.x-k8s.io/admission" in str(postponed[0][3])
        cluster.wait_until(lambda: "watch pods" in cluster.calls)
        cluster.pods[POD]["spec"]["schedulingGates"] = []
        cluster.make_ready(POD)
        assert pool.wait_for("started")[0][1] == "worker-0"
        assert pool.wait_for("admitted") == [("admitted", "worker-0", 1)]
        assert len([record for record in caplog.records if "waits" in record.getMessage()]) == 1
    finally:
        launcher.shutdown(2)


def test_a_template_that_takes_what_is_the_runners_is_refused_before_anything_starts(
    cluster: FakeCluster, pool: Pool
) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.restartPolicy"):
        make_launcher(cluster, pool, pod_template={"spec": {"restartPolicy": "Always"}})
    assert cluster.calls == []
