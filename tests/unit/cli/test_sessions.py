"""Sessions as the labels of Pods tell them, and whose logs are meant."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any, ClassVar

from daft_k8s.cli.clean import left_over, runs_of
from daft_k8s.cli.driver_job import RUN_LABEL
from daft_k8s.cli.logs import find_sources
from daft_k8s.cli.sessions import age_of, memory_words, sessions_of
from daft_k8s.pods.console import NotFoundError

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)


def pod(session: str, worker: str, *, created: str, driver: str = "", phase: str = "Pending") -> dict[str, Any]:
    owners = [{"kind": "Pod", "name": driver}] if driver else []
    return {
        "metadata": {
            "name": f"daft-{session}-{worker}-1",
            "creationTimestamp": created,
            "labels": {"daft.io/session": session, "daft.io/worker": worker, "daft.io/role": "worker"},
            "ownerReferences": owners,
        },
        "spec": {"containers": [{"name": "worker", "resources": {"limits": {"cpu": "2", "memory": "8Gi"}}}]},
        "status": {"phase": phase},
    }


PODS = [
    pod("b", "worker-0", created="2026-11-22T11:59:30Z"),
    pod("a", "worker-1", created="2026-11-22T11:50:00Z", driver="job-x"),
    pod("a", "worker-0", created="2026-11-22T11:49:00Z", driver="job-x"),
]


def test_workers_are_gathered_by_session_the_oldest_first() -> None:
    first, second = sessions_of(PODS, {"daft-a-worker-0-1": "1 2Gi"}, NOW)
    assert (first.session, first.driver, first.age) == ("a", "job-x", "11m")
    assert [worker.worker for worker in first.workers] == ["worker-0", "worker-1"]
    assert (first.workers[0].cpu, first.workers[0].memory, first.workers[0].used) == ("2", "8Gi", "1 2Gi")
    assert first.workers[0].state.startswith("pending") and not first.workers[0].ready
    assert (second.session, second.driver, second.age) == ("b", "outside", "30s")


def test_ages_have_the_largest_unit_that_fits() -> None:
    assert [age_of(time, NOW) for time in ("2026-11-22T12:00:05Z", "2026-11-22T09:00:00Z", "2026-11-19T12:00:00Z")] == [
        "0s",
        "3h",
        "3d",
    ]
    assert age_of(None, NOW) == ""


def test_memory_in_bytes_is_shown_in_the_largest_unit_that_divides_it() -> None:
    shown = [memory_words(quantity) for quantity in ("1073741824", "1610612736", "8Gi", "1500", "0", "")]
    assert shown == ["1Gi", "1536Mi", "8Gi", "1500", "0", ""]


class FakeConsole:
    """Has the Pods above, and the Pod of their driver."""

    driver: ClassVar[Any] = {
        "metadata": {"name": "job-x"},
        "spec": {"containers": [{"name": "istio"}, {"name": "driver"}]},
    }

    async def items(self, path: str, selector: str) -> list[dict[str, Any]]:
        if selector.startswith(RUN_LABEL):
            return [self.driver] if selector == f"{RUN_LABEL}=job" else []
        return PODS

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
