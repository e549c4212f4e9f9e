"""One session: the workers of one driver process, from their launch to their end."""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import sys
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from daft_k8s._native import flush_log
from daft_k8s.allocation import make_launcher
from daft_k8s.driver.kept_output import KeptOutput
from daft_k8s.driver.metrics_server import MetricsServer, metrics_of
from daft_k8s.driver.pool_description import describe_pool
from daft_k8s.driver.presentation import Worker, as_html, as_text, workers_of
from daft_k8s.driver.session_log import event_log_of
from daft_k8s.driver.setup import DriverSetup
from daft_k8s.driver.termination import exit_on_signals, signals_postponed
from daft_k8s.driver.worker_calls import WorkerCalls
from daft_k8s.driver.worker_output import WorkerOutput
from daft_k8s.errors import ClusterError, SessionClosedError, WorkerStartError
from daft_k8s.observe.metrics import gauges
from daft_k8s.observe.observer import SessionObserver
from daft_k8s.observe.session_summary import encode
from daft_k8s.wire.calls import PrintLines, ReportMemory

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from types import TracebackType

    from typing_extensions import Self

    from daft_k8s._native import K8sWorkerManager, PoolSnapshot, SessionCertificates
    from daft_k8s.allocation import DriverSnapshot, Launcher
    from daft_k8s.config import Configuration

logger = logging.getLogger("daft_k8s")

SHUTDOWN_TIMEOUT_SECONDS = 5.0
"""Seconds that workers get to stop by themselves before their allocator ends them."""

TASKS_AHEAD_FACTOR = 3
"""Tasks that Daft's scheduler may hand out at once, as a multiple of a worker's slots.

Each round of its scheduler costs about as much as ten small tasks. 2,000 trivial tasks on two workers ran at 570 a
second with factor 1, 700 with 3, and not faster with 6. A larger factor would only undo Daft's order of stages.
"""

OBSERVATION_SECONDS = 0.5
"""The interval at which the session's facts are read. The journal keeps some seconds of the busiest session, and the
event log is to be at most 1 s behind."""


class WorkerListener(Protocol):
    """Hears of workers that come and go, on the event loop."""

    def worker_ready(self, worker_id: str) -> None: ...
    def worker_lost(self, worker_id: str, reason: str) -> None: ...


