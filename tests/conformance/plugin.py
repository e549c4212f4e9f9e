"""The pytest plugin inside the processes that run Daft's tests: `pytest -p conformance.plugin`.

It puts daft_k8s in the place of Daft's Ray runner before the first test module is imported, runs only
the tests of a plan, and tells the process that started it, line by line, what begins and how it ended.
Without the options it does the first of these only, so that a single test can be run by hand.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import pytest

from conformance import stand_ins

MAX_DETAIL_CHARACTERS = 12_000
SUSPICIOUS_SECONDS = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--conformance-runner", choices=("k8s", "native", "ray"), default="k8s")
    group.addoption("--conformance-plan", help="a JSON file with the node ids to run; the others are left out")
    group.addoption("--conformance-events", type=int, help="the file descriptor to report to")
    group.addoption("--conformance-stacks", help="where all stacks are written on SIGUSR1")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Runs before any of Daft's test code."""
    if early_config.known_args_namespace.conformance_runner == "k8s":
        _take_over()


def _take_over() -> None:
    import daft

    from daft_k8s._autostart import take_over

    take_over(daft)
    stand_ins.install()


def pytest_configure(config: pytest.Config) -> None:
    stacks = config.getoption("--conformance-stacks")
    if stacks:
        # Kept open for as long as the process lives: a signal may come at any time.
        file = open(stacks, "a", buffering=1)  # noqa: SIM115
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
        config.pluginmanager.register(PoolWatch(file), "conformance-pool-watch")
    descriptor = config.getoption("--conformance-events")
    if descriptor is not None:
        os.set_inheritable(descriptor, False)  # else workers would keep it open
        config.pluginmanager.register(Reporter(descriptor), "conformance-reporter")
    plan = config.getoption("--conformance-plan")
    if plan:
        config.pluginmanager.register(Plan(set(json.loads(Path(plan).read_text()))), "conformance-plan")


class Plan:
    """Leaves out all tests but those that were asked for."""

    def __init__(self, nodeids: set[str]) -> None:
        self._nodeids = nodeids

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if item.nodeid not in self._nodeids]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item.nodeid in self._nodeids]


class PoolWatch:
    """Writes down the state of the pool of workers while a test takes suspiciously long."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._current = ""
        self._due = float("inf")
        threading.Thread(target=self._watch, name="conformance-pool-watch", daemon=True).start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._current, self._due = nodeid, time.monotonic() + SUSPICIOUS_SECONDS

    def pytest_runtest_logfinish(self) -> None:
        self._due = float("inf")

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            if time.monotonic() > self._due:
                self._due = time.monotonic() + SUSPICIOUS_SECONDS
                self._file.write(f"{self._current} still runs; the pool: {_pool_status()}\n")


def _pool_status() -> str:
    from daft_k8s.driver.session import find_current_session

    session = find_current_session()
    try:
        return "none" if session is None or session.closed else repr(session.snapshot())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class Reporter:
    """Writes one line of JSON for each event."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._status = ""
        self._seconds = 0.0
        self._error = ""
        self._detail = ""

    def _write(self, **event: Any) -> None:
        line = (json.dumps(event) + "\n").encode()
        while line:
            line = line[os.write(self._descriptor, line) :]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed or report.skipped:
            status = "error" if report.failed else "skipped"
            error = first_line(report.longreprtext) if report.failed else ""
            self._write(
                event="result",
                nodeid=report.nodeid,
                status=status,
                seconds=0.0,
                error=error,
                detail=report.longreprtext[-MAX_DETAIL_CHARACTERS:],
            )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._write(event="collected", nodeids=[item.nodeid for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._status, self._seconds, self._error, self._detail = "", 0.0, "", ""
        self._write(event="start", nodeid=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds += report.duration
        if report.failed:
            self._status = "failed" if report.when == "call" else "error"
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash is not None else report.longreprtext
            self._error = self._error or first_line(text)
            self._detail = (self._detail + report.longreprtext)[-MAX_DETAIL_CHARACTERS:]
        elif report.skipped:
            self._status = self._status or "skipped"
            expected = getattr(report, "wasxfail", None)
            if expected is not None:
                self._error = f"expected to fail: {expected}"
                self._detail = report.longreprtext[-MAX_DETAIL_CHARACTERS:]
            elif isinstance(report.longrepr, tuple):
                self._error = str(report.longrepr[2])
        elif report.when == "call":
            self._status = self._status or "passed"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._write(
            event="result",
            nodeid=nodeid,
            status=self._status,
            seconds=round(self._seconds, 3),
            error=self._error,
            detail=self._detail,
        )


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
