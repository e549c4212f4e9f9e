"""`daft-k8s shell` that is ended by a signal, on a cluster in memory."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from daft_k8s.cli.shell import _run
from daft_k8s.config import load
from daft_k8s.jobs.driver_job import DriverJob
from daft_k8s.jobs.run import Run
from daft_k8s.kube.client.console import Console

JOBS = "/apis/batch/v1/{ns}/jobs"


class Cluster(Console):
    """Holds the objects of a run; a signal comes with the call `moment`."""

    def __init__(self, moment: str, number: signal.Signals) -> None:
        super().__init__(namespace="jobs")
        self.moment, self.number = moment, number
        self.jobs = self.created = self.looks = 0
        self.gone = threading.Event()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def strike(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), self.number)
            await asyncio.sleep(0.05)  # the request is on its way, and arrives whatever becomes of its caller

    async def get(self, path: str, **_query: str) -> dict[str, Any]:
        await self.strike("account")
        return {"metadata": {"name": path}}

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        if path != JOBS:
            await self.strike("secret")
            return {}
        await self.strike("job")
        self.jobs += 1
        self.created += 1
        return {"metadata": {"uid": "u"}}

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        if not self.jobs:
            return []
        self.looks += 1
        state: dict[str, Any] = {"waiting": {}} if self.moment == "start" else {"running": {}}
        await self.strike("start")
        status = {"phase": "Running", "containerStatuses": [{"name": "driver", "state": state, "ready": True}]}
        return [{"metadata": {"name": "run-x"}, "spec": {"containers": [{"name": "driver"}]}, "status": status}]

    async def delete(self, path: str, **_options: Any) -> None:
        await self.strike("delete")
        self.jobs -= 1
        self.gone.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("moment", "created"), [("account", 0), ("job", 1), ("secret", 1), ("start", 1), ("attach", 1)]
)
def test_a_signal_at_any_time_removes_the_job(
    moment: str, created: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu")
    cluster = Cluster(moment, number)

    def attach(_pod: str) -> int:
        os.kill(os.getpid(), number)
        assert cluster.gone.wait(10)  # as kubectl, which ends with the Pod
        return 0

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_run(a_run(), cluster, attach))
    assert (cluster.created, cluster.jobs) == (created, 0)


def test_a_second_signal_does_not_stop_the_removal() -> None:
    cluster = Cluster("delete", signal.SIGHUP)

    def attach(_pod: str) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        assert cluster.gone.wait(10)
        return 0

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_run(a_run(), cluster, attach))
    assert (cluster.created, cluster.jobs) == (1, 0)


def test_without_a_signal_the_code_is_that_of_the_terminal() -> None:
    cluster = Cluster("", signal.SIGTERM)
    assert asyncio.run(_run(a_run(), cluster, lambda _pod: 7)) == 7
    assert cluster.jobs == 0


def a_run() -> Run:
    job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver", interactive=True)
    configuration = load({"allocation": "pod", "image": "x:1", "pass_env": ["AWS_REGION"]})
    return Run(job, configuration, keep=False, report=print, write=print)
