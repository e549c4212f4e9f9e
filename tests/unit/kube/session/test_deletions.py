"""That what has to go goes, though the API stumbles over it, and that nothing else waits for that."""

from __future__ import annotations

import asyncio
import logging

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.target import Target
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.session_objects import SessionObjects
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.virtual_time import run_for

POD = "daft-s1-worker-0-1"


@pytest.fixture
def objects(cluster: FakeCluster) -> SessionObjects:
    """Those of a session with one Pod."""

    async def nowhere(*_: object) -> None:
        raise NotImplementedError

    access = Access(nowhere, nowhere)  # type: ignore[arg-type]
    objects = SessionObjects(
        Configuration(allocation="pod", num_workers=1), session_id="s1", token="t", certificates={}, access=access
    )
    objects.api, objects._furnishings.target = cluster, Target("jobs", "image")
    labels = {names.SESSION_LABEL: "s1", names.ROLE_LABEL: names.WORKER_ROLE}
    cluster.pods[POD] = {"metadata": {"name": POD, "labels": labels}, "status": {"phase": "Running"}}
    return objects


def refusals(action: str, *statuses: int, retry_after_seconds: float | None = None) -> dict[str, list[ApiError]]:
    return {
        action: [ApiError(action, status, "not now", retry_after_seconds=retry_after_seconds) for status in statuses]
    }


@pytest.mark.parametrize("statuses", [(0, 0, 0), (429, 500, 503), (401, 401, 401)])
def test_a_pod_whose_deletion_stumbles_is_deleted_a_little_later(
    objects: SessionObjects, cluster: FakeCluster, statuses: tuple[int, ...]
) -> None:
    cluster.problems = refusals("delete pods", *statuses)
    run_for(20, objects.delete_pod(POD, 5))
    assert not cluster.pods


def test_a_deletion_comes_again_when_the_api_says_so(objects: SessionObjects, cluster: FakeCluster) -> None:
    cluster.problems = refusals("delete pods", 429, 429, 429, retry_after_seconds=20)
    run_for(59, objects.delete_pod(POD, 5))
    assert cluster.calls.count("delete pods") == 3
    assert cluster.pods

    cluster.problems = refusals("delete pods", 429, 429, 429, retry_after_seconds=20)
    run_for(61, objects.delete_pod(POD, 5))
    assert not cluster.pods


def test_a_deletion_that_is_forbidden_is_told_and_not_tried_again(
    objects: SessionObjects, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.problems = refusals("delete pods", *[403] * 10)
    run_for(100, objects.delete_pod(POD, 5))
    assert cluster.calls.count("delete pods") == 1
    assert f"the Pod {POD} could not be deleted: delete pods: not now (HTTP 403)" in caplog.text


@pytest.mark.parametrize("status", [0, 401, 429, 503])
def test_a_session_that_ends_while_the_api_stumbles_leaves_nothing(
    objects: SessionObjects, cluster: FakeCluster, status: int
) -> None:
    cluster.secrets["daft-s1-00000000"] = {}
    cluster.problems = refusals("deletecollection pods", *[status] * 5) | refusals("delete secrets", status)
    run_for(30, objects.tear_down(20))
    assert not cluster.pods
    assert not cluster.secrets


def test_a_session_whose_credentials_have_ended_says_what_it_leaves_when_its_time_is_up(
    objects: SessionObjects, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.problems = refusals("deletecollection pods", *[401] * 1000)
    run_for(30, objects.tear_down(20))
    assert cluster.pods
    assert "kubectl delete pods,secrets -l daft.io/session=s1" in caplog.text
    assert "not now (HTTP 401)" in caplog.text


def test_a_pod_that_cannot_be_deleted_keeps_no_other_from_coming_and_going(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, num_workers=4)
    try:
        for number in range(2):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 2 and "watch pods" in cluster.calls)
        ended = {"exitCode": 1, "reason": "Error"}
        sidecar = {"name": "sidecar", "state": {"running": {}}}
        cluster.problems = refusals("delete pods", 403)
        own = {"name": "worker", "state": {"terminated": ended}}
        cluster.set_status(POD, phase="Running", containerStatuses=[own, sidecar])  # over, and has to go
        pool.wait_for("exited")
        cluster.wait_until(lambda: not cluster.problems["delete pods"])
        launcher.launch("worker-0", 2)
        launcher.launch("worker-2", 1)
        launcher.stop("worker-1", 1, "not wanted")
        cluster.wait_until(
            lambda: set(cluster.pods) == {POD, "daft-s1-worker-0-2", "daft-s1-worker-2-1"},
        )
        cluster.make_ready("daft-s1-worker-0-2")
        assert pool.wait_for("started")[0][:3] == ("started", "worker-0", 2)
    finally:
        launcher.shutdown(5)
    assert not cluster.pods


def test_an_end_as_it_should_be_is_no_news_for_people(
    cluster: FakeCluster, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    launcher = make_launcher(cluster, pool)
    for number in range(2):
        launcher.launch(f"worker-{number}", 1)
    cluster.wait_until(lambda: len(cluster.pods) == 2 and "watch pods" in cluster.calls)
    for name in list(cluster.pods):
        cluster.make_ready(name)
    pool.wait_for("started", 2)
    launcher.shutdown(5)
    assert not cluster.pods
    assert [record.getMessage() for record in caplog.records] == []


def test_of_two_drivers_of_one_job_each_ends_its_own_workers_only(cluster: FakeCluster) -> None:
    pools = Pool(), Pool()
    sessions = ["a" * 12, "b" * 12]
    launchers = [
        make_launcher(cluster, pool, session_id=session, job="nightly")
        for pool, session in zip(pools, sessions, strict=True)
    ]
    try:
        for launcher in launchers:
            launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 2 and cluster.calls.count("watch pods") == 2)
        assert {pod["metadata"]["labels"]["daft.io/job-id"] for pod in cluster.pods.values()} == {"nightly"}
        for session in sessions:
            found, _ = asyncio.run(cluster.list_pods("jobs", names.session_selector(session)))
            assert [pod["metadata"]["name"] for pod in found] == [f"daft-{session}-worker-0-1"]
        cluster.make_ready(f"daft-{sessions[1]}-worker-0-1")
        pools[1].wait_for("started")
        launchers[0].shutdown(5)
        assert list(cluster.pods) == [f"daft-{sessions[1]}-worker-0-1"]
        assert list(cluster.secrets) == [f"daft-{sessions[1]}-00000000"]
        assert [news[0] for news in pools[1].news] == ["started"]
        assert pools[0].news == []
    finally:
        for launcher in launchers:
            launcher.shutdown(5)
