"""The observer of one session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.observe.fact_listener import FactListener
from daft_k8s.observe.journal_reader import FactSource, JournalReader
from daft_k8s.observe.session_summary import QuerySummary, SessionSummary, WorkerSummary
from daft_k8s.observe.statistics import SessionStatistics
from daft_k8s.observe.worker_memory import WorkerMemory
from daft_k8s.wire.calls import ReportMemory

if TYPE_CHECKING:
    from daft_k8s._native import PoolSnapshot


class SessionObserver:
    """Follows a session by its facts, and sums it up. Thread-safe.

    Args:
        listeners: Follow the same facts.
    """

    def __init__(self, *listeners: FactListener) -> None:
        self.memory = WorkerMemory()
        """The reports of workers on their memory."""
        self._statistics = SessionStatistics()
        self._reader = JournalReader(self._statistics, *listeners)

    def read(self, source: FactSource) -> None:
        """Reads the facts that are new. To be called often: the journal drops the oldest for new ones."""
        self._reader.read(source)

    def summary(self, source: FactSource, pool: PoolSnapshot, slots_per_worker: int) -> SessionSummary:
        """Returns the session's numbers now.

        Args:
            source: The session's facts.
            pool: The pool now.
            slots_per_worker: Tasks that a worker runs at once.
        """
        now_seconds = self._reader.read(source)
        statistics = self._statistics
        at_workers = {worker.worker_id: worker.tasks for worker in pool.workers}
        running = sum(min(tasks, slots_per_worker) for tasks in at_workers.values())
        memory = self.memory.of(at_workers)
        queries = dict(statistics.queries)
        return SessionSummary(
            ready=pool.ready_workers,
            wanted=max(pool.min_workers, pool.alive_workers),
            running=running,
            waiting=max(0, pool.unfinished_tasks - running),
            done=statistics.done,
            failed=statistics.failed,
            held_bytes=sum(found.held_bytes for found in memory.values()),
            spilled_bytes=sum(found.spilled_bytes for found in memory.values()),
            running_queries=len(queries),
            queries=tuple(
                QuerySummary(name, max(0, int(now_seconds - query.began_seconds)), query.tasks, query.done)
                for name, query in queries.items()
            ),
            workers={
                name: WorkerSummary(tasks, **vars(memory.get(name, ReportMemory())))
                for name, tasks in at_workers.items()
            },
        )
