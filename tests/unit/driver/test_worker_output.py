"""The driver's end of workers' output. Not covered: how it comes there (tests/local/test_worker_output.py)."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time

import pytest

from daft_k8s.driver import worker_output
from daft_k8s.driver.worker_output import WorkerOutput
from daft_k8s.wire.calls import Done, PrintLines


async def hear(output: WorkerOutput, *lines: str, worker_id: str = "worker-1", dropped: int = 0) -> None:
    answer = await asyncio.wait_for(output.print_lines(worker_id, PrintLines(dropped, lines)), 20)
    assert answer == Done()


def test_each_line_has_its_worker_and_a_gap_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(hear(WorkerOutput(as_json=False), "one", "{two}", dropped=1234))
    assert capsys.readouterr().err.splitlines() == [
        "(worker-1) [1,234 lines are not shown: they came too fast]",
        "(worker-1) one",
        "(worker-1) {two}",
    ]


def test_lines_of_json_stay_json(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(hear(WorkerOutput(as_json=True), '{"worker": "worker-1"}', "plain"))
    assert capsys.readouterr().err.splitlines() == ['{"worker": "worker-1"}', "(worker-1) plain"]


def test_a_line_of_json_that_names_another_worker_is_shown_as_this_ones(capsys: pytest.CaptureFixture[str]) -> None:
    forged = ['{"worker": "worker-2"}', '{"level": "ERROR"}', "{" * 100_000, '{"worker": "worker-1"}{']
    asyncio.run(hear(WorkerOutput(as_json=True), *forged))
    assert capsys.readouterr().err.splitlines() == [f"(worker-1) {line}" for line in forged]


def test_a_line_cannot_hold_another_workers(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(hear(WorkerOutput(as_json=False), "x\n(worker-2) forged"))
    assert capsys.readouterr().err.splitlines() == ["(worker-1) x", "(worker-1) (worker-2) forged"]


def test_a_terminal_obeys_nothing_that_a_udf_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    asyncio.run(hear(WorkerOutput(as_json=False), "\x1b]0;title\x07\x1b[2J", "x\r(worker-2) forged", "\x1b[31mred"))
    assert capsys.readouterr().err.splitlines() == [
        r"(worker-1) \x1b]0;title\x07\x1b[2J",
        "(worker-1) (worker-2) forged",
        "(worker-1) \x1b[31mred\x1b[m",
    ]


def test_more_than_the_rate_waits_and_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_output, "BYTES_PER_SECOND", 50_000)

    async def run() -> float:
        output = WorkerOutput(as_json=False)
        begun = time.monotonic()
        await hear(output, "x" * 20_000)
        return time.monotonic() - begun

    assert asyncio.run(run()) >= 0.4


def test_a_standard_error_that_does_not_take_lines_does_not_stop_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = threading.Event()

    class Stopped(io.StringIO):
        def write(self, text: str) -> int:
            taken.wait(20)
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", stopped := Stopped())

    async def run() -> None:
        output = WorkerOutput(as_json=False)
        answer = asyncio.ensure_future(output.print_lines("w", PrintLines(0, ("a",))))
        await asyncio.sleep(0.05)
        assert not answer.done()
        taken.set()
        await asyncio.wait_for(answer, 20)

    asyncio.run(run())
    assert stopped.getvalue() == "(w) a\n"


def test_a_standard_error_that_fails_is_no_reason_to_keep_a_worker_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for broken in (closed, None):
        monkeypatch.setattr(sys, "stderr", broken)
        asyncio.run(hear(WorkerOutput(as_json=False), "a"))


def test_the_end_of_a_session_waits_for_last_lines_and_not_where_there_were_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = time.monotonic()
    WorkerOutput(as_json=False).settle()
    assert time.monotonic() - begun < 0.05

    async def run() -> None:
        output = WorkerOutput(as_json=False)
        await hear(output, "first")
        settling = asyncio.get_running_loop().run_in_executor(None, output.settle)
        await asyncio.sleep(worker_output.INTERVAL_SECONDS)
        await hear(output, "last")
        await settling

    asyncio.run(run())
    assert "(worker-1) last" in capsys.readouterr().err
