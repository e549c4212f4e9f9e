"""The reports of workers on their memory."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable

from daft_k8s.observe.session_summary import count
from daft_k8s.wire.calls import Done, ReportMemory


class WorkerMemory:
    """Keeps each worker's latest report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[str, ReportMemory] = {}

    def on_report(self, worker_id: str, report: ReportMemory) -> Done:
        """Answers a worker's call.

        Raises:
            ValueError: A size in it is none.
        """
        report = ReportMemory(*(count(size) for size in dataclasses.astuple(report)))
        with self._lock:
            self._reports[worker_id] = report
        return Done()

    def worker_lost(self, worker_id: str) -> None:
        """Forgets the report of a worker that is lost, and with it what it held."""
        with self._lock:
            self._reports.pop(worker_id, None)

    def of(self, worker_ids: Iterable[str]) -> dict[str, ReportMemory]:
        """The latest reports of these workers, of those that have made one."""
        with self._lock:
            return {name: self._reports[name] for name in worker_ids if name in self._reports}
