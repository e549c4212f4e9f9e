"""The actors of a worker: one thread each, that owns the actor's process, makes its calls and replaces it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import DaftK8sError
from daft_k8s.handles.actor_calls import ActorGoneError
from daft_k8s.handles.driver_calls import DriverCallError, call_driver
from daft_k8s.wire.actor_messages import (
    ActorSpec,
    Answer,
    Buffer,
    encode_message,
    join_message,
)
from daft_k8s.wire.calls import ActorEvent, ActorNews
from daft_k8s.worker.actor_process import ActorDiedError, ActorLateError, ActorProcess, ActorStartError
from daft_k8s.worker.gpus import device_environment

if TYPE_CHECKING:
    from daft_k8s._native import ActorCommand
    from daft_k8s.worker.code import WorkerCode

logger = logging.getLogger(__name__)

MAX_CALL_TRIES = 5
"""Tries of one call in all. A call under which an actor died this often is the likely cause."""
STOP_SECONDS = 3.0
"""Seconds that an actor gets to finish its current call and release its resources before it is killed."""

_GENERATIONS_KEPT = 10_000
"""Of actors that are gone, the last ones; a request that comes late is late by seconds."""

Report = Callable[[ActorEvent, ActorSpec, str, bytes], None]
"""Tells the driver of an event: (event, spec, message, pickled error). Called on the actor's thread."""


class _NotAgainError(DaftK8sError):
    """The actor has been replaced as often as it may be."""


class _Call:
    def __init__(self, parts: Sequence[Buffer]) -> None:
        self.parts = parts
        self.answer: concurrent.futures.Future[bytes | bytearray] = concurrent.futures.Future()

    def begin(self) -> bool:
        """False if the answer is not wanted any more, as the task was cancelled."""
        return self.answer.set_running_or_notify_cancel()

    def refuse(self, reason: str) -> None:
        """Lets the caller turn to another actor."""
        if self.begin():
            self.answer.set_exception(ActorGoneError(reason))


