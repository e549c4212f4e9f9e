"""The life of a worker process: start, serve, drain, stop.

Nothing here may import Daft outside of `daft_variables`: Daft reads its environment once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from daft_k8s.boot import processes
from daft_k8s.errors import ConfigurationError, DaftK8sError, WorkerStartError
from daft_k8s.handles.actor_calls import set_current_host
from daft_k8s.handles.driver_calls import set_current_worker
from daft_k8s.wire import exit_codes
from daft_k8s.wire.ready_line import Ready
from daft_k8s.wire.worker_settings import WorkerSettings, forget_settings
from daft_k8s.worker import event_loop
from daft_k8s.worker.actor_host import ActorHost
from daft_k8s.worker.daft_variables import daft_variables
from daft_k8s.worker.logs import configure_logging
from daft_k8s.worker.memory_reports import report_memory
from daft_k8s.worker.output import OutputCopy, copy_output
from daft_k8s.worker.pip_install import PipInstall
from daft_k8s.worker.private_directory import make_private_directory, remove_private_directory
from daft_k8s.worker.setup import WorkerSetup
from daft_k8s.worker.signals import ignore_interrupts, release_forked_children

if TYPE_CHECKING:
    from daft_k8s._native import WorkerServer
    from daft_k8s.worker.task_runner import TaskRunner

logger = logging.getLogger(__name__)

_DRAIN_POLL_SECONDS = 0.02
_LAST_OUTPUT_SECONDS = 1.0
"""Seconds for which a stopping worker waits until the driver has taken its last lines."""
_EXIT_SECONDS = 5.0
"""Seconds for which threads of UDFs may delay the exit of a worker that has stopped."""
_CHILD_SECONDS = 0.5
"""Grace for processes that UDFs started to end by SIGTERM, before they are killed."""


def main() -> int:
    """Runs one worker process to its end; returns the exit code."""
    try:
        settings = WorkerSettings.from_environment(os.environ)
    except ConfigurationError as error:
        print(f"daft_k8s worker: {error}", file=sys.stderr)
        return exit_codes.BAD_SETTINGS
    ignore_interrupts()
    release_forked_children()
    output = copy_output() if settings.copy_output else None
    configure_logging(
        session_id=settings.session_id,
        worker_id=settings.worker_id,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )
    forget_settings(os.environ)
    try:
        event_loop.run(_serve(settings, output))
    except DaftK8sError as error:
        logger.error("%s", error)
        return exit_codes.START_FAILED
    except Exception:
        logger.exception("the worker failed")
        return exit_codes.START_FAILED
    finally:
        _end_children(_CHILD_SECONDS)
    return exit_codes.STOPPED


async def _serve(settings: WorkerSettings, output: OutputCopy | None) -> None:
    process = WorkerProcess(settings, output)
    await process.run()
    if process.left_tasks:
        # A thread that still runs a UDF makes native code abort when the interpreter exits, which would look like a
        # crash of the task; and the loop would cancel the tasks, which would look like their failure.
        _exit_now(exit_codes.STOPPED)
    # From here on, threads of UDFs are all that can be waited for, and that must have an end.
    _exit_soon(exit_codes.STOPPED)


class WorkerProcess:
    """One worker process."""

    def __init__(self, settings: WorkerSettings, output: OutputCopy | None = None) -> None:
        self._settings = settings
        self._output = output
        self._stop = asyncio.Event()
        self._abandoned = False
        self.left_tasks = False
        """True once the drain has ended before all tasks had."""

    async def run(self) -> None:
        """Serves until the worker is asked to stop, then drains.

        Raises:
            WorkerStartError: The worker cannot start; the message says why.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        # Before anything that takes time: a request to stop during the start must not kill half-way.
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        make_private_directory(settings.spill_dir)
        try:
            packages = PipInstall(list(settings.pip), os.path.join(settings.spill_dir, "pip"))
            try:
                with daft_variables(os.environ, memory_bytes=settings.memory_bytes):
                    runner, server, actors = await self._build(loop)
                await self._wait_for(packages)
            except BaseException:
                await packages.abandon()
                raise
            reports = asyncio.ensure_future(report_memory(server))
            try:
                self._announce(server)
                await self._stop.wait()
                await self._drain(server, runner)
            finally:
                reports.cancel()
                set_current_worker(None)
                set_current_host(None)
                actors.close()
                server.shutdown()
                from daft_k8s._native import flush_log

                flush_log()
        finally:
            remove_private_directory(settings.spill_dir, settings.session_dir, owner_is_gone=self._abandoned)

    async def _wait_for(self, packages: PipInstall) -> None:
        """Waits for pip, or for a request to stop."""
        waits = [asyncio.ensure_future(packages.finish()), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                waits[0].result()
            else:
                await packages.abandon()
        finally:
            for wait in waits:
                wait.cancel()

    async def _build(self, loop: asyncio.AbstractEventLoop) -> tuple[TaskRunner, WorkerServer, ActorHost]:
        settings = self._settings
        server_class = _import_server()
        try:
            import daft

            from daft_k8s.wire.arrow_partitions import guard_pickling
            from daft_k8s.worker.abandoned_calls import AbandonedCalls
            from daft_k8s.worker.code import WorkerCode
            from daft_k8s.worker.executor import DaftExecutor, offer_actors, refuse_nested_queries
            from daft_k8s.worker.row_errors import remember_row_errors
            from daft_k8s.worker.task_runner import TaskRunner
            from daft_k8s.worker.udf_process import start_from_here
        except ImportError as error:
            raise WorkerStartError(f"Daft cannot be imported in the worker: {error}") from error
        refuse_nested_queries()
        offer_actors()
        start_from_here(None if self._output is None else self._output.feed)
        guard_pickling()
        remember_row_errors()
        executor = DaftExecutor(threads=settings.slots, host=settings.host)
        await executor.warm_up()
        ignore_interrupts()
        code = WorkerCode(os.path.join(settings.spill_dir, "code"))
        runner = TaskRunner(executor=executor, worker_id=settings.worker_id, code=code)
        actors = ActorHost(worker_id=settings.worker_id, gpus=settings.gpus, code=code)
        try:
            server = server_class(
                WorkerSetup(
                    settings=settings,
                    daft_version=daft.__version__,
                    python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
                    loop=loop,
                    on_task=runner.on_task,
                    on_cancel=runner.on_cancel,
                    on_stop=self.stop,
                    on_end_query=runner.on_end_query,
                    on_actor=actors.on_command,
                )
            )
        except ValueError as error:
            raise WorkerStartError(f"the worker cannot be given its identity: {error}") from error
        except OSError as error:
            chosen = (settings.control_port, settings.data_port, settings.health_port)
            ports = ", ".join(str(port) for port in chosen if port >= 0)
            raise WorkerStartError(f"cannot listen on {settings.bind_host}, ports {ports}: {error}") from error
        runner.bind(server, AbandonedCalls(server.set_stuck))
        actors.bind(settings.advertised(server.control_address))
        set_current_worker(server)
        set_current_host(actors, server)
        if self._output is not None:
            self._output.bind(server, loop)
        return runner, server, actors

    def _announce(self, server: WorkerServer) -> None:
        settings = self._settings
        server.set_serving()
        if settings.lifeline_fd >= 0:
            watch_lifeline(settings.lifeline_fd, self._on_driver_gone)
        if settings.ready_fd >= 0:
            line = Ready(server.control_address, server.data_address).encode()
            with contextlib.suppress(BrokenPipeError):  # the driver is gone; the lifeline ends this worker
                os.write(settings.ready_fd, line)
            os.close(settings.ready_fd)
        logger.debug(
            "%s serves at %s (control), %s (data)", settings.worker_id, server.control_address, server.data_address
        )

    def stop(self, reason: str) -> None:
        """Begins to drain. Called on the event loop."""
        if not self._stop.is_set():
            logger.debug("%s stops: %s", self._settings.worker_id, reason)
            self._stop.set()

    def _on_driver_gone(self, reason: str) -> None:
        # No driver will ask for the results of running tasks.
        self._abandoned = True
        self.stop(reason)

    def _on_sigterm(self) -> None:
        if not self._stop.is_set():
            self.stop("SIGTERM")
            return
        logger.info("asked to stop again before all tasks had ended: ending at once")
        remove_private_directory(self._settings.spill_dir, self._settings.session_dir)
        _exit_now(128 + signal.SIGTERM)

    async def _drain(self, server: WorkerServer, runner: TaskRunner) -> None:
        server.begin_drain()
        end = time.monotonic() + self._settings.drain_timeout_seconds
        left = 0
        while not self._abandoned and (left := max(server.running_tasks(), runner.running)) and time.monotonic() < end:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        if self._abandoned:
            runner.cancel_all()
        elif left:
            seconds = self._settings.drain_timeout_seconds
            logger.warning("%d tasks were still running after %g s of draining; they are given up", left, seconds)
            self.left_tasks = True
        if self._output is not None and not self._abandoned:
            await self._output.flush(_LAST_OUTPUT_SECONDS)


def watch_lifeline(fd: int, stop: Callable[[str], None]) -> None:
    """Calls `stop` on the running event loop when the other end of a pipe is closed, i.e. its owner is gone."""
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        if os.read(fd, 1) == b"":
            loop.remove_reader(fd)
            os.close(fd)
            stop("the process that started it is gone")

    loop.add_reader(fd, on_readable)


def _import_server() -> type[WorkerServer]:
    try:
        from daft_k8s._native import WorkerServer, log_to
    except ImportError as error:
        raise WorkerStartError(
            f"the extension daft_k8s._native cannot be imported ({error}); install daft_k8s from a wheel for this "
            "platform, or build it with maturin"
        ) from error
    log_to(logging.getLogger("daft_k8s.worker.native"))
    return WorkerServer


def _exit_soon(code: int) -> None:
    """Lets the interpreter exit in its own way, but not wait for UDFs' threads for ever."""

    def exit_late() -> None:
        time.sleep(_EXIT_SECONDS)
        _exit_now(code)

    threading.Thread(target=exit_late, name="exit", daemon=True).start()


def _end_children(grace_seconds: float) -> None:
    """Ends what UDFs have started and left behind: the worker's descendants, and its whole session if it leads one."""
    with contextlib.suppress(Exception):  # e.g. no descriptor left; the worker ends in any case
        processes.end(lambda: processes.family(os.getpid()), grace_seconds=grace_seconds)


def _exit_now(code: int) -> NoReturn:
    _end_children(0)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
