"""The running count of what a session does, for those who watch it from outside."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.session_summary import QuerySummary, SessionSummary, WorkerSummary, count
from daft_k8s.wire.calls import Done, ReportMemory

if TYPE_CHECKING:
    from daft_k8s._native import PoolSnapshot


@dataclass
class _Query:
    began: float
    tasks: int = 0
    done: int = 0


class Tally:
    """Counts queries and tasks, and keeps what workers report of their memory. Thread-safe; nothing here fails a query.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._queries: dict[str, _Query] = {}
        self._memory: dict[str, ReportMemory] = {}
        self._done = 0
        self._failed = 0

    def query_began(self, query_id: str) -> None:
        with self._lock:
            self._queries[query_id] = _Query(self._clock())

    def query_ended(self, query_id: str) -> None:
        with self._lock:
            self._queries.pop(query_id, None)

    def task_submitted(self, query_id: str) -> None:
        with self._lock:
            query = self._queries.get(query_id)
            if query is not None:
                query.tasks += 1

    def task_ended(self, query_id: str, kind: str) -> None:
        """A task's outcome: `TaskOutcome.kind`. One that was cancelled counts as neither done nor failed."""
        with self._lock:
            if kind == "success":
                self._done += 1
                query = self._queries.get(query_id)
                if query is not None:
                    query.done += 1
            elif kind != "cancelled":
                self._failed += 1

    def on_memory(self, worker_id: str, report: ReportMemory) -> Done:
        """Keeps a worker's latest report."""
        report = ReportMemory(*(count(size) for size in dataclasses.astuple(report)))
        with self._lock:
            self._memory[worker_id] = report
        return Done()

    def worker_lost(self, worker_id: str) -> None:
        """Removes the records of a lost worker."""
        with self._lock:
            self._memory.pop(worker_id, None)

    def summary(self, pool: PoolSnapshot, slots_per_worker: int) -> SessionSummary:
        """Returns the session's numbers now.

        Args:
            pool: The pool now.
            slots_per_worker: Tasks that a worker runs at once.
        """
        at_workers = {worker.worker_id: worker.tasks for worker in pool.workers}
        running = sum(min(tasks, slots_per_worker) for tasks in at_workers.values())
        with self._lock:
            now = self._clock()
            memory = {name: found for name, found in self._memory.items() if name in at_workers}
            return SessionSummary(
                ready=pool.ready_workers,
                wanted=max(pool.min_workers, pool.alive_workers),
                running=running,
                waiting=max(0, pool.unfinished_tasks - running),
                done=self._done,
                failed=self._failed,
                held_bytes=sum(found.held_bytes for found in memory.values()),
                spilled_bytes=sum(found.spilled_bytes for found in memory.values()),
                running_queries=len(self._queries),
                queries=tuple(
                    QuerySummary(name, int(now - query.began), query.tasks, query.done)
                    for name, query in self._queries.items()
                ),
                workers={
                    name: WorkerSummary(tasks, **vars(memory.get(name, ReportMemory())))
                    for name, tasks in at_workers.items()
                },
            )
