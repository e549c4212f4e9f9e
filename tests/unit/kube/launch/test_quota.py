"""What quotas leave for workers. A real quota: tests/integration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.quota_gate import QuotaGate
from daft_k8s.kube.objects.home import Home
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.quota import find_room, read_refusal
from daft_k8s.kube.pods.launches import Admitted, Launches, Postponed
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.virtual_time import run_for

WORKER = worker_pod(
    Configuration(allocation="pod", num_workers=4, worker_cpu=1, worker_memory_bytes=2**30, worker_gpu=1),
    Home("jobs", "image"),
    session_id="s1",
    worker_id="worker-0",
    launch_id=1,
)


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "small"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


@pytest.mark.parametrize(
    ("hard", "used", "workers"),
    [
        ({"pods": "5"}, {"pods": "1"}, 4),
        ({"count/pods": "2"}, {}, 2),
        ({"requests.cpu": "3500m"}, {"requests.cpu": "500m"}, 3),
        ({"cpu": "1"}, {"cpu": "0"}, 1),
        ({"limits.cpu": "4"}, {"limits.cpu": "2"}, 2),
        ({"requests.memory": "4Gi"}, {"requests.memory": "1Gi"}, 3),
        ({"memory": "4Gi", "pods": "10"}, {"memory": "2560Mi"}, 1),
        ({"limits.memory": "1Gi"}, {"limits.memory": "1Gi"}, 0),
        ({"requests.nvidia.com/gpu": "2"}, {}, 2),
    ],
)
def test_the_scarcest_resource_decides(hard: dict[str, str], used: dict[str, str], workers: int) -> None:
    room = find_room([quota({"pods": "100"}), quota(hard, used)], WORKER)
    assert room is not None
    assert (room.workers, room.never) == (workers, False)


def test_a_quota_that_is_smaller_than_a_worker_has_never_room() -> None:
    room = find_room([quota({"requests.memory": "512Mi"})], WORKER)
    assert room is not None
    assert room.never
    assert room.words == "requests.memory: 512Mi of 512Mi are free, a worker takes 1Gi"


@pytest.mark.parametrize(
    "found",
    [
        [],
        [quota({"secrets": "1"})],
        [quota({"pods": "0"}, scopes=["Terminating"])],
        [quota({"pods": "0"}, scopes=["BestEffort"])],
        [quota({"pods": "0"}, scopeSelector={"matchExpressions": []})],
        [quota({"pods": "no number"})],
    ],
)
def test_what_is_not_about_workers_limits_nothing(found: list[dict[str, Any]]) -> None:
    assert find_room(found, WORKER) is None


def test_sidecars_count_and_init_containers_do_where_they_are_larger() -> None:
    spec = {
        "containers": [*WORKER["spec"]["containers"], {"name": "s", "resources": {"limits": {"memory": "1Gi"}}}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "3"}}}],
    }
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": spec})
    assert room is not None
    assert room.workers == 2
    room = find_room([quota({"requests.cpu": "3"})], {"spec": spec})
    assert room is not None
    assert room.workers == 1


def test_native_sidecars_count_beside_the_worker_and_beside_the_init_containers_after_them() -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}}}
    fetch = {"name": "fetch", "resources": {"requests": {"memory": "3Gi"}}}
    spec = {**WORKER["spec"], "initContainers": [sidecar]}
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": spec})
    assert room is not None
    assert room.workers == 2
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": {**spec, "initContainers": [fetch, sidecar]}})
    assert room is not None
    assert room.workers == 1
    room = find_room([quota({"requests.memory": "7Gi"})], {"spec": {**spec, "initContainers": [sidecar, fetch]}})
    assert room is not None
    assert room.workers == 1


def test_a_refusal_tells_whether_there_could_ever_be_room() -> None:
    # As Kubernetes 1.34 says it.
    message = (
        'pods "daft-x-worker-1-1" is forbidden: exceeded quota: small, requested: pods=1,requests.memory=512Mi, '
        "used: pods=1,requests.memory=256Mi, limited: pods=3,requests.memory=256Mi"
    )
    refusal = read_refusal(message)
    assert (refusal.quota, refusal.never) == ("small", True)
    assert not read_refusal(message.replace("requests.memory=512Mi", "requests.memory=128Mi")).never
    assert not read_refusal("exceeded quota: in words that nobody knows").never


async def take_turns(gate: QuotaGate, workers: int, room: int, seconds: float) -> int:
    """How often a namespace with this room is asked within the seconds."""
    asked, made = 0, 0

    async def create() -> None:
        nonlocal asked, made
        while True:
            async with gate.turn(lambda: True):
                asked += 1
                await asyncio.sleep(0)
                if made < room:
                    made += 1
                    gate.admitted()
                    return
                gate.refused()

    tasks = [asyncio.create_task(create()) for _ in range(workers)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert made == min(room, workers)
    return asked


def test_a_foreseen_full_quota_is_asked_by_one_at_a_time() -> None:
    async def ask() -> int:
        gate = QuotaGate(first_pause_seconds=60)
        gate.foresee(2)
        return await take_turns(gate, 1000, 2, 0.2)

    assert asyncio.run(ask()) == 2


def test_when_there_is_room_again_all_that_fit_come_without_further_pauses() -> None:
    async def ask() -> None:
        gate = QuotaGate(first_pause_seconds=0.02)
        gate.refused()
        assert await take_turns(gate, 50, 50, 10) == 50
        assert not gate.used_up

    asyncio.run(ask())


def test_pauses_grow_and_end_when_something_has_changed() -> None:
    async def ask() -> None:
        gate = QuotaGate(first_pause_seconds=3600)
        gate.refused()
        asking = asyncio.create_task(take_turns(gate, 1, 1, 3600))
        await asyncio.sleep(0)
        gate.poke()
        assert await asyncio.wait_for(asking, 10) == 1

    asyncio.run(ask())


def test_a_poke_that_wakes_one_who_does_not_want_any_more_wakes_the_next() -> None:
    async def work() -> None:
        gate, asked, wanted = QuotaGate(first_pause_seconds=3600), [], {"first", "second"}
        gate.refused()

        async def ask(name: str) -> None:
            async with gate.turn(lambda: name in wanted):
                if name in wanted:
                    asked.append((name, asyncio.get_running_loop().time()))

        asking = [asyncio.create_task(ask(name)) for name in ("first", "second")]
        await asyncio.sleep(60)
        wanted.remove("first")
        gate.poke()
        await asyncio.gather(*asking)
        assert asked == [("second", 60.0)]

    run_for(10_000, work())


def test_a_launch_that_waits_for_room_is_not_given_up_and_its_start_begins_when_there_is() -> None:
    launches = Launches(start_timeout_seconds=100, termination_seconds=10)
    key = ("worker-0", 1)
    launches.began(key, "pod-0", 0.0)
    assert launches.postponed(key, "no room") == [Postponed(key, "no room")]
    assert launches.postponed(key, "no room") == []
    assert launches.postponed(key, "no room still") == [Postponed(key, "no room still")]
    assert launches.tick(100_000.0) == []
    assert launches.admitted(key, 100_000.0) == [Admitted(key)]
    assert launches.admitted(key, 100_001.0) == []
    assert launches.tick(100_089.0) == []
    [exited] = launches.tick(100_090.0)
    assert exited.cause == "never_started"


def test_a_launch_that_was_told_to_stop_is_not_postponed_any_more() -> None:
    launches = Launches(start_timeout_seconds=100, termination_seconds=10)
    launches.began(("worker-0", 1), "pod-0", 0.0)
    launches.told_to_stop(("worker-0", 1), "not wanted", 1.0)
    assert launches.postponed(("worker-0", 1), "no room") == []
    assert launches.postponed(("worker-9", 1), "no room") == []


def test_a_session_runs_with_the_workers_that_fit_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    cluster, pool = FakeCluster(), Pool()
    cluster.quotas = [quota({"pods": "2"})]
    cluster.pods_allowed = 2
    launcher = make_launcher(cluster, pool, num_workers=4)
    try:
        for number in range(4):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 2)
        assert list(cluster.pods) == ["daft-s1-worker-0-1", "daft-s1-worker-1-1"]
        assert cluster.calls.count("create pods") == 2
        cluster.pods_allowed = 3
        launcher.stop("worker-3", 1, "somebody wants fewer")  # which is a reason to ask again
        cluster.wait_until(lambda: "daft-s1-worker-2-1" in cluster.pods)
        waiting = {"worker-2", "worker-3"}
        postponed = pool.wait_for("postponed", 2)
        assert {news[1] for news in postponed} == waiting
        assert "the ResourceQuota 'small' of the namespace 'jobs' has no room left for it" in str(postponed[0][3])
        assert pool.wait_for("admitted") == [("admitted", "worker-2", 1)]
        assert len(pool.news) == 3
        [said] = [record.getMessage() for record in caplog.records]
        assert "has room for 2 of the 4 workers wanted (pods: 2 of 2 are free, a worker takes 1)" in said
    finally:
        launcher.shutdown(2)


def test_a_quota_of_which_nothing_is_known_is_found_out_by_its_refusal(caplog: pytest.LogCaptureFixture) -> None:
    cluster, pool = FakeCluster(), Pool()
    cluster.problems["list resourcequotas"] = [ApiError("list resourcequotas", 403, "forbidden")]
    cluster.pods_allowed = 1
    launcher = make_launcher(cluster, pool)
    try:
        for number in range(10):
            launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda: cluster.calls.count("create pods") >= 2)
        assert len(pool.wait_for("postponed", 9)) == len(pool.news) == 9
    finally:
        launcher.shutdown(2)
    [said] = [record.getMessage() for record in caplog.records]
    assert "the ResourceQuota 'small' of the namespace 'jobs' has no room for another worker" in said
    assert cluster.calls.count("create pods") <= 10


def test_a_quota_without_room_for_one_worker_is_an_error_at_once() -> None:
    cluster, pool = FakeCluster(), Pool()
    cluster.quotas = [quota({"requests.cpu": "0"})]
    launcher = make_launcher(cluster, pool)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "the ResourceQuota 'small' of the namespace 'jobs' is too small for a single worker" in str(news[3])
        assert news[4] is False
        assert "create pods" not in cluster.calls
    finally:
        launcher.shutdown(2)
