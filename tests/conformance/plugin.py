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
import sys
import types
from pathlib import Path
from typing import Any

import pytest

MAX_DETAIL_CHARACTERS = 12_000


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
    # `DataFrame.iter_partitions` yields references with Ray and partitions here; tests resolve what they get.
    stand_in = types.ModuleType("ray", "Stands in for Ray where tests resolve partitions.")
    stand_in.get = _get  # type: ignore[attr-defined]
    stand_in.ObjectRef = type("ObjectRef", (), {})  # type: ignore[attr-defined]
    stand_in.exceptions = types.ModuleType("ray.exceptions")  # type: ignore[attr-defined]
    stand_in.exceptions.RayTaskError = type("RayTaskError", (Exception,), {})  # type: ignore[attr-defined]
    sys.modules["ray"] = stand_in
    sys.modules["ray.exceptions"] = stand_in.exceptions


def _get(partitions: Any) -> Any:
    from daft.recordbatch import MicroPartition

    for partition in partitions if isinstance(partitions, list) else [partitions]:
        if not isinstance(partition, MicroPartition):
            raise TypeError(f"a runner without Ray yields partitions, not {type(partition).__name__}")
    return partitions


def pytest_configure(config: pytest.Config) -> None:
    stacks = config.getoption("--conformance-stacks")
    if stacks:
        # Kept open for as long as the process lives: a signal may come at any time.
        faulthandler.register(signal.SIGUSR1, file=open(stacks, "a"), all_threads=True)  # noqa: SIM115
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
            self._error = self._error or (str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
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
