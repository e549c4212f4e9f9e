"""Workers as processes of this machine."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from daft_k8s.allocation.driver_snapshot import DriverSnapshot
from daft_k8s.allocation.local_environment import worker_environment
from daft_k8s.allocation.local_process import COMMAND, LocalProcess
from daft_k8s.allocation.session_dir import SessionDir, sweep_dead_sessions
from daft_k8s.errors import WorkerStartError
from daft_k8s.printable import is_terminal
from daft_k8s.wire.worker_output import shown

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.pool_news import ExitCause, PoolNews
    from daft_k8s.wire.ready_line import Ready

logger = logging.getLogger(__name__)

_STOP_MARGIN_SECONDS = 2.0
"""Seconds that a worker gets beyond its drain time-out, to close its servers and remove its files."""
_PATIENCE_SECONDS = 1.0
"""Seconds for which workers may finish tasks when the session ends: nothing reads their results any more."""
_REAP_SECONDS = 5.0
"""Seconds that the end of a killed process may take: the kernel frees its memory first."""


class LocalLauncher:
    """Starts, watches and ends worker processes. Thread-safe; `launch` and `stop` do not block.

    What workers write, UDFs' prints included, goes to this process's stderr, each line with its
    worker's name.

    Args:
        configuration: Sizes, limits and time-outs of a worker.
        session_id: The session.
        token: The session's secret.
        manager_getter: Gives the pool, which is made after its launcher; None once it is gone.
        certificates: The files with which a worker proves who it is; empty: nothing is encrypted.
        keep_output: Is given each line that a worker writes, with the worker's name; None: they are dropped.
        environment: The driver's surroundings at the start of the session; None: as they are now.
        command: The command to run; tests run another one.

    Raises:
        WorkerStartError: The session's directory cannot be made.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        session_id: str,
        token: str,
        manager_getter: Callable[[], PoolNews | None],
        certificates: Mapping[str, bytes] = MappingProxyType({}),
        keep_output: Callable[[str, Sequence[str]], None] | None = None,
        environment: DriverSnapshot | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._configuration = configuration
        self._session_id = session_id
        self._token = token
        self._manager_getter = manager_getter
        self._driver_snapshot = environment or DriverSnapshot.take()
        self._keep_output = keep_output
        self._command = command
        self._lock = threading.Lock()
        self._processes: dict[tuple[str, int], LocalProcess] = {}
        self._closed = False
        try:
            sweep_dead_sessions(configuration.spill_dir)
            self._directory = SessionDir(session_id, base=configuration.spill_dir)
            self._tls_dir = self._directory.keep(certificates) if certificates else ""
        except OSError as error:
            raise WorkerStartError(
                f"the directory in which workers spill cannot be made: {error}; set spill_dir to a directory that "
                "this user can write to"
            ) from error

    @property
    def directory(self) -> str:
        """The session's directory; each worker has its own below it."""
        return self._directory.path

    @property
    def patience_seconds(self) -> float:
        """Seconds for which the pool waits for a worker that does not answer."""
        return self._configuration.unreachable_timeout_seconds

    @property
    def cluster_problem(self) -> str:
        """None: there is no cluster."""
        return ""

    def launch(self, worker_id: str, launch_id: int) -> None:
        """Starts a process; `worker_started` or `worker_exited` of the pool follow."""
        spill_dir = self._directory.worker_dir(worker_id, launch_id)
        with self._lock:
            if self._closed:
                return
            self._processes[worker_id, launch_id] = LocalProcess(
                worker_id=worker_id,
                launch_id=launch_id,
                environment=functools.partial(self._environment, worker_id, launch_id, spill_dir),
                token=self._token,
                spill_dir=spill_dir,
                start_timeout_seconds=self._configuration.start_timeout_seconds,
                events=self,
                command=self._command,
            )

    def stop(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Ends a process: it may drain, and is killed if that takes too long."""
        with self._lock:
            process = self._processes.get((worker_id, launch_id))
        if process is not None:
            process.stop(reason, self._configuration.drain_timeout_seconds + _STOP_MARGIN_SECONDS)

    def kill(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Ends a process at once: it is given no time for what it still does."""
        with self._lock:
            process = self._processes.get((worker_id, launch_id))
        if process is not None:
            process.stop(reason, 0.0)

    def worker_ready(self, worker_id: str) -> None:
        """Nothing follows from it: a process says itself when it is ready, and is seen to end."""

    def shutdown(self, timeout_seconds: float) -> None:
        """Ends and reaps all processes and removes all their files. Blocks for about the time-out at most. Idempotent.

        Workers get the time-out to stop by themselves, most of it without their tasks, then they are killed.
        """
        with self._lock:
            self._closed = True
            processes = list(self._processes.values())
        end = time.monotonic() + timeout_seconds
        for process in processes:
            process.stop("the session ends", timeout_seconds)
        for process in _still_running(processes, min(end, time.monotonic() + _PATIENCE_SECONDS)):
            process.hurry()
        for process in _still_running(processes, end):
            process.kill()
        for process in _still_running(processes, time.monotonic() + _REAP_SECONDS):
            logger.error("%s (pid %s) does not end, although it was killed", process.worker_id, process.pid)
        self._directory.remove()

    def on_ready(self, process: LocalProcess, ready: Ready) -> None:
        """A process serves. Called on its thread."""
        manager = self._manager_getter()
        if manager is not None:
            manager.worker_started(process.worker_id, process.launch_id, ready.control_address, ready.data_address)

    def on_exit(self, process: LocalProcess, reason: str, restartable: bool, cause: ExitCause) -> None:
        """A process is gone, or never came. Called on its thread."""
        with self._lock:
            self._processes.pop((process.worker_id, process.launch_id), None)
            closed = self._closed
        manager = self._manager_getter()
        if manager is not None and not closed:
            manager.worker_exited(process.worker_id, process.launch_id, reason, restartable, cause)

    def on_output(self, process: LocalProcess, line: str) -> None:
        """A process wrote a line. Called on a thread of its own."""
        if self._keep_output is not None:
            self._keep_output(process.worker_id, [line])
        if sys.stderr is not None and self._configuration.worker_output:  # None: under some services
            as_json = self._configuration.log_format == "json"
            terminal = is_terminal(sys.stderr)
            sys.stderr.write(f"{shown(process.worker_id, line, as_json=as_json, terminal=terminal)}\n")

    def _environment(
        self, worker_id: str, launch_id: int, spill_dir: str, ready_fd: int, lifeline_fd: int, token_fd: int
    ) -> dict[str, str]:
        return worker_environment(
            self._configuration,
            session_id=self._session_id,
            worker_id=worker_id,
            launch_id=launch_id,
            spill_dir=spill_dir,
            tls_dir=self._tls_dir,
            ready_fd=ready_fd,
            lifeline_fd=lifeline_fd,
            token_fd=token_fd,
            driver=self._driver_snapshot,
        )


def _still_running(processes: Sequence[LocalProcess], until: float) -> list[LocalProcess]:
    """Waits for the ends of all; returns those that have not come."""
    return [process for process in processes if not process.join(until - time.monotonic())]
