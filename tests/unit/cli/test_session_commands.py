"""The commands `status`, `top` and `logs`. The sessions themselves: tests/unit/kube/inventory."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from rich.text import Text

from daft_k8s.cli import exit_codes, logs, place, top
from daft_k8s.cli.main import cli
from daft_k8s.cli.status import Seen, show
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import NotFoundError
from daft_k8s.kube.inventory.runs import RunState, RunView
from daft_k8s.kube.inventory.sessions import sessions_of
from daft_k8s.observe.session_summary import encode
from tests.unit.kube.session_json import LIVE, NOW, PODS, lease, pod


def test_status_prints_what_the_driver_tells(capsys: pytest.CaptureFixture[str]) -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    views = sessions_of(PODS, [told], {}, NOW)
    show(Seen("here", views, []), "text")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    head = "SESSION STATE DRIVER OWNER WORKERS QUERIES RUNNING WAITING DONE FAILED HELD SPILLED AGE SEEN"
    assert " ".join(lines[0]) == head
    assert lines[1] == [
        "a",
        "alive",
        "job-x",
        "0/3",
        "2",
        "2",
        "40",
        "17",
        "1",
        "3.0",
        "MiB",
        "1.0",
        "MiB",
        "20m",
        "3s",
    ]
    assert lines[2] == ["b", "unknown", "outside", "0/1", "-", "-", "-", "-", "-", "-", "-", "30s", "-"]
    assert ["swift-fox", "34s", "17", "59"] in lines and ["(1", "more)"] in lines
    worker = next(line for line in lines if line[:1] == ["worker-0"])
    assert worker[-8:] == ["2", "300.0", "MiB", "3.0", "MiB", "1.0", "MiB", "11m"][-8:]


def test_status_in_json_has_the_figures_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    told = lease("a", created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE))
    show(Seen("here", sessions_of(PODS, [told], {}, NOW), []), "json")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["ready"], first["live"]["waiting"], first["live"]["held_bytes"]) == (0, 40, 3 << 20)
    assert first["live"]["queries"] == [{"query": "swift-fox", "seconds": 34, "tasks": 59, "done": 17}]
    assert first["workers"][0]["live"]["resident_bytes"] == 300 << 20
    worker = first["workers"][0]
    assert (worker["age_seconds"], worker["cpu"], worker["memory_bytes"]) == (660, 2, 8 << 30)
    assert (first["life"], first["age_seconds"], first["seen_seconds"]) == ("alive", 1200, 3)
    assert second["live"] is None and second["workers"][0]["live"] is None


def test_top_outlives_a_cluster_that_is_away_for_a_moment_but_not_one_that_never_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [
        Seen("here", sessions_of(PODS, [], {}, NOW), []),
        ClusterError("the cluster does not answer"),
        Seen("the namespace 'jobs' of a cluster", [], []),
    ]

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


def pictures(width: int, *, terminal: bool = True) -> tuple[str, Console]:
    """What `top` shows of a session at work and a dead one."""
    told = [
        lease("a" * 12, created="2026-11-22T11:40:00Z", renewed="2026-11-22T11:59:57.000000Z", summary=encode(LIVE)),
        lease("b" * 12, created="2026-11-22T11:00:00Z", renewed="2026-11-22T11:10:00.000000Z", summary=encode(LIVE)),
    ]
    for item in told:
        item["spec"]["leaseDurationSeconds"] = 30
    pods = [
        pod("a" * 12, "worker-0", created="2026-11-22T11:50:00Z", driver="daft-nightly-report-3fa9c1-x7k2p"),
        pod("a" * 12, "worker-1", created="2026-11-22T11:50:00Z", driver="daft-nightly-report-3fa9c1-x7k2p"),
        pod("b" * 12, "worker-0", created="2026-11-22T11:01:00Z", phase="Succeeded"),
    ]
    seen = Seen("the namespace 'jobs' of the context 'prod'", sessions_of(pods, told, {}, NOW), [])
    console = Console(width=width, height=60, force_terminal=terminal, file=io.StringIO(), record=True)
    console.print(top.picture(seen, console, "12:00:00"))
    return console.export_text(clear=False), console


@pytest.mark.parametrize("width", [80, 100, 130])
def test_what_top_shows_fits_the_terminal_and_has_every_figure(width: int) -> None:
    text, _ = pictures(width)
    assert max(map(len, text.splitlines())) <= width
    for wanted in ("a" * 12, "b" * 12, "swift-fox", "300.0 MiB", "3.0 MiB", "1.0 MiB", "40", "orphan: ended", "dead"):
        assert wanted in text, wanted
    dead = next(line for line in text.splitlines() if line.startswith("b" * 12)).split()
    assert "40" not in dead and "17" in dead, "what runs no more is not told as running"
    assert "daft-nightly-report-3fa9c1-x7k2p" in text, "if not in the table, then above the workers"


def test_a_picture_that_is_higher_than_the_screen_says_how_much_is_left_out() -> None:
    console = Console(width=80, height=5, force_terminal=True, file=io.StringIO(), record=True)
    console.print(top.Screenful(Text("\n".join(map(str, range(10))))), end="")
    lines = console.export_text().splitlines()
    assert lines[:4] == ["0", "1", "2", "3"]
    assert lines[4].startswith("(6 more lines")
    console.print(top.Screenful(Text("0\n1")))
    assert "more" not in console.export_text()


def test_an_interrupt_ends_top_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(*_: object) -> Any:
        return Seen("here", [], [])

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(top, "look", look)
    monkeypatch.setattr(top.time, "sleep", interrupt)
    ended = CliRunner().invoke(top.command, [])
    assert (ended.exit_code, ended.stderr) == (0, "")


def test_a_namespace_without_sessions_is_named_with_its_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    show(Seen("the namespace 'jobs' of the context 'prod'", [], []), "text")
    assert capsys.readouterr().out == "no sessions in the namespace 'jobs' of the context 'prod'\n"


def test_a_run_that_has_ended_is_shown_with_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    run = RunView("daft-job-1", RunState.FAILED, "daft-job-1-x", 3, "Error: exit code 3", 100, 40)
    show(Seen("here", [], [run]), "text")
    out = capsys.readouterr().out
    assert "daft-job-1" in out and "failed" in out and "exit code 3" in out and "its session has ended" in out
    show(Seen("here", [], [run]), "json")
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["session"], told["run"]["state"], told["run"]["exit_code"]) == (None, "failed", 3)
    assert told["run"]["duration_seconds"] == 40


@pytest.mark.parametrize("command", ["status", "top", "logs", "clean", "runs"])
def test_commands_look_where_the_configuration_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    opened: list[dict[str, object]] = []

    class NoConsole:
        def __init__(self, **options: object) -> None:
            opened.append(options)

        async def __aenter__(self) -> None:
            raise ClusterError("nowhere")

        async def __aexit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(place, "Console", NoConsole)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "daft-k8s.toml").write_text('namespace = "jobs"\nkube_context = "prod"\n')
    arguments = [command, *(["x"] if command == "logs" else [])]
    assert CliRunner().invoke(cli, arguments).exit_code == exit_codes.CLUSTER
    assert CliRunner().invoke(cli, [*arguments, "-n", "other", "--context", "test"]).exit_code == exit_codes.CLUSTER
    assert opened == [{"context": "prod", "namespace": "jobs"}, {"context": "test", "namespace": "other"}]


def test_the_shell_completes_names_and_is_silent_where_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    class Namespaces:
        async def __aenter__(self) -> Namespaces:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
            return [{"metadata": {"name": name}} for name in ("jobs", "join", "default")]

    def complete(words: str) -> str:
        variables = {"_DAFT_K8S_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
        return CliRunner().invoke(cli, prog_name="daft-k8s", env=variables).output

    monkeypatch.setattr(place, "open_place", lambda **_: Namespaces())
    assert complete("daft-k8s run -n jo").splitlines() == ["plain,jobs", "plain,join"]
    assert complete("daft-k8s status -n jo").splitlines() == ["plain,jobs", "plain,join"]

    def fails(**_: object) -> None:
        raise ClusterError("nowhere")

    monkeypatch.setattr(place, "open_place", fails)
    assert complete("daft-k8s status -n jo").strip() == ""


class OutsideConsole:
    """A session of a driver outside: a Lease, and perhaps a worker."""

    place = "the namespace 'jobs' of a cluster"

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
    monkeypatch.setattr(logs, "open_place", lambda **_: console)
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
