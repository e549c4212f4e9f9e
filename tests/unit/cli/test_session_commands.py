"""The commands `status`, `top` and `logs`. The sessions themselves: tests/unit/kube/inventory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daft_k8s.cli import exit_codes, logs, top
from daft_k8s.cli.status import show
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import NotFoundError
from daft_k8s.kube.inventory.sessions import sessions_of
from daft_k8s.session_summary import encode
from tests.unit.kube.session_json import LIVE, NOW, PODS, lease, pod


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
