"""The functions that Daft's scheduler calls, answered from the session instead of from Ray.

The synchronous ones run on Daft's one scheduler thread: they must neither block nor, unless a query
shall fail, raise.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from daft.daft import PyMicroPartition, PyRecordBatch, RaySwordfishWorker

from daft_k8s.driver.session import Session, current_session
from daft_k8s.errors import CodeError
from daft_k8s.handles.actors import collect_pickled_pools
from daft_k8s.seam.carried import carried
from daft_k8s.seam.flight_shuffle import remove_folders
from daft_k8s.seam.limit import collect_pickled_counters
from daft_k8s.seam.partitions import fetch_micropartitions, held
from daft_k8s.seam.parts import parts_of
from daft_k8s.seam.task_handle import FailedTaskHandle, SubmittedTaskHandle, TaskHandle
from daft_k8s.wire.raised import carrying, headline
from daft_k8s.wire.task_payload import encode_payload, encode_plan

if TYPE_CHECKING:
    from daft.daft import PyExpr, RaySwordfishTask

    from daft_k8s._native import K8sWorker, PartitionRef
    from daft_k8s.seam.limit import DriverLimitHandle

logger = logging.getLogger("daft_k8s")


class WorkerHandle:
    """A worker as Daft's scheduler sees it."""

    def __init__(self, session: Session, worker: K8sWorker) -> None:
        self._session = session
        self._worker = worker

    def submit_task(self, task: RaySwordfishTask) -> TaskHandle:
        """Hands a task to the pool. Never raises: an error becomes that task's result."""
        try:
            return self._submit(task)
        except BaseException as error:  # raised on, it would end Daft's scheduler
            return FailedTaskHandle(error)

    def _submit(self, task: RaySwordfishTask) -> SubmittedTaskHandle:
        self._session.ensure_open()
        parts = parts_of(self._session)
        query_id = task.context()["query_id"]
        inputs = [(source, [held(ref.object_ref) for ref in refs]) for source, refs in task.psets().items()]
        try:
            with collect_pickled_counters() as counters, collect_pickled_pools() as pools:
                plan = encode_plan(task)
            payload = encode_payload(
                task,
                parts.code.reference,
                loaded_extensions(),
                parts.query_folders.of(query_id),
                parts.search_path.current(),
            )
        except BaseException as error:  # whatever the __reduce__ of a user's object raises
            raise CodeError(
                f"the task {task.name()} cannot be sent to the workers, because a function or an object of yours in it "
                f"cannot be pickled: {headline(error)}. Make what it names (a lock, a connection) inside the function, "
                "or in __init__ of a class with @daft.cls, which runs on the workers"
            ) from error
        parts.limit_counters.bind(query_id, counters)
        release_actors = parts.actor_pools.bind(query_id, pools)
        task_id, name = task.id(), task.name()
        try:
            run = parts.query_runs.find(query_id)
            send = partial(
                self._worker.submit,
                query_id=query_id,
                task_id=task_id,
                name=name,
                plan=plan,
                payload=payload,
                inputs=inputs,
                determinism=run.determinism_of(name, plan).value,
            )
            handle = run.submit(name, inputs, send)
        except BaseException:
            release_actors()
            raise

        return SubmittedTaskHandle(
            handle,
            query_id=query_id,
            task_id=task_id,
            name=name,
            counters=counters,
            on_end=partial(run.written.task_ended, name),
            release_actors=release_actors,
            trust_workers=self._session.configuration.trust_workers,
        )

    def shutdown(self, *_arguments: Any, **_options: Any) -> None:
        """Daft retires idle Ray workers so. Ours belong to the pool, which scales by its own policy."""


def loaded_extensions() -> list[str]:
    """Paths of what `daft.load_extension` has loaded here: workers must have it to read plans that call it."""
    import daft.daft

    paths = getattr(daft.daft, "get_loaded_extension_paths", list)  # not in the oldest versions
    return list(paths())


def start_ray_workers(existing_worker_ids: list[str], worker_startup_timeout: int = 0) -> list[RaySwordfishWorker]:
    """All logical workers that Daft does not know yet, ready or not.

    The pool keeps tasks of a worker that is not up yet, or sends them elsewhere, so no wait is needed here.
    """
    session = current_session()
    existing = set(existing_worker_ids)
    configuration = session.configuration
    # Daft's stubs know only Ray's handle here, and whole numbers of CPUs.
    make_worker: Any = RaySwordfishWorker
    return [
        make_worker(
            worker.worker_id,
            WorkerHandle(session, worker),
            session.advertised_cpus,
            float(configuration.worker_gpu),
            configuration.worker_memory_bytes,
            worker.worker_id,
        )
        for worker in session.manager.workers()
        if worker.worker_id not in existing
    ]


def try_autoscale(*_arguments: Any, **_options: Any) -> None:
    """Daft's wish for more workers, in whatever form. The pool grows by its own count of tasks: nothing to do."""


def clear_autoscaling_requests(*_arguments: Any, **_options: Any) -> None:
    """Nothing is ever requested."""


def get_head_node_id(*_arguments: Any, **_options: Any) -> str | None:
    """There is no head node."""
    return None


async def clear_flight_shuffle_dirs_on_all_nodes(shuffle_dirs: list[str]) -> None:
    """Removes the files of Daft's own shuffle at the end of a query; local workers share this machine's disk."""
    await asyncio.to_thread(remove_folders, shuffle_dirs)


@carried
async def get_boundaries(
    samples: list[PartitionRef],
    sort_by: list[PyExpr],
    descending: list[bool],
    nulls_first: list[bool] | None,
    num_quantiles: int,
) -> PyMicroPartition:
    """The boundaries of a distributed sort, from samples of its input.

    Runs in a thread: fetching blocks, and sorting would hold up the event loop.
    """
    session = current_session()
    boundaries = carrying(_boundaries)
    return await asyncio.to_thread(boundaries, session, list(samples), sort_by, descending, nulls_first, num_quantiles)


def _boundaries(
    session: Session,
    samples: list[PartitionRef],
    sort_by: list[Any],
    descending: list[bool],
    nulls_first: list[bool] | None,
    num_quantiles: int,
) -> PyMicroPartition:
    from daft.expressions import ExpressionsProjection
    from daft.recordbatch import MicroPartition

    merged = MicroPartition.concat(fetch_micropartitions(session, [held(sample) for sample in samples]))
    columns = ExpressionsProjection(sort_by).to_column_expressions()
    nulls = descending if nulls_first is None else nulls_first
    if list(nulls) != list(descending):
        # Daft divides rows by these boundaries as if nulls came first when descending and last when not, so nulls
        # would come out in the middle. Without boundaries all rows go to one task, which sorts them right.
        return PyMicroPartition.from_record_batches([PyRecordBatch.empty(merged.schema()._schema)])
    merged = merged.sort(columns, descending=descending, nulls_first=nulls)
    return merged.quantiles(num_quantiles)._micropartition


@carried
async def start_limit_counter_actor(limit: int, offset: int, timeout: int) -> DriverLimitHandle:
    """The counter of one LIMIT; it lives in this process."""
    return parts_of(current_session()).limit_counters.create(limit, offset)
