"""One local worker process, watched from its start to its end by a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from daft_k8s.allocation.exit_reasons import cause_of_exit, describe_exit, is_restartable
from daft_k8s.allocation.memory_kills import count_memory_kills
from daft_k8s.allocation.output_reader import OutputReader
from daft_k8s.boot import processes, start
from daft_k8s.printable import printable
from daft_k8s.wire.quoted_log import quote_log
from daft_k8s.wire.ready_line import Ready

if TYPE_CHECKING:
    from daft_k8s.pool_news import ExitCause

logger = logging.getLogger(__name__)

KEPT_LINES = 50
"""Lines of a worker's output that are kept for an error."""
QUOTED_LINES = 10
"""Lines of a worker's output that an error quotes."""

_LAST_OUTPUT_SECONDS = 1.0
"""The time-out for reading the output that a process wrote before its end."""

COMMAND = tuple(start.command("daft_k8s.worker"))


class ProcessEvents(Protocol):
    """The listener to the events of one process. Called on the process's thread."""

    def on_ready(self, process: LocalProcess, ready: Ready) -> None: ...
    def on_exit(self, process: LocalProcess, reason: str, restartable: bool, cause: ExitCause) -> None: ...
    def on_output(self, process: LocalProcess, line: str) -> None: ...


class LocalProcess:
    """Starts at once, without blocking the caller; `on_exit` comes exactly once, also if it never started.

    Args:
        worker_id: The logical worker.
        launch_id: The number of that worker's process.
        environment: Makes the environment, given the numbers of the ready pipe, the lifeline and the token's pipe.
        token: The session's secret, which goes through a pipe.
        spill_dir: Removed when the process has ended, however that was.
        start_timeout_seconds: The time until the ready line.
        events: The listener.
        command: The command to run.
    """

    def __init__(
        self,
        *,
        worker_id: str,
        launch_id: int,
        environment: Callable[[int, int, int], dict[str, str]],
        token: str,
        spill_dir: str,
        start_timeout_seconds: float,
        events: ProcessEvents,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.worker_id = worker_id
        self.launch_id = launch_id
        self.pid: int | None = None
        self._environment = environment
        self._token = token
        self._spill_dir = spill_dir
        self._start_timeout_seconds = start_timeout_seconds
        self._events = events
        self._command = list(command)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_reason: str | None = None
        self._was_ready = False
        self._kill_timer: threading.Timer | None = None
        self._thread = threading.Thread(target=self._run, name=f"{worker_id}-{launch_id}", daemon=True)
        self._thread.start()

    def stop(self, reason: str, grace_seconds: float) -> None:
        """Asks the process to end, and kills it and its children after the grace. Does not block. Idempotent."""
        with self._lock:
            first = self._stop_reason is None
            self._stop_reason = self._stop_reason or reason
            if first and self._process is not None and self._process.poll() is None:
                self._signal(signal.SIGTERM, group=False)
                self._kill_timer = threading.Timer(grace_seconds, self.kill)
                self._kill_timer.daemon = True
                self._kill_timer.start()

    def hurry(self) -> None:
        """Tells a process that was asked to end to give up what it still does. Does not block."""
        with self._lock:
            if self._stop_reason is not None:
                self._signal(signal.SIGTERM, group=False)  # a worker takes the second one so

    def kill(self) -> None:
        """Kills the process and its children. Does not block."""
        with self._lock:
            self._stop_reason = self._stop_reason or "it was killed"
            self._signal(signal.SIGKILL, group=True)

    def join(self, timeout_seconds: float) -> bool:
        """Waits for the end, `on_exit` included; tells whether it came."""
        self._thread.join(max(0.0, timeout_seconds))
        return not self._thread.is_alive()

    def _signal(self, number: signal.Signals, *, group: bool) -> None:
        """Only ever reaches the process itself or its group: an unreaped process keeps its number."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(self._process.pid, number)
            else:
                os.kill(self._process.pid, number)

    def _run(self) -> None:
        reason, restartable = "", True
        cause: ExitCause = "never_started"
        try:
            reason, restartable, cause = self._live()
        except Exception as error:
            logger.exception("watching %s failed", self.worker_id)
            reason = f"{self.worker_id} could not be watched: {error}"
        finally:
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            # Told first: until then the driver connects to an address that may be another process's by now.
            try:
                self._events.on_exit(self, reason, restartable, cause)
            finally:
                shutil.rmtree(self._spill_dir, ignore_errors=True)

    def _live(self) -> tuple[str, bool, ExitCause]:
        ready_read, ready_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        try:
            try:
                process = self._start(ready_write, lifeline_read)
            except OSError as error:
                return f"{self.worker_id} could not be started: {error}", True, "never_started"
            finally:
                os.close(ready_write)
                os.close(lifeline_read)
            if process is None:
                return f"{self.worker_id} was not started: {self._stop_reason}", True, "stopped"
            memory_kills = count_memory_kills()
            assert process.stdout is not None
            output = OutputReader(process.stdout, self._on_line, name=f"{self.worker_id}-output")
            problem = self._wait_ready(ready_read)
            self._wait_exit(process)
            output.catch_up(_LAST_OUTPUT_SECONDS)
            cause = cause_of_exit(
                process.returncode,
                was_ready=self._was_ready,
                was_told_to_stop=self._stop_reason is not None and problem is None,
                memory_kills=count_memory_kills() - memory_kills,
            )
            return self._reason(process, problem), is_restartable(process.returncode), cause
        finally:
            os.close(ready_read)
            os.close(lifeline_write)

    def _start(self, ready_fd: int, lifeline_fd: int) -> subprocess.Popen[bytes] | None:
        token_fd = _filled_pipe(self._token.encode())
        try:
            environment = self._environment(ready_fd, lifeline_fd, token_fd)
            with self._lock:
                if self._stop_reason is not None:
                    return None
                self._process = subprocess.Popen(
                    self._command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(ready_fd, lifeline_fd, token_fd),
                    start_new_session=True,  # Ctrl-C in the terminal is for the driver
                )
                self.pid = self._process.pid
                return self._process
        finally:
            os.close(token_fd)

    def _wait_ready(self, fd: int) -> str | None:
        """Waits for the ready line, and kills a process that does not write one; returns what went wrong."""
        line = _read_line(fd, self._start_timeout_seconds)
        if line is None:
            self.kill()
            return f"was not ready after {self._start_timeout_seconds:g} s and was killed"
        if line == b"":
            return None  # it ended, or will: how is what there is to tell
        try:
            ready = Ready.decode(line)
        except ValueError:
            self.kill()
            return f"wrote a ready line that is none, and was killed: {line[:200]!r}"
        self._was_ready = True
        self._events.on_ready(self, ready)
        return None

    def _wait_exit(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the end, and lets nothing that the worker has started outlive it."""
        if hasattr(os, "waitid"):
            # Not reaped yet, so its number, which is also its group's, cannot belong to another meanwhile.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with self._lock:
            self._signal(signal.SIGKILL, group=True)
        # Actors have groups of their own, and so has what a UDF starts as a job.
        processes.end(lambda: processes.family(process.pid))
        with self._lock:
            process.wait()

    def _on_line(self, line: str) -> None:
        self._lines.append(line)
        self._events.on_output(self, line)

    def _reason(self, process: subprocess.Popen[bytes], problem: str | None) -> str:
        text = f"{self.worker_id} (pid {process.pid}) {problem or describe_exit(process.returncode)}"
        if self._stop_reason is not None and problem is None:
            text += f"; it was asked to stop: {self._stop_reason}"
        lines = [printable(line) for line in list(self._lines)[-QUOTED_LINES:]]
        return text + (quote_log(lines) or "; it logged nothing")


def _filled_pipe(content: bytes) -> int:
    """The end of a pipe from which a process reads the content; a pipe has room for far more than that."""
    read_fd, write_fd = os.pipe()
    with open(write_fd, "wb") as pipe:
        pipe.write(content)
    return read_fd


def _read_line(fd: int, timeout_seconds: float) -> bytes | None:
    """Reads up to a line's end; b"": the writer is gone; None: it took too long."""
    end = time.monotonic() + timeout_seconds
    poll = select.poll()  # select() knows no file descriptors above 1023
    poll.register(fd, select.POLLIN | select.POLLHUP)
    line = b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        read = os.read(fd, 4096)
        if not read:
            return b""
        line += read
    return line
