"""A run on a cluster in memory: its creation, its end, its cancellation. Real runs: tests/integration/test_cli.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.errors import ClusterError
from daft_k8s.jobs.driver_job import DriverJob
from daft_k8s.jobs.run import Run
from daft_k8s.kube.client.console import Console, NotFoundError

NAMESPACE = "/api/v1/namespaces/jobs"
ACCOUNT = "/api/v1/{ns}/serviceaccounts/daft-driver"


class FakeConsole(Console):
    """A cluster in which some objects are not there, and some may not be looked at."""

    def __init__(self, *, missing: set[str], forbidden: frozenset[str] = frozenset()) -> None:
        super().__init__(namespace="jobs")
        self._missing = missing
        self._forbidden = forbidden
        self.created: list[str] = []

    async def get(self, path: str, **_query: str) -> dict[str, Any]:
        if path in self._forbidden:
            raise ClusterError(f"get {path} is not allowed")
        if path in self._missing:
            raise NotFoundError(path)
        return {"metadata": {"name": path}}

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        self.created.append(path)
        if NAMESPACE in self._missing:
            raise NotFoundError('namespaces "jobs" not found')
        return {"metadata": {"uid": "u"}}


def create(console: FakeConsole) -> None:
    job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
    configuration = load({"allocation": "pod", "image": "x:1"})
    asyncio.run(Run(job, configuration, keep=False, report=print, write=print).create(console))


def test_a_namespace_that_is_not_there_is_named_and_not_its_service_account() -> None:
    console = FakeConsole(missing={NAMESPACE, ACCOUNT})
    with pytest.raises(
        ClusterError, match=r"no namespace 'jobs': kubectl create namespace jobs, or -n another"
    ) as told:
        create(console)
    assert "service account" not in str(told.value)
    assert console.created == []


def test_a_service_account_that_is_not_there_is_named_with_the_command_that_makes_it() -> None:
    with pytest.raises(
        ClusterError, match=r"no service account 'daft-driver'.*daft-k8s rbac -n jobs --name daft-driver"
    ):
        create(FakeConsole(missing={ACCOUNT}))


def test_who_may_not_look_at_namespaces_is_told_of_the_service_account() -> None:
    with pytest.raises(ClusterError, match="no service account"):
        create(FakeConsole(missing={ACCOUNT}, forbidden=frozenset({NAMESPACE})))


class FakeRun(FakeConsole):
    """A cluster with the Pod of a run, which runs or has ended with code 3."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__(missing=set())
        state = {"terminated": {"exitCode": 3, "reason": "Error"}} if ended else {"running": {}}
        status = {
            "phase": "Failed" if ended else "Running",
            "containerStatuses": [{"name": "driver", "state": state, "ready": not ended}],
        }
        spec = {"containers": [{"name": "driver"}]}
        self.pods = [{"metadata": {"name": "run-x", "uid": "u"}, "spec": spec, "status": status}]
        self.ended = ended

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        return self.pods

    async def delete(self, path: str, **_options: Any) -> None:
        self.pods = []

    async def lines(self, path: str, **_query: str) -> AsyncGenerator[str, None]:
        yield "a line"
        if not self.ended:
            await asyncio.Event().wait()


@pytest.mark.parametrize(("ended", "code"), [(True, 3), (False, None)])
def test_a_run_ends_with_the_drivers_code_or_when_it_is_cancelled_and_its_job_goes(
    ended: bool, code: int | None
) -> None:
    console = FakeRun(ended=ended)
    written: list[str] = []

    async def main() -> int | None:
        def write(line: str) -> None:
            written.append(line)
            if not ended:
                following.cancel()

        job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
        run = Run(job, load({"allocation": "pod", "image": "x:1"}), keep=not ended, report=print, write=write)
        following = asyncio.ensure_future(run.finish(console))
        await asyncio.wait([following])
        return None if following.cancelled() else following.result()

    assert asyncio.run(main()) == code
    assert written == ["a line"]
    assert console.pods == []


def test_a_cancellation_does_not_break_off_the_removal_of_a_run_that_has_ended() -> None:
    class Cancelling(FakeRun):
        following: asyncio.Future[int]

        async def delete(self, path: str, **options: Any) -> None:
            self.following.cancel()
            await asyncio.sleep(0)
            await super().delete(path, **options)

    console = Cancelling(ended=True)

    async def main() -> int:
        job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
        run = Run(job, load({"allocation": "pod", "image": "x:1"}), keep=False, report=print, write=print)
        console.following = asyncio.ensure_future(run.finish(console))
        return await console.following

    assert asyncio.run(main()) == 3
    assert console.pods == []


@pytest.mark.parametrize(
    ("url", "passed_on"),
    [("http://daft-dashboard.jobs:3238", True), ("http://127.0.0.1:3238", False), ("http://localhost:3238", False)],
)
def test_the_driver_is_told_of_a_dashboard_that_its_pod_can_reach(
    monkeypatch: pytest.MonkeyPatch, url: str, passed_on: bool
) -> None:
    monkeypatch.setenv("DAFT_DASHBOARD_URL", url)
    job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
    configuration = load({"allocation": "pod", "image": "x:1"})
    run = Run(job, configuration, keep=False, report=print, write=print)
    assert run._environment.get("DAFT_DASHBOARD_URL") == (url if passed_on else None)
