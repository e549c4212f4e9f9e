"""The turns in which Pods are asked for while a quota is used up. A real quota: tests/integration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.quota_gate import QuotaGate
from daft_k8s.kube.pods.launches import Admitted, Launches, Postponed
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.virtual_time import run_for


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "small"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


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
    launches.request_stop(("worker-0", 1), "not wanted", 1.0)
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
        assert cluster.calls.count("create pods") == 2
        all_pods = {f"daft-s1-worker-{number}-1": f"worker-{number}" for number in range(4)}
        waiting = {worker for pod, worker in all_pods.items() if pod not in cluster.pods}  # whichever asked later
        stopped, admitted = sorted(waiting)
        cluster.pods_allowed = 3
        launcher.stop(stopped, 1, "somebody wants fewer")  # which is a reason to ask again
        cluster.wait_until(lambda: f"daft-s1-{admitted}-1" in cluster.pods)
        postponed = pool.wait_for("postponed", 2)
        assert {news[1] for news in postponed} == waiting
        assert "the ResourceQuota 'small' of the namespace 'jobs' has no room left for it" in str(postponed[0][3])
        assert pool.wait_for("admitted") == [("admitted", admitted, 1)]
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
