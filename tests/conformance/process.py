"""One pytest process after the other, until every test of a share has a result."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import Result

START_LIMIT_SECONDS = 600.0
"""How long the imports and the collection may take, and the end after the last test."""

STACKS_SECONDS = 1.0
"""How long a process that hangs may take to write its stacks before it is killed."""

NOTHING_RAN = 5  # pytest's exit codes: 0 all passed, 1 some failed, 5 there were none
PROPER_EXITS = (0, 1, NOTHING_RAN)


@dataclass(frozen=True)
class Place:
    """Where and how pytest runs."""

    stage: Path
    name: str  # of its files
    files: Path  # the folder for them
    environment: Mapping[str, str]
    arguments: Sequence[str]
    python: str = sys.executable

    @property
    def log(self) -> Path:
        return self.files / f"{self.name}.log"

    @property
    def stacks(self) -> Path:
        return self.files / f"{self.name}.stacks"

    @property
    def plan(self) -> Path:
        return self.files / f"{self.name}.plan.json"


class BrokenRun(Exception):
    """pytest itself could not do its work."""


class PytestProcess:
    """Starts pytest, reads its events, and ends it and all that it started where it hangs."""

    def __init__(self, place: Place, arguments: Sequence[str]) -> None:
        self._place = place
        read_end, write_end = os.pipe()
        place.files.mkdir(parents=True, exist_ok=True)
        with place.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [
                    *(place.python, "-m", "pytest", "-p", "conformance.plugin", "--rootdir", str(place.stage)),
                    *("-c", str(place.stage / "pytest.ini"), "-p", "no:cacheprovider", "-p", "no:timeout"),
                    *("--basetemp", str(place.stage / f"tmp-{place.name}"), "--conformance-events", str(write_end)),
                    *("--conformance-stacks", str(place.stacks), *place.arguments, *arguments),
                ],
                cwd=place.stage,
                env=dict(place.environment),
                pass_fds=[write_end],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        os.close(write_end)
        self._events = read_end
        self._unread = b""

    def next_event(self, limit_seconds: float) -> dict[str, Any] | None:
        """The next event; None when the process has ended.

        Raises:
            TimeoutError: If there is none in time.
        """
        deadline = time.monotonic() + limit_seconds
        while b"\n" not in self._unread:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            if select.select([self._events], [], [], min(remaining, 0.5))[0]:
                chunk = os.read(self._events, 1 << 16)
                if not chunk:
                    return None
                self._unread += chunk
            elif self._process.poll() is not None and not select.select([self._events], [], [], 0)[0]:
                return None  # a child of its own may still hold the pipe
        line, _, self._unread = self._unread.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event

    def wait(self) -> int:
        """Waits for the end and returns the exit code; kills it if it does not come."""
        try:
            return self._process.wait(START_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """Kills it and its children; local workers see the end of their driver and follow."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STACKS_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self.kill()
        os.close(self._events)

    def last_words(self) -> str:
        """The end of its output."""
        return self._place.log.read_bytes()[self._log_start :].decode(errors="replace")[-3000:]


def collect(place: Place, paths: Sequence[str], *, on_result: Callable[[Result], None]) -> list[str]:
    """The node ids below the paths; modules that cannot be collected are reported as results.

    Raises:
        BrokenRun: If pytest cannot even collect.
    """
    process = PytestProcess(place, ["--collect-only", "-q", *paths])
    try:
        nodeids: list[str] | None = None
        while (event := process.next_event(START_LIMIT_SECONDS)) is not None:
            if event["event"] == "collected":
                nodeids = event["nodeids"]
            elif event["event"] == "result":
                on_result(_to_result(event))
        process.wait()
        if nodeids is None:
            raise BrokenRun(f"pytest could not collect:\n{process.last_words()}")
        return nodeids
    finally:
        process.close()


def run_all(
    place: Place,
    nodeids: Sequence[str],
    *,
    limit_seconds: float,
    on_result: Callable[[Result], None],
    on_bad_end: Callable[[str], None],
) -> None:
    """Runs the tests in order, in as many processes as it takes.

    A test that does not end within the limit, or takes its process with it, gets the status "error",
    and a new process goes on after it. A process that ends badly after its last test is told to `on_bad_end`.

    Raises:
        BrokenRun: If pytest ends without having run anything.
    """
    remaining = dict.fromkeys(nodeids)
    while remaining:
        before = len(remaining)
        _run_one_process(place, remaining, limit_seconds, on_result, on_bad_end)
        if len(remaining) == before:
            raise BrokenRun(f"pytest ran none of {before} tests:\n{place.log.read_text(errors='replace')[-3000:]}")


def _run_one_process(
    place: Place,
    remaining: dict[str, None],
    limit_seconds: float,
    on_result: Callable[[Result], None],
    on_bad_end: Callable[[str], None],
) -> None:
    place.files.mkdir(parents=True, exist_ok=True)
    place.plan.write_text(json.dumps(list(remaining)))
    files = dict.fromkeys(nodeid.partition("::")[0] for nodeid in remaining)

    def finish(result: Result) -> None:
        if result.nodeid in remaining:
            del remaining[result.nodeid]
            on_result(result)

    process = PytestProcess(place, ["-q", "--conformance-plan", str(place.plan), *files])
    current: str | None = None
    started = 0.0
    try:
        while True:
            try:
                event = process.next_event(START_LIMIT_SECONDS if current is None else limit_seconds)
            except TimeoutError:
                process.kill()
                if current is None:
                    return
                error = f"did not end within {limit_seconds:g} s; its stacks are in {place.stacks}"
                finish(Result(current, "error", limit_seconds, error))
                return
            if event is None:
                break
            if event["event"] == "start":
                current, started = event["nodeid"], time.monotonic()
            elif event["event"] == "result":
                finish(_to_result(event))
                current = None
        code = process.wait()
        if current is not None:
            seconds = time.monotonic() - started
            finish(Result(current, "error", seconds, f"took its process with it ({_describe(code)}); see {place.log}"))
        elif code in PROPER_EXITS:
            for nodeid in list(remaining):
                finish(Result(nodeid, "error", 0.0, "was not found again: its name changes from run to run"))
        else:
            on_bad_end(f"{_describe(code)}; see {place.log}")
    finally:
        process.close()


def _describe(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _to_result(event: dict[str, Any]) -> Result:
    return Result(**{name: value for name, value in event.items() if name != "event"})
