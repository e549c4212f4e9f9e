"""Many Pods: that asking for them blocks nobody, and what their news costs in CPU time (which load does not change)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.launch.supply import BarePods
from daft_k8s.kube.pods.launches import Launches, Started
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.session_objects import SessionObjects
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher
from tests.unit.kube.pod_json import pod, ready_pod, waiting

PODS = 200
ROUNDS = 10


def make_supply() -> tuple[BarePods, Launches]:
    configuration = Configuration(allocation="pod", num_workers=PODS)
    launches = Launches(start_timeout_seconds=100, termination_seconds=30)

    async def nowhere(*_: object) -> Any:
        raise NotImplementedError

    access = Access(nowhere, nowhere)
    objects = SessionObjects(configuration, session_id="s1", token="t", access=access, certificates=None)
    return BarePods(configuration, "s1", objects=objects, launches=launches, grace_seconds=27), launches


def test_a_thousand_events_a_second_take_less_than_a_tenth_of_a_core() -> None:
    supply, launches = make_supply()
    for number in range(PODS):
        supply.begin((f"worker-{number}", 1), 0.0)
    names = [launches.pod_of((f"worker-{number}", 1)) or "" for number in range(PODS)]
    shapes: list[Callable[[str, int], dict]] = [
        lambda name, version: pod(name, version=version),
        lambda name, version: pod(name, node="n1", own=waiting("ContainerCreating"), version=version),
        lambda name, version: pod(name, node="n1", phase="Running", own={"running": {}}, version=version),
        lambda name, version: ready_pod(name, version=version),
    ]
    events = [
        shapes[min(turn, len(shapes) - 1)](name, turn * PODS + place + 1)
        for turn in range(ROUNDS)
        for place, name in enumerate(names)
    ]
    started = 0
    begin = time.process_time()
    for number, event in enumerate(events):
        now = number / 1000
        for change in supply.saw(event, now):
            started += sum(isinstance(news, Started) for news in launches.has_state(change.name, change.state, now))
        if number % 1000 == 0:
            launches.tick(now)
    seconds = time.process_time() - begin
    assert started == PODS
    assert seconds / len(events) < 0.1 / 1000, f"{seconds / len(events) * 1e6:.0f} µs an event"


def test_asking_for_a_thousand_workers_blocks_nobody() -> None:
    cluster, pool = FakeCluster(), Pool()
    launcher = make_launcher(cluster, pool, num_workers=1000)
    try:
        begin = time.thread_time()
        for number in range(1000):
            launcher.launch(f"worker-{number}", 1)
        assert time.thread_time() - begin < 1.0
        cluster.wait_until(lambda: len(cluster.pods) == 1000)
    finally:
        launcher.shutdown(10)
    assert not cluster.pods


@pytest.mark.parametrize("action", ["create secrets", "create pods"])
def test_an_api_that_does_not_answer_keeps_nobody_from_ending(action: str) -> None:
    cluster, pool = FakeCluster(), Pool()
    cluster.hangs.add(action)
    launcher = make_launcher(cluster, pool)
    launcher.launch("worker-0", 1)
    cluster.wait_until(lambda: action in cluster.calls)
    begin = time.monotonic()
    launcher.shutdown(1)
    assert time.monotonic() - begin < 15
    assert cluster.closed
