"""The lines that `daft-k8s logs` prints. The logs of a session: tests/unit/kube/inventory."""

from __future__ import annotations

import sys

import pytest

from daft_k8s.cli import logs
from daft_k8s.kube.inventory.logs import Source

DRIVER = Source("driver", "job-1", "driver")
WORKER = Source("worker-0", "daft-1", "worker")


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


def test_a_terminal_obeys_nothing_that_a_log_holds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["\x1b]0;title\x07", "x\r(driver) forged"]
    printer = logs._Printer("text", None, prefixed=True)
    for line in lines:
        printer.line(WORKER, line)
    assert capsys.readouterr().out == "".join(f"(worker-0) {line}\n" for line in lines), "in a file it stays as it is"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for line in lines:
        printer.line(WORKER, line)
    assert capsys.readouterr().out.splitlines() == [r"(worker-0) \x1b]0;title\x07", "(worker-0) (driver) forged"]


def test_what_the_driver_printed_for_a_worker_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    printer = logs._Printer("text", None, prefixed=True)
    printer.own_logs.update(("driver", "worker-0"))
    printer.line(WORKER, "printed")
    for line in ("(worker-0) printed", "(worker-1) of a Pod that is gone", "the script's own"):
        printer.line(DRIVER, line)
    assert capsys.readouterr().out.splitlines() == [
        "(worker-0) printed",
        "(driver) (worker-1) of a Pod that is gone",
        "(driver) the script's own",
    ]
