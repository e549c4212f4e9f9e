"""Daft's native executor, as the worker uses it. The only module of this room that runs Daft's private classes."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import daft
from daft.daft import (
    LocalPhysicalPlan,
    LogicalPlanBuilder,
    NativeExecutor,
    PyDaftContext,
    set_compute_runtime_num_worker_threads,
)
from daft.event_loop import set_event_loop
from daft.recordbatch.micropartition import MicroPartition
from daft.runners.partitioning import PartitionCacheEntry

from daft_k8s.errors import UnsupportedError
from daft_k8s.handles.actor_calls import ready_actors_by_location
from daft_k8s.wire.raised import carrying
from daft_k8s.worker.event_loop import carry
from daft_k8s.worker.extensions import listed_in_environment, load_extensions
from daft_k8s.worker.llm_executor import PromptExecutor

if TYPE_CHECKING:
    from daft.daft import Input, PyDaftExecutionConfig, PyMicroPartition

logger = logging.getLogger(__name__)

_PROBE_INPUT_ID = 2**32 - 1
_WARM_UP_ID = 2**32 - 2
"""No task has them: Daft counts tasks from 0."""
_FLIGHT_SHUFFLE = "flight_shuffle"
"""Daft's own shuffle, whose tasks write partitions for the shuffle server of their executor."""


def refuse_nested_queries() -> None:
    """Makes a Daft query inside a UDF an error: it would wait for ever for the threads that run the UDF."""
    from daft.runners.native_runner import NativeRunner

    daft.set_runner_native()  # so that no variable that UDFs see names another one

    def run_iter(self: NativeRunner, *arguments: object, **options: object) -> NoReturn:
        raise UnsupportedError(
            "a Daft query inside a UDF is not supported: the worker's threads are busy with the UDF; run the query in "
            "the driver and join its result, or use pyarrow or pandas inside the UDF"
        )

    NativeRunner.run_iter = run_iter  # type: ignore[method-assign]


def offer_actors() -> None:
    """Puts our actors in the place of Ray's, where Daft's executor looks for those of a UDF and for vLLM engines."""
    name = "daft.execution.ray_actor_pool_udf"
    module = types.ModuleType(name, "Replaced by daft_k8s.")
    vars(module)["get_ready_actors_by_location"] = ready_actors_by_location
    sys.modules[name] = module
    vllm = importlib.import_module("daft.execution.vllm")
    vllm.RemoteVLLMExecutor = PromptExecutor  # type: ignore[attr-defined]


@dataclass(frozen=True)
class RunRequest:
    """One task, ready to run."""

    plan: LocalPhysicalPlan
    config: PyDaftExecutionConfig
    context: dict[str, str]
    task_id: int
    inputs: dict[int, Input | list[PyMicroPartition]]


class TaskStream:
    """The results of one task; all that its UDFs raise arrives as a `CarriedError`."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    async def next(self) -> Any:
        """The next result; None at the end. Daft never says with StopAsyncIteration that there is no more."""
        return await carry(self._receiver.__anext__())

    async def try_finish(self) -> Any:
        """Daft's statistics of the task, once its results have been read."""
        return await carry(self._receiver.try_finish())


class DaftExecutor:
    """Runs plans on Daft's threads. One in a process, made on the event loop that async UDFs will use."""

    def __init__(self, *, threads: int, host: str) -> None:
        set_compute_runtime_num_worker_threads(threads)
        set_event_loop(asyncio.get_running_loop())
        load_extensions(listed_in_environment())
        is_ipv6 = ":" in host
        self._host = f"[{host}]" if is_ipv6 else host  # Daft makes addresses of it
        # Each of Daft's executors has a shuffle server, which serves every caller.
        self._executor = NativeExecutor(is_flotilla_worker=True, ip="[::1]" if is_ipv6 else "127.0.0.1")
        self._flight_executor: NativeExecutor | None = None

    async def warm_up(self) -> None:
        """Runs a plan of one row: now Daft has read the limit of its memory and has installed its handler of SIGINT."""
        rows = MicroPartition.from_pydict({"row": [0]})
        name = "warm-up"
        builder = LogicalPlanBuilder.in_memory_scan(
            name, PartitionCacheEntry(name, None), rows.schema()._schema, 1, rows.size_bytes() or 0, len(rows)
        )
        plan, inputs = LocalPhysicalPlan.from_logical_plan_builder(builder, {name: [rows._micropartition]})
        run: Any = self._executor.run
        context = {"query_id": name, "plan_fingerprint": str(_WARM_UP_ID)}
        stream = await run(plan, PyDaftContext(), _WARM_UP_ID, inputs, context, False)
        async for part in stream:
            if part is None:
                break
        await stream.try_finish()

    async def start(self, request: RunRequest, pipeline_id: int) -> TaskStream:
        """Gives a task to the pipeline `pipeline_id`, which is built if there is none."""
        context = {**request.context, "plan_fingerprint": str(pipeline_id)}
        return await self._run(request, request.task_id, request.inputs, context)

    async def probe(self, request: RunRequest, pipeline_id: int) -> None:
        """Returns only if the pipeline's loop has taken an input since this call began; raises if it is dead.

        The loop's queue holds one message. So once a second message is in, the first has been taken.
        Messages without inputs start no work. Without a task id in the context there are no task events.
        """
        context = {"query_id": request.context.get("query_id", ""), "plan_fingerprint": str(pipeline_id)}
        await self._run(request, _PROBE_INPUT_ID, {}, context)
        stream = await self._run(request, _PROBE_INPUT_ID, {}, context)
        await stream.try_finish()

    def cancel(self, pipeline_id: int) -> None:
        """Kills the pipeline, if it is there."""
        self._executor.cancel_plan(pipeline_id)
        if self._flight_executor is not None:
            self._flight_executor.cancel_plan(pipeline_id)

    def _executor_for(self, config: PyDaftExecutionConfig) -> NativeExecutor:
        """The executor for tasks of this configuration: other workers reach the server of those that need it alone."""
        if config.shuffle_algorithm != _FLIGHT_SHUFFLE:
            return self._executor
        if self._flight_executor is None:
            self._flight_executor = NativeExecutor(is_flotilla_worker=True, ip=self._host)
        return self._flight_executor

    async def _run(
        self, request: RunRequest, input_id: int, inputs: dict[int, Any], context: dict[str, str]
    ) -> TaskStream:
        # Daft's context is one global object, so nothing may run between setting and using it.
        daft_context = PyDaftContext()
        daft_context._daft_execution_config = request.config
        run = carrying(self._executor_for(request.config).run)
        return TaskStream(await carry(run(request.plan, daft_context, input_id, inputs, context, False)))
