"""`logs -f`: what is not there yet is waited for, what comes later is followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import NotFoundError
from daft_k8s.kube.inventory import logs
from daft_k8s.kube.inventory.logs import Source

DRIVER = Source("driver", "job-1", "driver")
WORKER = Source("worker-0", "daft-1", "worker")


class Cluster:
    """A Job whose Pods come one after the other, each a look later; every log is one line."""

    def __init__(self, *, exists: bool) -> None:
        self.exists = exists
        self.looks = 0

    async def find(self) -> list[Source]:
        self.looks += 1
        return [DRIVER, WORKER][: max(0, self.looks - 2)] if self.exists else []

    async def get(self, path: str) -> dict[str, Any]:
        if not self.exists:
            raise NotFoundError(path)
        if "/jobs/" in path:
            return {"status": {}}
        return {"status": {"phase": "Succeeded" if self.looks > 5 else "Pending"}}

    async def lines(self, path: str, **query: str) -> AsyncGenerator[str, None]:
        yield f"line of {path.split('/')[-2]}"


class Printed(list[str]):
    """What was printed."""

    def line(self, source: Source, line: str) -> None:
        self.append(f"({source.name}) {line}")

    def failed(self, source: Source, error: ClusterError) -> None:
        raise error


def follow(cluster: Cluster, printed: Printed) -> int:
    console: Any = cluster
    return asyncio.run(logs.follow(console, "job", cluster.find, {}, printed))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0)


def test_a_run_that_has_no_pod_yet_is_waited_for_and_later_pods_are_followed() -> None:
    printed = Printed()
    assert follow(Cluster(exists=True), printed) == 2
    assert sorted(printed) == ["(driver) line of job-1", "(worker-0) line of daft-1"]


def test_what_does_not_exist_is_not_waited_for() -> None:
    assert follow(Cluster(exists=False), Printed()) == 0
