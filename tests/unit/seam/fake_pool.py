"""A pool that runs tasks inside the driver's own process, to test the seam without workers.

Daft allows it if the process' first plan is a distributed one. Not for pytest's process, where an
earlier test may have run a native plan: `in_process_queries.py` is run as a process of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import traceback
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from daft.daft import FlightPartitionRef, NativeExecutor, PyDaftContext, PyMicroPartition

from daft_k8s.driver.setup import DriverSetup
from daft_k8s.wire.arrow_partitions import from_arrow, to_arrow
from daft_k8s.wire.pickled_errors import encode_error
from daft_k8s.wire.task_payload import FlightReference, decode_payload, decode_plan, join_result


@dataclass(eq=False)
class FakeRef:
    slot_id: str
    num_rows: int
    size_bytes: int
    worker_id: str | None = None
    is_lost: bool = False
    is_at_hand: bool = True
    __hash__ = object.__hash__


@dataclass
class FakeOutcome:
    kind: str
    partitions: list[FakeRef] = field(default_factory=list)
    stats: bytes = b""
    error: bytes = b""
    message: str = ""
    worker_id: str = ""
    loss: str = ""


class FakeTaskHandle:
    was_sent = True

    def __init__(self, future: Any) -> None:
        self.future = future

    def add_done_callback(self, callback: Any) -> None:
        loop = asyncio.get_running_loop()

        def done(future: Any) -> None:
            outcome = FakeOutcome("cancelled") if future.cancelled() else future.result()
            loop.call_soon_threadsafe(callback, outcome)

        self.future.add_done_callback(done)

    def cancel(self) -> None:
        self.future.cancel()


class FakeCall:
    def __init__(self, worker_id: str, target: str, payload: bytes) -> None:
        self.worker_id, self.target, self.payload = worker_id, target, payload
        self.answer: bytes | None = None
        self.error: str | None = None

    def reply(self, payload: bytes) -> None:
        self.answer = payload

    def fail(self, message: str) -> None:
        self.error = message


class FakeWorker:
    def __init__(self, manager: FakeManager, worker_id: str) -> None:
        self.manager, self.worker_id = manager, worker_id

    def submit(self, **task: Any) -> FakeTaskHandle:
        self.manager.submitted.append({"worker_id": self.worker_id, **task})
        if self.manager.outcome_of is not None:
            outcome = self.manager.outcome_of(task)
            if outcome is not None:
                ended: Any = asyncio.run_coroutine_threadsafe(_constant(outcome), self.manager.loop)
                return FakeTaskHandle(ended)
        running = asyncio.run_coroutine_threadsafe(self.manager.run(self.worker_id, **task), self.manager.loop)
        return FakeTaskHandle(running)


async def _constant(outcome: FakeOutcome) -> FakeOutcome:
    return outcome


class FakeManager:
    """In the place of `K8sWorkerManager`."""

    def __init__(self, setup: DriverSetup) -> None:
        self.loop, self.on_worker_call = setup.loop, setup.on_worker_call
        self.store: dict[str, PyMicroPartition] = {}
        self.submitted: list[dict[str, Any]] = []
        self.ended_queries: list[str] = []
        self.fetched: list[int] = []
        self.outcome_of: Any = None
        self.closed = False
        self._workers: list[FakeWorker] = []
        self._executor = NativeExecutor(is_flotilla_worker=True, ip="127.0.0.1")
        self._slots = 0
        self._fingerprints = 1 << 40
        self._lock = threading.Lock()

    def set_desired_workers(self, count: int) -> None:
        self._workers = [FakeWorker(self, f"worker-{index}") for index in range(count)]

    def workers(self) -> list[FakeWorker]:
        return list(self._workers)

    def ready_count(self) -> int:
        return len(self._workers)

    def wait_ready(self, count: int, timeout_seconds: float) -> int:
        return len(self._workers)

    def _keep(self, data: PyMicroPartition, worker_id: str | None) -> FakeRef:
        from daft.recordbatch import MicroPartition

        wrapped = MicroPartition._from_pymicropartition(data)
        with self._lock:
            self._slots += 1
            slot_id = f"t:{self._slots}"
        self.store[slot_id] = data
        return FakeRef(slot_id, len(wrapped), wrapped.size_bytes() or 0, worker_id)

    def put(self, data: Any, num_rows: int, size_bytes: int) -> FakeRef:
        return self._keep(from_arrow(data), None)

    def fetch(self, refs: Any, timeout_seconds: float | None = None) -> list[Any]:
        self.fetched.append(len(refs))
        return [to_arrow(self.store[ref.slot_id]) for ref in refs]

    def fetch_async(self, refs: Any, callback: Any) -> None:
        self.loop.call_soon_threadsafe(lambda: callback(self.fetch(refs), None))

    def begin_query(self, query_id: str) -> None:
        """There is no journal."""

    def facts_since(self, sequence: int) -> Any:
        return SimpleNamespace(facts=[], read_to=sequence, missed=0, is_complete=True, now_seconds=0.0)

    def end_query(self, query_id: str) -> None:
        self.ended_queries.append(query_id)

    def status(self) -> str:
        return "{}"

    def shutdown(self, timeout_seconds: float) -> None:
        self.closed = True

    async def run(
        self,
        worker_id: str,
        *,
        query_id: str,
        task_id: int,
        name: str,
        plan: bytes,
        payload: bytes,
        inputs: Any,
        determinism: str,
    ) -> FakeOutcome:
        """What a worker does with a task."""
        from daft_k8s.handles import driver_calls

        # One process stands for all workers, so they can have but one identity here.
        worker_id = "worker-0"
        driver_calls.set_current_worker(_Caller(self, worker_id))
        rest = decode_payload(payload)
        sources: dict[int, Any] = dict(rest.inputs)
        sources.update({source: [self.store[ref.slot_id] for ref in refs] for source, refs in inputs})
        context = dict(rest.context)
        self._fingerprints += 1
        context["plan_fingerprint"] = str(self._fingerprints)
        process_context = PyDaftContext()
        previous = process_context._daft_execution_config
        try:
            decoded = decode_plan(plan)
            process_context._daft_execution_config = rest.config
            started = self._executor.run(decoded, process_context, task_id, sources, context, False)
            process_context._daft_execution_config = previous
            stream = await started
            outputs = []
            references: list[FlightReference] = []
            async for partition in stream:
                if isinstance(partition, FlightPartitionRef):
                    references.append(
                        FlightReference(
                            *(getattr(partition, item.name) for item in dataclasses.fields(FlightReference))
                        )
                    )
                    continue
                if not isinstance(partition, PyMicroPartition):
                    break
                outputs.append(self._keep(partition, worker_id))
            stats = await stream.try_finish()
        except Exception as error:
            return FakeOutcome("failed", error=encode_error(error), message=traceback.format_exc(), worker_id=worker_id)
        return FakeOutcome("success", outputs, join_result(stats.encode(), references), worker_id=worker_id)


class _Caller:
    def __init__(self, manager: FakeManager, worker_id: str) -> None:
        self.manager, self.worker_id = manager, worker_id

    def call_driver(self, target: str, payload: bytes, callback: Any) -> None:
        call = FakeCall(self.worker_id, target, payload)

        def ask() -> None:
            self.manager.on_worker_call(call)
            callback(call.answer, call.error)

        self.manager.loop.call_soon_threadsafe(ask)


class FakeLauncher:
    patience_seconds = 20.0
    cluster_problem = ""

    def launch(self, worker_id: str, launch_id: int) -> None: ...
    def stop(self, worker_id: str, launch_id: int, reason: str) -> None: ...
    def kill(self, worker_id: str, launch_id: int, reason: str) -> None: ...
    def worker_ready(self, worker_id: str) -> None: ...
    def shutdown(self, timeout_seconds: float) -> None: ...
