"""Runs the tasks that the server hands over, each to exactly one end: finished, failed or cancelled."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

from daft_k8s.code.advice import missing_module, ways_to_ship
from daft_k8s.errors import CodeError
from daft_k8s.handles.driver_calls import call_driver
from daft_k8s.wire.calls import TaskRestarts
from daft_k8s.wire.pickled_errors import encode_error
from daft_k8s.wire.raised import headline, printable, traceback_of, uncarried
from daft_k8s.wire.task_payload import decode_needs, decode_payload, join_result
from daft_k8s.worker.abandoned_calls import AbandonedCalls
from daft_k8s.worker.code import WorkerCode
from daft_k8s.worker.current_folder import CurrentFolder
from daft_k8s.worker.disk_advice import missing_file_advice
from daft_k8s.worker.executor import RunRequest
from daft_k8s.worker.extensions import load_extensions
from daft_k8s.worker.logs import query_id_var, task_key_var
from daft_k8s.worker.pipeline_group import PipelineExecutor, PipelineFailedError, PipelineGroups, PipelineMember
from daft_k8s.worker.plan_cache import PlanCache
from daft_k8s.worker.row_errors import lines_of_rows
from daft_k8s.worker.task_inputs import to_micropartitions
from daft_k8s.worker.task_outputs import OutputStore, TaskOutputs

if TYPE_CHECKING:
    from daft_k8s._native import TaskCommand

logger = logging.getLogger(__name__)

_HAS_UDF = re.compile(r"udf|vllm", re.IGNORECASE)

_FIRST_ATTEMPT = 1
"""The pool counts sends from 1 (`Attempt::FIRST`)."""


class TaskServer(OutputStore, Protocol):
    """The part of `WorkerServer` that the runner reports to."""

    def finish_task(self, key: str, stats: bytes) -> None: ...
    def fail_task(self, key: str, error: bytes, message: str) -> None: ...
    def cancelled_task(self, key: str) -> None: ...


class TaskRunner:
    """All tasks of a worker. Its methods are called on the event loop; `bind` comes first."""

    def __init__(self, *, executor: PipelineExecutor[RunRequest], worker_id: str, code: WorkerCode) -> None:
        self._worker_id = worker_id
        self._code = code
        self._folder = CurrentFolder()
        self._has_own_disk = False
        self._pipelines: PipelineGroups[RunRequest] = PipelineGroups(executor)
        self._plans = PlanCache()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._cancelling: set[str] = set()
        self._server: TaskServer | None = None
        self._abandoned: AbandonedCalls | None = None

    def bind(self, server: TaskServer, abandoned: AbandonedCalls | None = None) -> None:
        """Names the server that hands over the tasks, and what watches the calls of cancelled ones."""
        self._server = server
        self._abandoned = abandoned

    @property
    def running(self) -> int:
        """The number of tasks that have not ended."""
        return len(self._running)

    def on_task(self, command: TaskCommand) -> None:
        """Starts a task."""
        task = asyncio.get_running_loop().create_task(self._run(command), name=command.key)
        self._running[command.key] = task
        task.add_done_callback(self._on_done)

    def on_cancel(self, key: str) -> None:
        """Cancels a task, if it is still running."""
        task = self._running.get(key)
        if task is not None:
            self._cancelling.add(key)
            if self._abandoned is not None:
                others = [other for name, other in self._running.items() if name not in self._cancelling]
                self._abandoned.task_is_cancelled(key, others)
            task.cancel()

    def cancel_all(self) -> None:
        """Cancels whatever is running."""
        for key in list(self._running):
            self.on_cancel(key)

    def on_end_query(self, query_id: str) -> None:
        """Forgets what was kept for a query."""
        self._plans.end_query(query_id)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        key = task.get_name()
        self._running.pop(key, None)
        self._cancelling.discard(key)
        # Here and not in `_run`, which a task that is cancelled before its first step never enters.
        if task.cancelled():
            self._bound().cancelled_task(key)
        elif (error := task.exception()) is not None:
            # Without a report the query would wait for ever, and the slot would be gone.
            told = f"task {key} failed on {self._worker_id}, and its end could not be described: {headline(error)}"
            self._bound().fail_task(key, b"", told)
            logger.error("%s", traceback_of(error))

    async def _run(self, command: TaskCommand) -> None:
        query_id_var.set(command.query_id)
        task_key_var.set(command.key)
        server = self._bound()
        try:
            stats = await self._execute(command, server)
        except BaseException as error:  # a panic of Daft's extension is no Exception; no task may end unreported
            if isinstance(error, asyncio.CancelledError) and command.key in self._cancelling:
                raise
            cause, message = self._describe(command, error)
            logger.info("%s", message.splitlines()[0])  # first, or it comes behind the error that the driver raises
            server.fail_task(command.key, encode_error(cause), message)
        else:
            server.finish_task(command.key, stats)

    def _bound(self) -> TaskServer:
        if self._server is None:
            raise RuntimeError("TaskRunner.bind must be called before the first task")
        return self._server

    async def _execute(self, command: TaskCommand, server: TaskServer) -> bytes:
        needs = decode_needs(command.payload)
        self._has_own_disk = needs.folder is None
        working_dir = await self._code.ensure(needs.code, needs.search_path)
        async with self._folder.held(working_dir if needs.folder is None else needs.folder):
            load_extensions(needs.extensions)
            return await self._run_plan(command, server)

    async def _run_plan(self, command: TaskCommand, server: TaskServer) -> bytes:
        has_udf = _HAS_UDF.search(command.name) is not None
        payload = decode_payload(command.payload)
        plan = await self._plans.get(
            plan_hash=command.plan_hash, plan=command.plan, query_id=command.query_id, has_udf=has_udf
        )
        inputs: dict[int, Any] = {source_id: to_micropartitions(streams) for source_id, streams in command.inputs}
        inputs.update(payload.inputs)
        context = {**payload.context, "task_id": str(command.task_id)}
        request = RunRequest(plan, payload.config, context, command.task_id, inputs)
        member = self._join(command, request, has_udf)
        outputs = TaskOutputs(server, command.key, partitioned=plan.has_partitioned_output())
        try:
            if command.attempt > _FIRST_ATTEMPT:
                # If this run never reaches its LIMIT, it claims nothing: the driver would count the last run's rows.
                await call_driver(TaskRestarts(command.query_id, str(command.task_id)))
            stream = await member.start()
            while (part := await stream.next()) is not None:
                await outputs.add(part)
            stats = await member.finish(stream)
        finally:
            member.abandon()
        await outputs.flush()
        return join_result(stats.encode(), outputs.flight_references)

    def _join(self, command: TaskCommand, request: RunRequest, has_udf: bool) -> PipelineMember[RunRequest]:
        """Shares a pipeline only where that saves the start of UDFs.

        A pipeline of its own costs a task nothing that can be measured, and can be cancelled and can fail alone.
        A second attempt on the same worker must never meet the first one's inputs, so it never shares.
        """
        fingerprint = int(request.context.get("plan_fingerprint") or 0)
        shared_key: Hashable | None = None
        if has_udf and command.attempt == _FIRST_ATTEMPT:
            # The hash is part of the key because Daft's 32-bit fingerprints may collide.
            shared_key = (command.query_id, fingerprint, command.plan_hash)
        return self._pipelines.join(request, fingerprint=fingerprint, shared_key=shared_key)

    def _describe(self, command: TaskCommand, error: BaseException) -> tuple[BaseException, str]:
        cause, hint = uncarried(error), ""
        if type(error) is PipelineFailedError:
            cause = error.cause
            if error.shared:
                hint = " (it shared a pipeline with other tasks of its stage, and all of them fail together)"
        head = f"task {command.key} ({command.name}) failed on {self._worker_id}{hint}:"
        details = traceback_of(cause)
        details += lines_of_rows(details)
        module = missing_module(cause)
        if module is not None:
            advice = ways_to_ship(module, self._worker_id, self._code.root)
            details = f"{details}{advice}\n"
            if issubclass(type(cause), ModuleNotFoundError):  # not in a UDF, whose own error it would be
                cause = CodeError(advice)
        elif self._has_own_disk and (advice := missing_file_advice(details, self._worker_id)):
            details = f"{details}{advice}\n"
        return cause, f"{printable(head)}\n{details}"
