"""`logs -f`: what is not there yet is waited for, what comes later is followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from daft_k8s.cli import logs
from daft_k8s.cli.logs import Source
from daft_k8s.kube.client.console import NotFoundError

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


def follow(cluster: Cluster) -> int:
    console: Any = cluster
    return asyncio.run(logs._follow(console, "job", cluster.find, {}, logs._Printer("text", None, prefixed=True)))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0)


def test_a_run_that_has_no_pod_yet_is_waited_for_and_later_pods_are_followed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow(Cluster(exists=True)) == 2
    assert sorted(capsys.readouterr().out.splitlines()) == ["(driver) line of job-1", "(worker-0) line of daft-1"]


def test_what_does_not_exist_is_not_waited_for() -> None:
    assert follow(Cluster(exists=False)) == 0


def test_the_lines_of_a_query_come_with_their_tracebacks_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    printer = logs._Printer("text", "swift-fox", prefixed=False)
    lines = [
        "2026-11-22 09:00:00,000 INFO a: one [task other/1.1]",
        "Traceback of the other",
        "2026-11-22 09:00:01,000 ERROR a: two [task swift-fox/1.1]",
        "Traceback (most recent call last):",
        '  File "job.py", line 1',
        "ValueError: no",
        "2026-11-22 09:00:02,000 INFO a: three",
        "[actor] something printed",
    ]
    for line in lines:
        printer.line(WORKER, line)
        printer.line(DRIVER, "printed by the script")  # what comes between from elsewhere changes nothing
    assert capsys.readouterr().out.splitlines() == lines[2:6]
    assert printer.count == 4
