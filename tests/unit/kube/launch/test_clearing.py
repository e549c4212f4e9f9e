"""Pods that no launch wants go, whatever became of their deletion or their creation."""

from __future__ import annotations

import logging

import pytest

from daft_k8s.kube.client.errors import ApiError
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.pod_json import pod

POD = "daft-s1-worker-0-1"


QUICK = 0.05


def stop_while_deletions_fail(cluster: FakeCluster, pool: Pool, status: int, times: int) -> None:
    """One worker whose deletion fails until nothing tries it any more."""
    launcher = make_launcher(cluster, pool, poll_seconds=QUICK)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)
        waiting = {"reason": "InvalidImageName", "message": "no"}
        problems = [ApiError("delete pods", status, "not now") for _ in range(times)]
        cluster.problems["delete pods"] = problems
        cluster.set_status(POD, phase="Pending", containerStatuses=[{"name": "worker", "state": {"waiting": waiting}}])
        pool.wait_for("exited")
        cluster.wait_until(lambda: POD not in cluster.pods)
        assert not problems
    finally:
        launcher.shutdown(2)


def test_a_pod_whose_deletion_failed_for_good_is_deleted_by_a_later_list(
    cluster: FakeCluster, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stop_while_deletions_fail(cluster, pool, 403, 5)
    assert len([record for record in caplog.records if "could not be deleted" in record.getMessage()]) == 1


def test_a_pod_whose_creation_comes_late_is_deleted_by_a_later_list(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, poll_seconds=QUICK)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)
        late = pod("daft-s1-worker-1-1", uid="late")
        late["metadata"]["labels"] = dict(cluster.pods[POD]["metadata"]["labels"])
        foreign = pod("daft-s2-worker-1-1", uid="foreign")
        foreign["metadata"]["labels"] = late["metadata"]["labels"] | {"daft.io/session": "s2"}
        cluster.pods |= {"daft-s1-worker-1-1": late, "daft-s2-worker-1-1": foreign}
        cluster.make_ready(POD)
        cluster.wait_until(lambda: "daft-s1-worker-1-1" not in cluster.pods)
        assert set(cluster.pods) == {POD, "daft-s2-worker-1-1"}
        assert [news[0] for news in pool.news] == ["started"]
    finally:
        launcher.shutdown(2)


def test_a_pod_that_is_kept_for_its_log_is_left_and_one_whose_sidecar_runs_on_is_not(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, poll_seconds=QUICK)
    other = "daft-s1-worker-1-1"
    try:
        for number in range(2):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 2 and "watch pods" in cluster.calls)
        own = {"name": "worker", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
        cluster.set_status(POD, phase="Failed", containerStatuses=[own])
        cluster.problems["delete pods"] = [ApiError("delete pods", 403, "not now") for _ in range(3)]
        sidecar = {"name": "sidecar", "state": {"running": {}}}
        cluster.set_status(other, phase="Running", containerStatuses=[own, sidecar])
        pool.wait_for("exited", 2)
        cluster.wait_until(lambda: other not in cluster.pods)
        lists = cluster.calls.count("list pods")
        cluster.wait_until(lambda: cluster.calls.count("list pods") >= lists + 3)
        assert list(cluster.pods) == [POD]
    finally:
        launcher.shutdown(2)


@pytest.mark.parametrize("problem", ["patch statefulsets", "create statefulsets"])
def test_a_stateful_set_that_could_not_be_scaled_or_was_made_late_is_scaled_after_a_later_list(
    cluster: FakeCluster, pool: Pool, problem: str
) -> None:
    launcher = make_launcher(cluster, pool, poll_seconds=QUICK, allocation="statefulset", num_workers=2)
    try:
        for number in range(2):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 2 and "watch pods" in cluster.calls)
        cluster.problems["patch statefulsets"] = [ApiError("patch statefulsets", 403, "not now")]
        if problem == "create statefulsets":
            launcher._call(setattr, launcher._supply, "_replicas", None)
        for number in range(2):
            launcher.stop(f"worker-{number}", 1, "not wanted")
        cluster.wait_until(lambda: cluster.stateful_sets["daft-s1-worker"]["spec"]["replicas"] == 0)
        cluster.wait_until(lambda: not cluster.pods)
    finally:
        launcher.shutdown(2)


def test_a_service_that_somebody_deletes_is_made_again(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, poll_seconds=QUICK, allocation="statefulset", num_workers=1)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 1 and "daft-s1" in cluster.services)
        cluster.services.clear()
        cluster.wait_until(lambda: "daft-s1" in cluster.services)
    finally:
        launcher.shutdown(5)
    assert not cluster.services
