"""The search for the reason why a Pod on its node does not run, and a Secret that is made again for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.stuck_pods import LOOK_SECONDS, StuckPods
from daft_k8s.kube.launch.supply import BarePods
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.kube.pods.launches import EVENTS_AFTER_SECONDS, Launches
from daft_k8s.kube.pods.state import read_state
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.session_objects import SessionObjects
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.pod_json import pod, waiting
from tests.unit.kube.virtual_time import run_for

INSIDE = Target("jobs", "image", owner=Owner("driver", "uid"))
SECRET = "daft-s1-00000000"


POD = "daft-s1-worker-0-1"


NO_ROOM = ApiError("create secrets", 403, "exceeded quota: small", reason="Forbidden")


MISSING = f'MountVolume.SetUp failed for volume "daft-session" : secret "{SECRET}" not found'


class Node:
    """One launch whose Pod stays on its node, and what reads its events."""

    def __init__(self, cluster: FakeCluster) -> None:
        configuration = Configuration(allocation="pod", num_workers=1)
        self.cluster = cluster
        self.key = ("worker-0", 1)
        self.launches = Launches(start_timeout_seconds=100, termination_seconds=30)
        self.objects = SessionObjects(
            configuration,
            session_id="s1",
            token="t",
            certificates={},
            access=Access(self.connect, self.find_target),
        )
        supply = BarePods(configuration, "s1", objects=self.objects, launches=self.launches, grace_seconds=27)
        self.stuck_pods = StuckPods(self.launches, objects=self.objects, supply=supply, clock=now)
        supply.begin(self.key, 0)

    async def connect(self) -> Any:
        return self.cluster

    async def find_target(self, _api: Any, _configuration: Configuration) -> Target:
        return INSIDE

    async def look(self, api: Any, target: Target) -> None:
        return None

    def run(self, seconds: float, then: Coroutine[Any, Any, None]) -> None:
        async def work() -> None:
            await self.objects.set_up(self.look)
            self.launches.has_state(POD, read_state(pod(POD, node="n", own=waiting("ContainerCreating"))), now())
            running = asyncio.ensure_future(self.stuck_pods.run())
            await then
            running.cancel()

        run_for(seconds, work())


def now() -> float:
    return asyncio.get_event_loop().time()


def warning(message: str, reason: str = "FailedMount", **times: str) -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": {"name": POD}, **times}


def test_a_secret_that_a_pod_waits_for_is_made_again_before_the_next_look_at_it(cluster: FakeCluster) -> None:
    node = Node(cluster)

    async def then() -> None:
        cluster.secrets.clear()
        cluster.events[POD] = [warning(MISSING)]
        await asyncio.sleep(EVENTS_AFTER_SECONDS + LOOK_SECONDS + 1)
        assert SECRET in cluster.secrets
        assert cluster.calls.count("list events") >= 1

    node.run(60, then())


def test_what_a_pod_waits_for_on_its_node_is_told_when_its_time_is_up(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(cluster)

    async def then() -> None:
        cluster.secrets.clear()
        cluster.problems["create secrets"] = [NO_ROOM] * 10
        cluster.events[POD] = [warning(MISSING)]
        await asyncio.sleep(60)
        [news] = node.launches.tick(91)
        assert f"Kubernetes warns: FailedMount: {MISSING}; the session's Secret {SECRET} may be gone" in news.reason
        assert "exceeded quota: small" in news.reason

    node.run(100, then())
    assert f"the Pod {POD} waits: FailedMount: {MISSING}" in caplog.text


@pytest.mark.parametrize(("words", "times"), [('User "u" cannot list resource "events"', 1), ("not now", 5)])
def test_events_that_may_not_be_listed_are_asked_for_once(cluster: FakeCluster, words: str, times: int) -> None:
    node = Node(cluster)

    async def then() -> None:
        cluster.problems["list events"] = [ApiError("list events", 403, words, reason="Forbidden")] * 5
        await asyncio.sleep(60)
        assert cluster.calls.count("list events") == times
        [news] = node.launches.tick(91)
        assert news.reason.endswith("its node n pulls the image, or makes its volumes")

    node.run(100, then())


def test_a_pod_that_runs_is_not_asked_about(cluster: FakeCluster) -> None:
    node = Node(cluster)

    async def then() -> None:
        node.launches.has_state(POD, read_state(pod(POD, node="n", own={"running": {}}, ip="10.0.0.1")), now())
        await asyncio.sleep(60)
        assert "list events" not in cluster.calls

    node.run(100, then())


def test_a_worker_that_comes_after_the_secret_was_deleted_finds_it(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: POD in cluster.pods)
        launcher._objects._furnishings._secret_seen_at = float("-inf")
        cluster.secrets.clear()
        launcher.launch("worker-1", 1)
        cluster.wait_until(lambda: SECRET in cluster.secrets)
    finally:
        launcher.shutdown(5)
    assert not cluster.secrets