class Session:
    """Owns the workers of this process. Thread-safe; usable in `with`.

    Made by `daft_k8s.set_runner_k8s`. Leaving the `with` block, `shutdown()`, or the end of the
    process ends every worker.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        loop: AbstractEventLoop,
        daft_version: str,
        environment: DriverSnapshot | None = None,
        manager_factory: Callable[[DriverSetup], K8sWorkerManager] | None = None,
    ) -> None:
        self.configuration = configuration
        self.session_id = uuid.uuid4().hex[:12]
        self.attachment: object = None
        """The seam's own, kept for as long as the session lives."""
        self._event_log = event_log_of(configuration, self.session_id, daft_version)
        self._metrics = metrics_of(configuration)
        self._metrics_server: MetricsServer | None = None
        self._observer = SessionObserver(*(found for found in (self._event_log, self._metrics) if found is not None))
        self._loop = loop
        self._daft_version = daft_version
        self._environment = environment
        self._manager_factory = manager_factory
        self._kept_output = KeptOutput()
        self._output = WorkerOutput(as_json=configuration.log_format == "json", keep=self._kept_output.keep)
        self.calls = WorkerCalls()
        """Answers the calls of workers."""
        self.calls.add(ReportMemory, self._observer.memory.on_report)
        self.calls.add(PrintLines, self._output.print_lines)
        self._closers: list[Callable[[], None]] = []
        self._listeners: list[WorkerListener] = []
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._manager: K8sWorkerManager | None = None
        self._launcher: Launcher | None = None
        self._closed = False

    @property
    def advertised_cpus(self) -> float:
        """CPUs that Daft's scheduler believes a worker to have, so that it hands out tasks ahead of time.

        The pool keeps those that no worker has room for yet. With `queue_ahead=0` it is told the truth.
        """
        configuration = self.configuration
        if configuration.queue_ahead == 0:
            return float(configuration.slots_per_worker)
        return float(TASKS_AHEAD_FACTOR * (configuration.slots_per_worker + configuration.queue_ahead))

    @property
    def slots(self) -> int:
        """Tasks that all workers together run at once; of an elastic pool, all that there may be.

        A query whose shuffles have fewer partitions could never occupy the workers that it makes the pool start.
        """
        return self.configuration.most_workers * self.configuration.slots_per_worker

    @property
    def patience_seconds(self) -> float:
        """Seconds for which the pool waits for a worker that does not answer, before the worker is lost."""
        launcher = self._launcher
        return self.configuration.unreachable_timeout_seconds if launcher is None else launcher.patience_seconds

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop on which all callbacks arrive."""
        return self._loop

    @property
    def closed(self) -> bool:
        """True if the session is over, or belongs to the process from which this one was forked."""
        return self._closed or os.getpid() != self._pid

    @property
    def manager(self) -> K8sWorkerManager:
        """The native pool; starts the session if it has not been.

        Raises:
            SessionClosedError: If the session was shut down, or this process was forked from its own.
        """
        self.ensure_open()
        if self._manager is None:
            self.start()
        if self._manager is None:
            raise SessionClosedError("the session was shut down while it started")
        return self._manager

    def ensure_open(self, advice: str = "call set_runner_k8s again to start a new one") -> None:
        """Raises SessionClosedError if nothing can be run any more."""
        if os.getpid() != self._pid:
            raise SessionClosedError(
                f"the session belongs to process {self._pid}, from which this one was forked; "
                "a forked process cannot use its parent's workers: start it with the 'spawn' method instead"
            )
        if self._closed:
            raise SessionClosedError(f"the session was shut down; {advice}")

    def start(self) -> Self:
        """Asks for all workers and returns at once. Idempotent."""
        with self._lock:
            self.ensure_open()
            if self._manager is not None:
                return self
            factory = self._manager_factory or _native_manager
            token = secrets.token_urlsafe(32)
            configuration = self.configuration
            certificates = _certificates(self.session_id) if configuration.tls else None
            launcher = make_launcher(
                configuration,
                session_id=self.session_id,
                token=token,
                certificates=certificates.worker_files if certificates is not None else {},
                manager_getter=lambda: self._manager,
                summarize=self.summary,
                keep_output=self._kept_output.keep,
                environment=self._environment,
            )
            try:
                self._manager = factory(
                    DriverSetup(
                        session_id=self.session_id,
                        token=token,
                        daft_version=self._daft_version,
                        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
                        configuration=configuration,
                        unreachable_timeout_seconds=launcher.patience_seconds,
                        certificates=certificates,
                        loop=self._loop,
                        launcher=launcher,
                        on_worker_call=self.calls.on_call,
                        on_worker_ready=self._on_worker_ready,
                        on_worker_lost=self._on_worker_lost,
                    )
                )
                self._launcher = launcher
                atexit.register(self._on_exit)
                exit_on_signals()
                self._ask_for_workers(self._manager)
                if self._event_log is not None:
                    self._event_log.start()
                self._serve_metrics()
                self._loop.call_soon_threadsafe(self._observe)
            except BaseException as error:
                self._launcher = launcher
                self.shutdown()
                if isinstance(error, RuntimeError):
                    # The extension's words, e.g. that this process was forked from one that uses it.
                    raise SessionClosedError(str(error)) from error
                raise
            logger.info("session %s asks for %s workers", self.session_id, self._size())
            return self

    def _ask_for_workers(self, manager: K8sWorkerManager) -> None:
        configuration = self.configuration
        if configuration.max_workers is None:
            manager.set_desired_workers(configuration.num_workers)
        else:
            manager.set_worker_range(
                configuration.min_workers or 0, configuration.num_workers, configuration.max_workers
            )

    def wait_for_worker(self) -> None:
        """Blocks until at least one worker is ready. Ctrl-C ends the wait.

        Has the pool try workers again that were given up.

        Raises:
            ClusterError: The cluster cannot be reached at all, and waiting would not change that.
            WorkerStartError: With the reason of each worker, if none came up in time.
        """
        manager = self.manager
        timeout_seconds = self.configuration.start_timeout_seconds
        try:
            ready = manager.wait_ready(1, timeout_seconds)
        except RuntimeError as error:
            self.ensure_open()
            problem = "" if self._launcher is None else self._launcher.cluster_problem
            if problem:
                raise ClusterError(problem) from None
            raise WorkerStartError(f"no worker could be started: {error}") from None
        if ready < 1:
            self.ensure_open()
            raise WorkerStartError(
                f"no worker was ready after {timeout_seconds:g} s; if they are only slow to start, raise "
                f"start_timeout_seconds. What they do: {describe_pool(manager.status())}"
            )

    def add_closer(self, closer: Callable[[], None]) -> None:
        """Calls `closer` when the session is shut down, after its connections are closed."""
        self._closers.append(closer)

    def add_worker_listener(self, listener: WorkerListener) -> None:
        """Tells `listener` of workers that come and go. Before the session starts, or some are missed."""
        self._listeners.append(listener)

    def _on_worker_ready(self, worker_id: str) -> None:
        launcher = self._launcher
        if launcher is not None:
            launcher.worker_ready(worker_id)
        for listener in self._listeners:
            listener.worker_ready(worker_id)

    def _on_worker_lost(self, worker_id: str, reason: str) -> None:
        self._observer.memory.worker_lost(worker_id)
        for listener in self._listeners:
            listener.worker_lost(worker_id, reason)

    def snapshot(self) -> PoolSnapshot:
        """The pool now: its workers with their states, and its tasks."""
        return self.manager.status()

    def status(self) -> str:
        """The same as JSON, for scripts."""
        return json.dumps(self.snapshot(), default=_attributes)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers now, with their states, tasks and memory; none before the start and after the end."""
        manager = self._manager
        if manager is None or self.closed:
            return ()
        pool = manager.status()
        summary = self._observer.summary(manager.facts_since, pool, self.configuration.slots_per_worker)
        return workers_of(pool, summary)

    def logs(self, worker: str | None = None, *, lines: int = 100) -> str:
        """The last lines that workers have printed and logged, as text. They stay after the end of the session.

        Args:
            worker: The name of a worker, such as `worker-0`; None: of all, each line with its worker's name in front.
            lines: The largest number of lines. At most 4 MiB are kept. With `worker_output=False`, Pods send none.
        """
        return "\n".join(self._kept_output.lines(worker)[-lines:] if lines > 0 else [])

    def summary(self) -> str:
        """The session in few numbers, as `session_summary` writes them; "": it has not started, or has ended."""
        manager = self._manager
        if manager is None:
            return ""
        return encode(
            self._observer.summary(manager.facts_since, manager.status(), self.configuration.slots_per_worker)
        )

    def _observe(self) -> None:
        manager = self._manager
        if manager is not None:
            try:
                self._observer.read(manager.facts_since)
            finally:
                self._loop.call_later(OBSERVATION_SECONDS, self._observe)

    @property
    def metrics_address(self) -> str | None:
        """The address at which the session serves its metrics, `host:port`; None: it serves none."""
        server = self._metrics_server
        return None if server is None else server.address

    def _serve_metrics(self) -> None:
        port = self.configuration.metrics_port
        if self._metrics is not None and port is not None:
            self._metrics_server = MetricsServer(port, self._metrics, self._gauges, session_id=self.session_id)
            self._metrics_server.start()

    def _gauges(self) -> dict[tuple[str, str], float] | None:
        manager = self._manager
        if manager is None or self.closed:
            return None
        pool, slots = manager.status(), self.configuration.slots_per_worker
        return gauges(self._observer.summary(manager.facts_since, pool, slots), pool, slots)

    def shutdown(self) -> None:
        """Ends all workers. Idempotent, thread-safe, never raises; does nothing in a forked child.

        A SIGTERM or SIGHUP that arrives meanwhile ends the process afterwards.
        """
        self._shut_down(exits=False)

    def _shut_down(self, *, exits: bool) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            manager, self._manager = self._manager, None
            launcher, self._launcher = self._launcher, None
        steps: list[Callable[[], object]] = []
        if manager is not None:
            steps.append(self._output.settle)
            steps.append(lambda: manager.shutdown(SHUTDOWN_TIMEOUT_SECONDS))
            steps.append(flush_log)
        if launcher is not None:
            steps.append(lambda: launcher.shutdown(SHUTDOWN_TIMEOUT_SECONDS))
        if manager is not None:
            steps.append(lambda: self._observer.read(manager.facts_since))
        if self._event_log is not None:
            steps.append(self._event_log.close)
        if self._metrics_server is not None:
            steps.append(self._metrics_server.close)
        with signals_postponed(exits=exits):
            for step in [*steps, *self._closers]:
                try:
                    step()
                except Exception:
                    logger.exception("session %s did not end properly", self.session_id)
            atexit.unregister(self._on_exit)

    def _on_exit(self) -> None:
        self._shut_down(exits=True)

    def _size(self) -> str:
        configuration = self.configuration
        if configuration.max_workers is None:
            return str(configuration.num_workers)
        return f"{configuration.min_workers or 0} to {configuration.max_workers}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return as_text(self._head(), self._shown_workers())

    def _repr_html_(self) -> str:
        return as_html(self._head(), self._shown_workers())

    def _head(self) -> str:
        state = "closed" if self.closed else "open" if self._manager is not None else "not started"
        return f"<daft_k8s session {self.session_id}, {self._size()} workers, {state}>"

    def _shown_workers(self) -> tuple[Worker, ...]:
        try:
            return self.workers
        except Exception:  # a session that ends at this moment must not make a look at it an error
            return ()


def _native_manager(setup: DriverSetup) -> K8sWorkerManager:
    from daft_k8s._native import K8sWorkerManager, log_to

    log_to(logger)
    return K8sWorkerManager(setup)


def _attributes(snapshot: object) -> dict[str, object]:
    """The public attributes of a snapshot, which the extension gives no other list of."""
    return {name: getattr(snapshot, name) for name in dir(snapshot) if not name.startswith("_")}


def _certificates(session_id: str) -> SessionCertificates:
    from daft_k8s._native import SessionCertificates

    return SessionCertificates(session_id)


_current: Session | None = None
_current_lock = threading.Lock()


def set_current_session(session: Session | None) -> None:
    """Makes a session the one that Daft's hooks use."""
    global _current
    with _current_lock:
        _current = session


def find_current_session() -> Session | None:
    """The session of this process, open or not, if there was ever one."""
    return _current


def current_session() -> Session:
    """The open session of this process.

    Raises:
        SessionClosedError: If there is none.
    """
    session = _current
    if session is None:
        raise SessionClosedError("there is no session; call daft_k8s.set_runner_k8s() first")
    session.ensure_open()
    return session
