"""That a session's Secret and Lease are made again whenever they are gone, and named where they cannot be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.ailments import LOOK_SECONDS, Ailments
from daft_k8s.kube.launch.supply import BarePods
from daft_k8s.kube.objects import lease
from daft_k8s.kube.objects.home import Home, Owner
from daft_k8s.kube.pods.launches import EVENTS_AFTER_SECONDS, Launches
from daft_k8s.kube.pods.pod_events import last_warning
from daft_k8s.kube.pods.state import read_state
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.furnishings import SECRET_SECONDS, Furnishings
from daft_k8s.kube.session.session_objects import SessionObjects
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.pod_json import pod, waiting
from tests.unit.kube.virtual_time import run_for

INSIDE = Home("jobs", "image", owner=Owner("driver", "uid"))
OUTSIDE = Home("jobs", "image", forwarded=True)
SECRET = LEASE = "daft-s1"
POD = "daft-s1-worker-0-1"
NO_ROOM = ApiError("create secrets", 403, "exceeded quota: small", reason="Forbidden")
DENIED = ApiError("create secrets", 403, "denied by a webhook", reason="Forbidden")
MISSING = f'MountVolume.SetUp failed for volume "daft-session" : secret "{SECRET}" not found'


@pytest.fixture
def furnishings() -> Furnishings:
    return Furnishings("s1", token="t", certificates={"ca.crt": b"c"}, orphan_timeout_seconds=120)


def keep_for(seconds: float, furnishings: Furnishings, cluster: FakeCluster, home: Home, *more: Any) -> None:
    """Makes and keeps Lease and Secret for so long; `more` are functions that are called 1 s after the begin."""

    async def work() -> None:
        await furnishings.make(cluster, home)
        keeping = asyncio.ensure_future(furnishings.keep(cluster))
        await asyncio.sleep(1)
        for function in more:
            function()
        await keeping

    run_for(seconds, work())


@pytest.mark.parametrize("home", [INSIDE, OUTSIDE], ids=["inside", "outside"])
def test_a_secret_that_somebody_deletes_is_made_again_as_it_was(
    furnishings: Furnishings, cluster: FakeCluster, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    deleted: list[Any] = []
    keep_for(SECRET_SECONDS + 2, furnishings, cluster, home, lambda: deleted.append(cluster.secrets.pop(SECRET)))
    assert [cluster.secrets[SECRET]] == deleted
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"the session's Secret {SECRET} was gone, so that no new worker could start: somebody has deleted it. It is "
        "made again"
    ]


def test_a_secret_that_cannot_be_made_again_is_named_once_and_asked_for_again(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def lose() -> None:
        cluster.secrets.clear()
        cluster.problems["create secrets"] = [DENIED] * 3

    keep_for(4 * SECRET_SECONDS + 2, furnishings, cluster, INSIDE, lose)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 2
    assert f"the session's Secret {SECRET} may be gone and could not be made again" in warned[0]
    assert "denied by a webhook" in warned[0]
    assert "It is made again" in warned[1]
    assert SECRET in cluster.secrets


@pytest.mark.parametrize("problem", [NO_ROOM, ApiError("create secrets", 0, "TimeoutError")], ids=["quota", "away"])
def test_a_refusal_that_says_nothing_of_the_secret_is_no_news_for_people(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture, problem: ApiError
) -> None:
    """A full quota refuses also what is there, and an API server that is away refuses all."""

    def refuse() -> None:
        cluster.problems["create secrets"] = [problem] * 3

    keep_for(4 * SECRET_SECONDS + 2, furnishings, cluster, INSIDE, refuse)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_secret_is_looked_at_when_a_pod_is_made_but_not_for_each_of_many(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    async def work() -> None:
        await furnishings.make(cluster, INSIDE)
        cluster.secrets.clear()
        await asyncio.sleep(6)
        await asyncio.gather(*(furnishings.secure(cluster) for _ in range(100)))
        assert SECRET in cluster.secrets
        assert cluster.calls.count("create secrets") == 2

    run_for(60, work())


def test_nothing_is_made_again_once_the_session_ends(furnishings: Furnishings, cluster: FakeCluster) -> None:
    async def work() -> None:
        await furnishings.make(cluster, OUTSIDE)
        keeping = asyncio.ensure_future(furnishings.keep(cluster))
        await furnishings.end()
        cluster.secrets.clear()
        cluster.leases.clear()
        await furnishings.secure(cluster, surely=True)
        await keeping

    run_for(10 * SECRET_SECONDS, work())
    assert not cluster.secrets
    assert not cluster.leases


@pytest.mark.parametrize("home", [INSIDE, OUTSIDE], ids=["inside", "outside"])
@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (503, ""), (0, "")])
def test_a_lease_that_is_gone_and_refused_for_a_while_is_made_again(
    furnishings: Furnishings, cluster: FakeCluster, home: Home, status: int, reason: str
) -> None:
    def lose() -> None:
        cluster.leases.clear()
        refusal = ApiError("create leases", status, "exceeded quota: small", reason=reason)
        cluster.problems["create leases"] = [refusal] * 4

    keep_for(8 * lease.RENEW_SECONDS, furnishings, cluster, home, lose)
    assert LEASE in cluster.leases
    assert cluster.calls[-1] in ("patch leases", "create secrets")
    # Outside, the Lease owns the Secret: one that belonged to the old Lease would be deleted with it.
    [owner] = cluster.secrets[SECRET]["metadata"]["ownerReferences"]
    assert owner["uid"] == ("uid" if home is INSIDE else cluster.leases[LEASE]["metadata"]["uid"])


def test_a_session_whose_lease_is_refused_at_first_gets_one_later(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    cluster.problems["create leases"] = [ApiError("create leases", 403, "denied by a webhook", reason="Forbidden")]
    keep_for(2 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert LEASE in cluster.leases
    assert furnishings.home is not None
    assert furnishings.home.owner is not None


def test_a_session_without_the_right_to_leases_does_not_go_on_asking(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    words = 'leases is forbidden: User "u" cannot create resource "leases"'
    cluster.problems["create leases"] = [ApiError("create leases", 403, words, reason="Forbidden")]
    keep_for(10 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert cluster.calls.count("create leases") == 1


def test_a_renewal_that_is_refused_is_tried_again_and_told_once(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.problems["patch leases"] = [ApiError("patch leases", 403, "denied by a webhook", reason="Forbidden")] * 5
    keep_for(8 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert cluster.calls.count("patch leases") >= 7
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


# What a Pod waits for on its node.


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
            access=Access(self.connect, self.find_home),
        )
        supply = BarePods(configuration, "s1", objects=self.objects, launches=self.launches, grace_seconds=27)
        self.ailments = Ailments(self.launches, objects=self.objects, supply=supply, clock=now)
        supply.begin(self.key, 0)

    async def connect(self) -> Any:
        return self.cluster

    async def find_home(self, _api: Any, _configuration: Configuration) -> Home:
        return INSIDE

    async def look(self, api: Any, home: Home) -> None:
        return None

    def run(self, seconds: float, then: Coroutine[Any, Any, None]) -> None:
        async def work() -> None:
            await self.objects.set_up(self.look)
            self.launches.has_state(POD, read_state(pod(POD, node="n", own=waiting("ContainerCreating"))), now())
            running = asyncio.ensure_future(self.ailments.run())
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


def test_the_newest_warning_is_told() -> None:
    events = [
        warning("old", lastTimestamp="2026-01-01T00:00:05Z"),
        warning("new", series={"lastObservedTime": "2026-01-01T00:00:09.000000Z"}, eventTime="2026-01-01T00:00:01Z"),
        {**warning("fine", lastTimestamp="2026-01-01T00:01:00Z"), "type": "Normal"},
    ]
    assert last_warning(events) == "FailedMount: new"
    assert last_warning([]) == ""
    assert last_warning([{}, {"type": "Warning"}]) == ""


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
