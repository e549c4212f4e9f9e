"""Sessions from the labels of Pods and from Leases, and the logs and runs that belong to them."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import ForbiddenError, NotFoundError
from daft_k8s.kube.inventory.cleaning import left_over, runs_of
from daft_k8s.kube.inventory.logs import find_sources
from daft_k8s.kube.inventory.sessions import Life, Usage, age_of, find_sessions, sessions_of
from daft_k8s.kube.objects.names import RUN_LABEL
from daft_k8s.observe.session_summary import encode
from tests.unit.kube.fake_cluster import FakeCluster
from tests.unit.kube.session_json import LIVE, NOW, PODS, lease, pod


def test_workers_are_gathered_by_session_the_oldest_first() -> None:
    first, second = sessions_of(PODS, [], {"daft-a-worker-0-1": Usage(0.25, 2 << 30)}, NOW)
    assert (first.session, first.driver, first.age_seconds) == ("a", "job-x", 660)
    assert [worker.worker for worker in first.workers] == ["worker-0", "worker-1"]
    worker = first.workers[0]
    assert (worker.cpu, worker.memory_bytes, worker.used_cpu, worker.used_memory_bytes) == (2, 8 << 30, 0.25, 2 << 30)
    assert first.workers[0].state.startswith("pending") and not first.workers[0].ready
    assert (second.session, second.driver, second.age_seconds) == ("b", "outside", 30)


def test_what_the_driver_tells_stands_with_its_session_and_workers() -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    first, second = sessions_of(PODS, [told], {}, NOW)
    assert (first.session, first.driver, first.age_seconds, first.seen_seconds) == ("a", "job-x", 1200, 3)
    assert first.live == LIVE
    assert [worker.live for worker in first.workers] == [LIVE.workers["worker-0"], None]
    assert (second.live, second.seen_seconds) == (None, None)


def test_a_session_without_workers_is_shown_for_its_lease() -> None:
    told = [
        lease("idle", created="2026-11-22T11:50:00Z", renewed="2026-11-22T11:59:50.000000Z", summary="nonsense"),
        lease("inside", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:50.000000Z", driver="run-x-abc12"),
    ]
    inside, idle = sessions_of([], told, {}, NOW)
    assert (idle.session, idle.driver, idle.owner, idle.workers) == ("idle", "outside", "ada.laptop", [])
    assert (idle.live, idle.seen_seconds) == (None, 10)
    assert inside.driver == "run-x-abc12"
    assert inside.is_called("inside") and inside.is_called("run-x") and not inside.is_called("run")


@pytest.mark.parametrize(
    ("renewed", "phase", "life", "state"),
    [
        ("2026-11-22T11:59:50.000000Z", "Succeeded", Life.ALIVE, "succeeded"),
        ("2026-11-22T11:50:00.000000Z", "Succeeded", Life.DEAD, "orphan: ended"),
        ("2026-11-22T11:50:00.000000Z", "Pending", Life.DEAD, "orphan: pending"),
        ("2026-11-22T11:50:00.000000Z", "Running", Life.SILENT, "ready"),
        (None, "Succeeded", Life.DEAD, "orphan: ended"),
        (None, "Running", Life.UNKNOWN, "ready"),
    ],
)
def test_a_session_whose_driver_is_gone_is_dead_and_its_workers_are_orphans(
    renewed: str | None, phase: str, life: Life, state: str
) -> None:
    worker = pod("s", "worker-0", created="2026-11-22T11:40:00Z", phase=phase)
    if phase == "Running":
        worker["status"]["containerStatuses"] = [{"name": "worker", "ready": True, "state": {"running": {}}}]
        worker["status"]["podIP"] = "10.0.0.1"
    leases = [] if renewed is None else [lease("s", created="2026-11-22T11:40:00Z", renewed=renewed)]
    for item in leases:
        item["spec"]["leaseDurationSeconds"] = 30
    (view,) = sessions_of([worker], leases, {}, NOW)
    assert view.life is life
    assert view.workers[0].state.startswith(state)


def test_ages_are_whole_seconds() -> None:
    assert [age_of(time, NOW) for time in ("2026-11-22T12:00:05Z", "2026-11-22T09:00:00Z", None)] == [0, 10800, None]


class FakeConsole:
    """Has the Pods above, and the Pod of their driver."""

    driver: ClassVar[Any] = {
        "metadata": {"name": "job-x"},
        "spec": {"containers": [{"name": "istio"}, {"name": "driver"}]},
    }

    async def items(self, path: str, selector: str) -> list[dict[str, Any]]:
        if selector.startswith(RUN_LABEL):
            return [self.driver] if selector == f"{RUN_LABEL}=job" else []
        return PODS if selector.startswith("daft.io/role") else []

    async def get(self, path: str) -> dict[str, Any]:
        if path.endswith("/job-x"):
            found: dict[str, Any] = self.driver
            return found
        raise NotFoundError(path)


def sources(name: str) -> list[tuple[str, str]]:
    console: Any = FakeConsole()
    return [(item.name, item.container) for item in asyncio.run(find_sources(console, name))]


def test_a_run_a_session_and_a_driver_lead_to_the_same_logs() -> None:
    expected = [("driver", "driver"), ("worker-0", "worker"), ("worker-1", "worker")]
    assert sources("job") == sources("a") == sources("job-x") == expected


def test_a_session_of_a_driver_outside_has_its_workers_only() -> None:
    assert sources("b") == [("worker-0", "worker")]


def test_an_unknown_name_leads_nowhere() -> None:
    assert sources("nothing") == []


def test_only_sessions_without_lease_owner_and_running_workers_are_left_over() -> None:
    over = pod("over", "worker-0", created="2026-11-22T11:00:00Z", phase="Succeeded")
    half = [
        pod("half", "worker-0", created="2026-11-22T11:00:00Z", phase="Failed"),
        pod("half", "worker-1", created="2026-11-22T11:00:00Z", phase="Running"),
    ]
    owned = pod("owned", "worker-0", created="2026-11-22T11:00:00Z", phase="Succeeded", driver="job-x")
    leased = pod("leased", "worker-0", created="2026-11-22T11:00:00Z", phase="Succeeded")
    assert left_over([over, *half, owned, leased], ["leased"]) == {"over"}


def test_a_run_is_found_by_its_name_and_by_the_session_that_it_drives() -> None:
    class Console:
        async def items(self, path: str, selector: str) -> list[dict[str, Any]]:
            assert selector == RUN_LABEL
            return [{"metadata": {"name": "job-x", "labels": {RUN_LABEL: "job"}}}]

    console: Any = Console()
    assert asyncio.run(runs_of(console, ["a", "b", "job", "nothing"], PODS)) == {"a": "job", "job": "job"}


# Workers of a StatefulSet: their owner is that, and their labels are all the same.

SET_DRIVER = {
    "metadata": {"name": "run-x-abc12", "uid": "u-1", "labels": {RUN_LABEL: "run-x"}},
    "spec": {"containers": [{"name": "driver"}]},
}
SET_POD = {
    "metadata": {
        "name": "daft-s-worker-4",
        "creationTimestamp": "2026-11-22T11:59:30Z",
        "labels": {
            "daft.io/session": "s",
            "daft.io/role": "worker",
            "daft.io/driver-pod": "u-1",
            "daft.io/job-id": "run-x",
        },
        "ownerReferences": [{"kind": "StatefulSet", "name": "daft-s-worker"}],
    },
    "spec": {"containers": [{"name": "worker"}]},
    "status": {"phase": "Pending"},
}


class SetConsole:
    """A run with one worker."""

    workers: ClassVar[list[dict[str, Any]]] = [SET_POD]

    async def items(self, path: str, selector: str) -> list[dict[str, Any]]:
        if selector == "daft.io/role=worker":
            return self.workers
        if path.endswith("/leases"):
            told = lease("idle", created="", renewed="", driver="run-x-abc12")
            return [told] if selector == "daft.io/session=idle" else []
        return (
            [SET_DRIVER] if selector in (RUN_LABEL, f"{RUN_LABEL}=run-x", "batch.kubernetes.io/job-name=run-x") else []
        )

    async def get(self, path: str) -> dict[str, Any]:
        if path.endswith("/run-x-abc12"):
            return SET_DRIVER
        raise NotFoundError(path)


def test_a_worker_of_a_stateful_set_has_its_number_for_a_name_and_the_driver_of_its_lease() -> None:
    (alone,) = sessions_of([SET_POD], [], {}, NOW)
    assert ([worker.worker for worker in alone.workers], alone.driver) == (["worker-4"], "run-x")
    told = lease("s", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", driver="run-x-abc12")
    (view,) = sessions_of([SET_POD], [told], {}, NOW)
    assert view.driver == "run-x-abc12"


def test_logs_and_clean_find_the_run_of_a_stateful_set() -> None:
    console: Any = SetConsole()
    for name in ("run-x", "s", "run-x-abc12"):
        assert [item.name for item in asyncio.run(find_sources(console, name))] == ["driver", "worker-4"], name
    assert asyncio.run(runs_of(console, ["s"], [SET_POD])) == {"s": "run-x"}


def test_the_logs_of_a_session_without_workers_are_those_of_the_driver_of_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SetConsole, "workers", [])
    console: Any = SetConsole()
    assert [item.pod for item in asyncio.run(find_sources(console, "idle"))] == ["run-x-abc12"]


class LeaselessConsole(FakeConsole):
    """Does not give Leases, for one reason or another."""

    namespace = "jobs"

    def __init__(self, problem: ClusterError) -> None:
        self._problem = problem
        self.api = FakeCluster()

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        if path.endswith("/leases"):
            raise self._problem
        return await super().items(path, selector)


def test_who_may_not_list_leases_sees_the_sessions_of_pods() -> None:
    console: Any = LeaselessConsole(ForbiddenError('User "ann" cannot list resource "leases"'))
    assert [view.session for view in asyncio.run(find_sessions(console))] == ["a", "b"]
    assert asyncio.run(find_sources(console, "nothing")) == []


def test_leases_that_could_not_be_asked_for_are_not_taken_for_none() -> None:
    console: Any = LeaselessConsole(ClusterError("the cluster does not answer: TimeoutError"))
    with pytest.raises(ClusterError, match="does not answer"):
        asyncio.run(find_sessions(console))
    with pytest.raises(ClusterError, match="does not answer"):
        asyncio.run(find_sources(console, "nothing"))
