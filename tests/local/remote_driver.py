"""A driver process that does what a test tells it, step by step, while the test does something to its workers."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.local import driver_process

HOPELESS_SECONDS = 60.0
"""Nothing that a test asks for takes so long, unless it hangs."""

_MARK = "\x1e"
_PROGRAM = f"""
import json, os, sys
for _line in sys.stdin:
    _step, _last = json.loads(_line)
    if _last:
        break
    answer = None
    _reply = {{}}
    try:
        exec(_step, globals())
        _reply["answer"] = answer
    except BaseException as _error:
        _reply["error"] = type(_error).__name__
        _reply["text"] = "\\n".join([str(_error), *getattr(_error, "__notes__", ())])
        _error = None
    os.write(2, b"{_MARK}\\n")
    print({_MARK!r} + json.dumps(_reply), flush=True)
else:
    _step = ""
exec(_step, globals())
"""

SETUP = """
import daft, daft_k8s, json, os, sys, threading, time
from daft import col
from tests.local.checkpoint import Checkpoint, Heartbeat
session = daft_k8s.set_runner_k8s(**{options!r})
session.manager.wait_ready(session.configuration.num_workers, 60)
df = daft.range(10_000, partitions=8).with_column("key", col("id") % 7)
"""
KEEP_LOG_LINES = """
import logging

class Lines(logging.Handler):
    def emit(self, record):
        LINES.append(record.getMessage())

LINES = []
logging.getLogger("daft_k8s").addHandler(Lines())
logging.getLogger("daft_k8s").setLevel(logging.INFO)
"""
"""A step after which `LINES` has what the driver logs."""


OPTIONS: dict[str, Any] = {"num_workers": 2, "worker_cpu": 1, "worker_memory": "512Mi"}


class Reply(NamedTuple):
    """What came of a step: its `answer`, or the name and the text of what it raised."""

    answer: Any
    error: str | None
    text: str
    seconds: float
    """Since the step was sent."""


class Worker(NamedTuple):
    """A worker process, as the system sees it."""

    worker_id: str
    pid: int


class RemoteDriver:
    """A driver with a session whose workers spill below `folder`. A context manager: leaving it kills what is left.

    Args:
        folder: Where the spill directory is made.
        before: A step before the session is made.
        session: Whether to make a session; else the driver has imported nothing.
        **options: Of `set_runner_k8s`.
    """

    def __init__(self, folder: Path, *, before: str = "", session: bool = True, **options: Any) -> None:
        self.spill_dir = folder / "spill"
        self._sent = 0.0
        self._replies: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=400)
        self._log_is_read: queue.Queue[None] = queue.Queue()
        self.process = driver_process.start(_PROGRAM, stdin=subprocess.PIPE)
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read_out, self._read_err)]
        for thread in self._threads:
            thread.start()
        if before:
            self.run(before)
        if session:
            all_options = {**OPTIONS, "spill_dir": str(self.spill_dir), **options}
            self.run(SETUP.format(options=all_options))

    def __enter__(self) -> RemoteDriver:
        return self

    def __exit__(self, *_: object) -> None:
        left = self.processes()
        try:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(HOPELESS_SECONDS)
        finally:
            for child in left:
                if child.is_running():
                    child.kill()
            for thread in self._threads:
                thread.join(5)
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                if stream is not None and not stream.closed:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def send(self, step: str, *, last: bool = False) -> None:
        """Begins a step: Python code that may set `answer`. The last one ends the driver as a script would end."""
        assert self.process.stdin is not None
        self._sent = time.monotonic()
        self.process.stdin.write(json.dumps([step, last]) + "\n")
        self.process.stdin.flush()

    def reply(self, seconds: float = HOPELESS_SECONDS) -> Reply:
        """Waits for the end of the step that was sent, and for what the driver has logged until then."""
        try:
            found = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"the driver has not answered after {seconds} s; it wrote\n{self.log()}") from None
        assert found is not None, f"the driver ended with {self.process.wait(5)}; it wrote\n{self.log()}"
        took = time.monotonic() - self._sent
        with contextlib.suppress(queue.Empty):  # a step may have closed stderr
            self._log_is_read.get(timeout=5)
        return Reply(found.get("answer"), found.get("error"), found.get("text", ""), took)

    def has_replied(self) -> bool:
        """Whether `reply` would return at once."""
        return not self._replies.empty()

    def run(self, step: str, seconds: float = HOPELESS_SECONDS) -> Any:
        """Does a step that must not raise; returns its answer."""
        self.send(step)
        reply = self.reply(seconds)
        assert reply.error is None, f"{reply.error}: {reply.text}\n{self.log()}"
        return reply.answer

    def wait(self, seconds: float = HOPELESS_SECONDS) -> int:
        """Waits for the end of the process; returns its exit status."""
        return self.process.wait(seconds)

    def processes(self) -> list[psutil.Process]:
        """All processes below the driver."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[Worker]:
        """The worker processes, by name."""
        found = []
        for child in self.processes():
            try:
                found.append(Worker(child.environ()["DAFT_K8S_INTERNAL_WORKER_ID"], child.pid))
            except (psutil.Error, KeyError):
                continue  # it has just ended, or does not run Python yet
        return sorted(found)

    def wait_for_workers(self, count: int = 2, seconds: float = HOPELESS_SECONDS) -> list[Worker]:
        """Waits until so many workers are ready, and returns them."""

        def ready() -> bool:
            return bool(self.run("answer = session.manager.ready_count()") == count)

        poll(ready, seconds, f"{count} workers are not ready")
        return self.workers()

    def log(self) -> str:
        """The end of what the driver and its workers wrote to stderr.

        After a reply, all that the driver's own threads had written before. Other threads and workers may be late:
        see `wait_for_log`.
        """
        return "\n".join(tuple(self._errors))

    def wait_for_log(self, pattern: str, seconds: float = 20.0) -> None:
        """Waits until the log has a match for a regular expression."""
        poll(lambda: re.search(pattern, self.log()) is not None, seconds, lambda: f"no {pattern!r} in\n{self.log()}")

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(_MARK):
                self._replies.put(json.loads(line[1:]))
        self._replies.put(None)

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text, mark, _ = line.rstrip("\n").partition(_MARK)
            if text or not mark:
                self._errors.append(text)
            if mark:
                self._log_is_read.put(None)


def poll(condition: Callable[[], bool], seconds: float, complaint: str | Callable[[], str]) -> float:
    """Waits until a condition holds; returns how long that took.

    Args:
        condition: Asked again and again.
        seconds: The longest wait.
        complaint: The failure in words; a function, if these tell the state at the end of the wait.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun >= seconds:
            told = complaint if isinstance(complaint, str) else complaint()
            raise AssertionError(f"after {seconds} s {told}")
        time.sleep(0.02)
    return time.monotonic() - begun


def is_alive(pid: int) -> bool:
    """Whether a process runs (and not only waits to be reaped)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: list[int], seconds: float) -> float:
    """Waits until none of the processes runs; returns how long that took."""
    return poll(lambda: not any(map(is_alive, pids)), seconds, f"some of the processes {pids} still run")


def files_below(folder: Path) -> list[str]:
    """Everything in a folder that may not exist."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.is_dir() else []


def send_signal(pid: int, number: signal.Signals) -> float:
    """Signals a process; returns the time, to measure what follows."""
    os.kill(pid, number)
    return time.monotonic()
