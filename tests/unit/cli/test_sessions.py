"""Sessions as the labels of Pods tell them, and whose logs are meant."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from daft_k8s.cli import exit_codes, logs, top
from daft_k8s.cli.clean import left_over, runs_of
from daft_k8s.cli.logs import find_sources
from daft_k8s.cli.sessions import age_of, find_sessions, memory_words, sessions_of
from daft_k8s.cli.status import show
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import ForbiddenError, NotFoundError
from daft_k8s.kube.objects.names import RUN_LABEL
from daft_k8s.session_summary import QuerySummary, SessionSummary, WorkerSummary, encode
from tests.unit.kube.fake_cluster import FakeCluster

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
    first, second = sessions_of(PODS, [], {"daft-a-worker-0-1": "1 2Gi"}, NOW)
    assert (first.session, first.driver, first.age) == ("a", "job-x", "11m")
    assert [worker.worker for worker in first.workers] == ["worker-0", "worker-1"]
    assert (first.workers[0].cpu, first.workers[0].memory, first.workers[0].used) == ("2", "8Gi", "1 2Gi")
    assert first.workers[0].state.startswith("pending") and not first.workers[0].ready
    assert (second.session, second.driver, second.age) == ("b", "outside", "30s")


def lease(session: str, *, created: str, renewed: str, driver: str = "", summary: str = "") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"daft-{session}",
            "creationTimestamp": created,
            "labels": {"daft.io/session": session, "daft.io/owner": "ada.laptop"},
            "annotations": {"daft.io/summary": summary},
            "ownerReferences": [{"kind": "Pod", "name": driver}] if driver else [],
        },
        "spec": {"renewTime": renewed},
    }


LIVE = SessionSummary(
    ready=1,
    wanted=3,
    running=2,
    waiting=40,
    done=17,
    failed=1,
    held_bytes=3 << 20,
    spilled_bytes=1 << 20,
    running_queries=2,
    queries=(QuerySummary("swift-fox", 34, 59, 17),),
    workers={"worker-0": WorkerSummary(2, 300 << 20, 3 << 20, 1 << 20)},
)


def test_what_the_driver_tells_stands_with_its_session_and_workers() -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    first, second = sessions_of(PODS, [told], {}, NOW)
    assert (first.session, first.driver, first.age, first.seen) == ("a", "job-x", "20m", "3s")
    assert first.live == LIVE
    assert [worker.live for worker in first.workers] == [LIVE.workers["worker-0"], None]
    assert (second.live, second.seen) == (None, "")


def test_a_session_without_workers_is_shown_for_its_lease() -> None:
    told = [
        lease("idle", created="2026-11-22T11:50:00Z", renewed="2026-11-22T11:59:50.000000Z", summary="nonsense"),
        lease("inside", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:50.000000Z", driver="run-x-abc12"),
    ]
    inside, idle = sessions_of([], told, {}, NOW)
    assert (idle.session, idle.driver, idle.owner, idle.workers) == ("idle", "outside", "ada.laptop", [])
    assert (idle.live, idle.seen) == (None, "10s")
    assert inside.driver == "run-x-abc12"
    assert inside.is_called("inside") and inside.is_called("run-x") and not inside.is_called("run")


def test_status_prints_what_the_driver_tells(capsys: pytest.CaptureFixture[str]) -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    views = sessions_of(PODS, [told], {}, NOW)
    show(views, "text")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    head = "SESSION DRIVER OWNER WORKERS QUERIES RUNNING WAITING DONE FAILED HELD SPILLED AGE SEEN"
    assert " ".join(lines[0]) == head
    assert lines[1] == ["a", "job-x", "0/3", "2", "2", "40", "17", "1", "3.0", "MiB", "1.0", "MiB", "20m", "3s"]
    assert lines[2] == ["b", "outside", "0/1", "-", "-", "-", "-", "-", "-", "-", "30s", "-"]
    assert ["swift-fox", "34s", "17", "59"] in lines and ["(1", "more)"] in lines
    worker = next(line for line in lines if line[:1] == ["worker-0"])
    assert worker[-8:] == ["2", "300.0", "MiB", "3.0", "MiB", "1.0", "MiB", "11m"][-8:]


def test_status_in_json_has_the_figures_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    show(sessions_of(PODS, [told], {}, NOW), "json")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["ready"], first["live"]["waiting"], first["live"]["held_bytes"]) == (0, 40, 3 << 20)
    assert first["live"]["queries"] == [{"query": "swift-fox", "seconds": 34, "tasks": 59, "done": 17}]
    assert first["workers"][0]["live"]["resident_bytes"] == 300 << 20
    assert second["live"] is None and second["workers"][0]["live"] is None


def test_top_outlives_a_cluster_that_is_away_for_a_moment_but_not_one_that_never_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [sessions_of(PODS, [], {}, NOW), ClusterError("the cluster does not answer"), []]

    async def look(*_: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(top, "look", look)
    monkeypatch.setattr(top.time, "sleep", lambda _seconds: None)
    ended = CliRunner().invoke(top.command, ["--count", "3"])
    assert ended.exit_code == 0, ended.output
    assert "worker-1" in ended.output and "does not answer" in ended.output and "no sessions" in ended.output
    answers.append(ClusterError("the cluster does not answer"))
    assert CliRunner().invoke(top.command, ["--count", "3"]).exit_code == exit_codes.CLUSTER


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


class OutsideConsole:
    """A session of a driver outside: a Lease, and perhaps a worker."""

    def __init__(self, *pods: dict[str, Any], **_: object) -> None:
        self._pods = pods

    async def __aenter__(self) -> OutsideConsole:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        if path.endswith("/leases"):
            return [lease("idle", created="", renewed="")] if selector == "daft.io/session=idle" else []
        return list(self._pods) if selector == "daft.io/role=worker" else []

    async def get(self, path: str) -> dict[str, Any]:
        raise NotFoundError(path)


def logs_of(monkeypatch: pytest.MonkeyPatch, console: OutsideConsole, *arguments: str) -> Result:
    monkeypatch.setattr(logs, "Console", lambda **_: console)
    return CliRunner().invoke(logs.command, arguments)


@pytest.mark.parametrize("follow", [[], ["-f"]])
def test_a_session_that_has_no_pods_now_is_not_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, follow: list[str]
) -> None:
    told = logs_of(monkeypatch, OutsideConsole(), "idle", *follow)
    assert (told.exit_code, told.stdout) == (0, "")
    assert "the session idle has no Pods now" in told.stderr and "daft-k8s status idle" in told.stderr
    told = logs_of(monkeypatch, OutsideConsole(), "nothing", *follow)
    assert told.exit_code == exit_codes.NOT_FOUND
    assert "there is no run, session or driver 'nothing'" in told.stderr


def test_a_worker_that_a_session_does_not_have_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    console = OutsideConsole(pod("idle", "worker-0", created="2026-11-22T11:59:30Z"))
    told = logs_of(monkeypatch, console, "idle", "--worker", "worker-7")
    assert told.exit_code == exit_codes.NOT_FOUND
    assert "no run, session or driver 'idle' with the worker worker-7" in told.stderr


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