class HostedActor:
    """One actor. Made on the event loop; everything that blocks happens on its own thread."""

    def __init__(
        self, spec: ActorSpec, environment: Mapping[str, str], report: Report, *, folder: str | None = None
    ) -> None:
        self.spec = spec
        self._environment = environment
        self._folder = folder
        self._report = report
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._process: ActorProcess | None = None
        self._starts = 0
        self._last_death = ""
        self._stopping = False
        self._gone = False
        self._thread = threading.Thread(target=self._run, name=spec.label, daemon=True)
        self._thread.start()

    @property
    def gone(self) -> bool:
        """True if the actor takes no more calls."""
        return self._gone or self._stopping

    def call(self, parts: Sequence[Buffer]) -> concurrent.futures.Future[bytes | bytearray]:
        """Queues a call; the future gets the message of the answer, or `ActorGoneError`."""
        call = _Call(parts)
        with self._lock:
            if self.gone:
                call.answer.set_exception(ActorGoneError(f"{self.spec.label} is gone"))
            else:
                self._calls.put(call)
        return call.answer

    def stop(self) -> None:
        """Ends the actor after its current call; kills it if that takes too long. Returns at once."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._calls.put(None)
        killer = threading.Timer(STOP_SECONDS, self.kill)
        killer.daemon = True
        killer.start()

    def kill(self) -> None:
        """Ends the actor's process at once."""
        with self._lock:
            self._stopping = True
            self._calls.put(None)
            process = self._process
        if process is not None:
            process.kill()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the thread, and with it the process, to end."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._start()
        except ActorDiedError as error:
            self._end(str(error), event=ActorEvent.KILLED)
            return
        except ActorLateError as error:
            self._end(str(error), event=ActorEvent.LATE)
            return
        except ActorStartError as error:
            self._end(str(error), error.error)
            return
        except Exception as error:  # e.g. no memory for another process
            self._end(f"{self.spec.label} could not be started: {error}")
            return
        self._report(ActorEvent.READY, self.spec, "", b"")
        while (call := self._next_call()) is not None:
            try:
                call.answer.set_result(self._make(call))
            except _NotAgainError as error:
                call.answer.set_exception(ActorGoneError(str(error)))
                self._end(str(error))
                return
            except (ActorStartError, ActorDiedError) as error:
                pickled = error.error if isinstance(error, ActorStartError) else b""
                answer = Answer("error", message=str(error), error=pickled)
                call.answer.set_result(join_message(encode_message(answer)))
            except Exception as error:
                call.answer.set_exception(error)
        process, self._process = self._process, None
        if process is not None:
            process.stop(STOP_SECONDS)
        self._end("")

    def _next_call(self) -> _Call | None:
        while (call := self._calls.get()) is not None:
            if self._stopping:
                call.refuse(f"{self.spec.label} was stopped")
                return None
            if call.begin():
                return call
        return None

    def _start(self) -> ActorProcess:
        self._starts += 1
        spec = self.spec
        process = ActorProcess(spec, self._environment, folder=self._folder)
        with self._lock:
            self._process = process
            stopping = self._stopping
        if stopping:
            process.kill()
        try:
            process.wait_until_ready(spec.start_timeout_seconds)
        except BaseException:
            with self._lock:
                self._process = None
            raise
        logger.info("%s is ready (process %d)", spec.label, process.pid)
        return process

    def _make(self, call: _Call) -> bytearray:
        """Makes a call, on a new process if the old one dies under it.

        Raises:
            ActorDiedError: The actor died under each try, or in the constructor after it had died under one.
            ActorStartError: A new process did not come up.
            _NotAgainError: There is no process, and may be none any more; the call was not begun.
        """
        begun = False
        for attempt in range(1, MAX_CALL_TRIES + 1):
            process = self._process
            try:
                if process is None:
                    process = self._restart()
                begun = True
                return process.call(call.parts)
            except ActorDiedError as error:
                self._process, self._last_death = None, str(error)
                logger.warning("%s (call %d of %d)", error, attempt, MAX_CALL_TRIES)
                if attempt == MAX_CALL_TRIES or self._stopping:
                    raise
            except _NotAgainError as error:
                if begun:
                    raise ActorDiedError(str(error)) from error
                raise
            except ActorStartError:
                raise
            except Exception as error:
                self._process, self._last_death = None, f"{self.spec.label} was ended, as its answer was lost: {error}"
                raise
        raise ActorDiedError(self._last_death)

    def _restart(self) -> ActorProcess:
        most = self.spec.max_restarts
        if self._starts > most:
            why = (
                f"was replaced {most} times, and is not again" if most else "held what is lost now: run the query again"
            )
            raise _NotAgainError(f"{self._last_death}\n{self.spec.label} {why}")
        self._report(ActorEvent.RESTARTING, self.spec, "", b"")
        return self._start()

    def _end(self, reason: str, error: bytes = b"", *, event: ActorEvent = ActorEvent.FAILED) -> None:
        with self._lock:
            self._gone = True
            stopping = self._stopping
        with contextlib.suppress(queue.Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    call.refuse(reason or f"{self.spec.label} was stopped")
        if not stopping:
            logger.warning("%s", reason)
            self._report(event, self.spec, reason, error)


class ActorHost:
    """All actors of this worker. Its methods are called on the event loop."""

    def __init__(self, *, worker_id: str, gpus: float, code: WorkerCode) -> None:
        self._worker_id = worker_id
        self._gpus = gpus
        self._code = code
        self._actors: dict[str, HostedActor] = {}
        self._wanted: dict[str, ActorSpec] = {}
        self._known: dict[str, int] = {}
        self._address = ""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self, address: str) -> None:
        """Names the address at which other workers reach this one's control server."""
        self._address = address

    def on_command(self, command: ActorCommand) -> None:
        """Handles a command of the driver or of another worker."""
        if command.kind == "start":
            if self._known.get(command.actor_id, 0) < command.generation:  # else it is repeated, or late
                spec = ActorSpec.decode(command.payload)
                spec = spec.at(command.actor_id, command.generation, command.gpu_devices)
                self._note(command.actor_id, spec.generation)
                self._wanted[command.actor_id] = spec
                self._keep(self._start(command.actor_id, spec))
        elif command.kind == "stop":
            self._stop(command.actor_id, command.generation)
        else:
            self._keep(self._answer(command))

    def find(self, actor_id: str) -> HostedActor | None:
        """The actor of this id, if it is here and takes calls."""
        actor = self._actors.get(actor_id)
        return None if actor is None or actor.gone else actor

    def close(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Kills all actors and waits for their ends. Blocks."""
        actors = list(self._actors.values())
        self._actors.clear()
        self._wanted.clear()
        for actor in actors:
            actor.kill()
        end = time.monotonic() + timeout_seconds
        for actor in actors:
            actor.join(max(0.0, end - time.monotonic()))

    def _stop(self, actor_id: str, generation: int) -> None:
        if generation < self._known.get(actor_id, 0):
            return  # it is late: meant was the one before
        self._note(actor_id, generation)
        self._wanted.pop(actor_id, None)
        actor = self._actors.pop(actor_id, None)
        if actor is not None:
            actor.stop()

    def _note(self, actor_id: str, generation: int) -> None:
        """Remembers the last generation that was asked for, though it may be gone: a request may be repeated late."""
        self._known.pop(actor_id, None)
        self._known[actor_id] = generation
        if len(self._known) > _GENERATIONS_KEPT:
            self._known.pop(next((key for key in self._known if key not in self._wanted), ""), None)

    async def _start(self, actor_id: str, spec: ActorSpec) -> None:
        there = self._actors.pop(actor_id, None)
        if there is not None:
            there.kill()

        def report(event: ActorEvent, spec: ActorSpec, message: str, error: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker ends
                self._loop.call_soon_threadsafe(self._report, actor_id, event, spec, message, error)

        try:
            working_dir = await self._code.ensure(spec.code, spec.search_path)
            environment = {**os.environ, **device_environment(os.environ, self._gpus, spec.gpu_devices)}
        except DaftK8sError as error:
            self._report(
                actor_id, ActorEvent.FAILED, spec, f"{spec.label} cannot be started on {self._worker_id}: {error}", b""
            )
            return
        if self._wanted.get(actor_id) is not spec:
            return  # stopped meanwhile
        folder = working_dir if spec.folder is None else spec.folder
        self._actors[actor_id] = HostedActor(spec, environment, report, folder=folder)

    def _report(self, actor_id: str, event: ActorEvent, spec: ActorSpec, message: str, error: bytes) -> None:
        actor = self._actors.get(actor_id)
        if event not in (ActorEvent.READY, ActorEvent.RESTARTING):
            if self._wanted.get(actor_id) is spec:
                del self._wanted[actor_id]
            if actor is not None and actor.spec is spec:
                del self._actors[actor_id]
        self._keep(_report_to_driver(ActorNews(actor_id, event, spec.generation, self._address, message, error)))

    async def _answer(self, command: ActorCommand) -> None:
        actor = self.find(command.actor_id)
        if actor is None:
            command.fail(f"{self._worker_id} does not host the actor {command.actor_id}")
            return
        try:
            answer = await asyncio.wrap_future(actor.call([command.payload]))
        except Exception as error:
            command.fail(str(error))
        else:
            command.reply(bytes(answer))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _report_to_driver(news: ActorNews) -> None:
    try:
        await call_driver(news)
    except DriverCallError as error:
        logger.warning("an actor's state could not be reported to the driver: %s", error)
