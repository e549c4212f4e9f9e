"""Running a query again as a whole, after a worker was lost with data that only another run can give back.

A query is repeated only if its user cannot see a difference. None of its results has been handed out, no task was ever
given to a worker that writes where others see it, and its inputs are still there.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from daft.naming import generate_query_name

from daft_k8s.errors import Loss, SessionClosedError, WorkerLostError
from daft_k8s.seam.determinism import UNKNOWN, Determinism, QueryDeterminism
from daft_k8s.seam.written import Written
from daft_k8s.wire.quoted_log import add_to_reason, split_log
from daft_k8s.wire.raised import add_note

if TYPE_CHECKING:
    from daft_k8s._native import K8sTaskResultHandle, PartitionRef
    from daft_k8s.driver.session import Session

logger = logging.getLogger("daft_k8s")

T = TypeVar("T")
M = TypeVar("M")

MAX_REPETITIONS = 2
"""Most repetitions of one query: a third loss in one query is no accident."""

REPEATABLE = frozenset({Loss.INPUTS, Loss.INFRASTRUCTURE})
"""Losses that another run may be spared. A crash or a want of memory is probably the query's own doing."""

HARMLESS = frozenset(
    {
        "AsofJoin",
        "CatalogWrite",  # its files count only once the driver has named them in the table's log
        "Concat",
        "CrossJoin",
        "Dedup",
        "DistributedActorPoolProject",
        "DistributedLimit",
        "Explode",
        "Filter",
        "GatherWrite",  # of a shuffle, as RepartitionWrite
        "GlobScan",
        "HashAggregate",
        "HashJoin",
        "InMemoryScan",
        "IntoBatches",
        "IntoPartitions",
        "LanceWrite",  # as CatalogWrite
        "Limit",
        "MonotonicallyIncreasingId",
        "PhysicalScan",
        "Pivot",
        "PlaceholderScan",
        "Project",
        "RepartitionWrite",
        "Sample",
        "ShuffleRead",
        "Sort",
        "SortMergeJoin",
        "TopN",
        "UDFProject",  # UDFs run again in any case: with a task that is sent again
        "UnGroupedAggregate",
        "Unpivot",
        "VLLMProject",
        "WindowOrderByOnly",
        "WindowPartitionAndDynamicFrame",
        "WindowPartitionAndOrderBy",
        "WindowPartitionOnly",
    }
)
"""Daft's operators that leave nothing behind. All others count as writes, so that a new one is never repeated."""

FILE_WRITES = frozenset({"CommitWrite", "PhysicalWrite"})
"""Daft's operators that write files to a folder."""

_OPERATOR = re.compile(r"\w+")


def leaves_something(task_name: str, *, stages_files: bool = False) -> bool:
    """True if a task may write something where others see it.

    Args:
        task_name: The task's operators, as Daft names them ("PhysicalScan->Project").
        stages_files: The files of the query's run go to a folder of their own.
    """
    harmless = HARMLESS | FILE_WRITES if stages_files else HARMLESS
    return not harmless.issuperset(_OPERATOR.findall(task_name))


class QueryRun:
    """One run of a query, and what keeps the query from being run again. Thread-safe.

    Args:
        session: The session that runs the query.
        query_id: Of this run alone: workers take no more tasks of a query that has ended.
        repetitions: The number of earlier runs of the query.
    """

    def __init__(self, session: Session, query_id: str, repetitions: int = 0) -> None:
        self.session = session
        self.query_id = query_id
        self._repetitions = repetitions
        self._lock = threading.Lock()
        self._ended = False
        self._uploads = False
        self._stages_files = False
        self._handed_out = False
        self._writing: list[K8sTaskResultHandle] = []
        self._lent: Callable[[], Iterable[PartitionRef]] = tuple
        self._lent_slots: frozenset[str] = frozenset()
        self._read: set[str] = set()
        self._determinism = UNKNOWN
        self.written = Written()
        """The files that the query's tasks have written."""

    def lend(self, slots: Iterable[str], references: Callable[[], Iterable[PartitionRef]]) -> None:
        """Tells which partitions of collected DataFrames the query may read.

        Args:
            slots: Of the partitions that there are as the run begins.
            references: Existing references. The run keeps none, or it would keep their data.
        """
        self._lent = references
        self._lent_slots = frozenset(slots)

    def expect_uploads(self) -> None:
        """Tells that the plan uploads. An upload hides in any projection, so each task counts as one that writes."""
        self._uploads = True

    def expect(self, determinism: QueryDeterminism) -> None:
        """Tells what the plan says about its tasks."""
        self._determinism = determinism

    def determinism_of(self, name: str, plan: bytes) -> Determinism:
        """The determinism of a task, by its operators and expressions.

        Args:
            name: The task's operators, as Daft names them ("PhysicalScan->Project").
            plan: The task's pickled plan.
        """
        return Determinism.UNREPEATABLE if self._uploads else self._determinism.of_task(name, plan)

    def stage_files(self) -> None:
        """Tells that the files of this run go to a folder of its own, and to their destination only at its end."""
        self._stages_files = True

    @property
    def stages_files(self) -> bool:
        """True if its files are not at their destination before its end."""
        return self._stages_files

    def submit(
        self,
        name: str,
        inputs: Sequence[tuple[int, Sequence[PartitionRef]]],
        send: Callable[[], K8sTaskResultHandle],
    ) -> K8sTaskResultHandle:
        """Submits a task of the run and notes what it reads and writes.

        Raises:
            SessionClosedError: If the run has ended. A task that Daft's scheduler hands out late would write beside
                the next run.
        """
        with self._lock:
            if self._ended:
                raise SessionClosedError(f"query {self.query_id} has ended")
            handle = send()
            if self._uploads or leaves_something(name, stages_files=self._stages_files):
                self._writing.append(handle)
            if self._lent_slots:
                slots = {reference.slot_id for _, references in inputs for reference in references}
                self._read |= slots & self._lent_slots
        return handle

    def end(self) -> None:
        """Takes no more tasks."""
        with self._lock:
            self._ended = True

    @property
    def has_written(self) -> bool:
        """True if a worker was given a task that writes."""
        return any(handle.was_sent for handle in self._writing)

    def hand_out(self, results: Generator[T, None, M]) -> Generator[T, None, M]:
        """Yields the results to the user, after which the query cannot be run again unseen."""
        try:
            while True:
                try:
                    result = next(results)
                except StopIteration as end:
                    value: M = end.value
                    return value
                self._handed_out = True
                yield result
                # The user may drop the result before the next one is there, and with it the data.
                del result
        finally:
            results.close()

    def obstacle(self) -> str | None:
        """The obstacle to another run of the query, in words; None if there is none."""
        if self._handed_out:
            return "results of it have been handed out"
        if self.has_written:
            return "a task of it that writes has begun"
        if self._read and any(reference.is_lost for reference in self._lent() if reference.slot_id in self._read):
            return "a collected DataFrame that it reads has lost data, and must be collected anew"
        if self._repetitions >= MAX_REPETITIONS:
            return f"it has been run {self._repetitions + 1} times"
        return None

    def again(self, error: WorkerLostError) -> QueryRun:
        """The next run of the query, after this one failed.

        Raises:
            WorkerLostError: The error itself, if there is none.
        """
        if error.loss not in REPEATABLE or self.session.closed:
            raise error
        obstacle = self.obstacle()
        if obstacle is not None:
            text = add_to_reason(str(error), f" (not run again by daft_k8s: {obstacle})")
            # Its cause would tell the same again.
            lost = WorkerLostError(text, loss=error.loss)
            for note in getattr(error, "__notes__", ()):
                add_note(lost, note)
            raise lost from None
        successor = QueryRun(self.session, generate_query_name(), self._repetitions + 1)
        logger.warning(
            "query %s is run again as a whole, as %s (%d of at most %d times), since nothing of it was handed out or "
            "written: %s",
            self.query_id,
            successor.query_id,
            successor._repetitions,
            MAX_REPETITIONS,
            split_log(str(error))[0],
        )
        return successor


class QueryRuns:
    """The runs of a session that have not ended, by their query ids."""

    def __init__(self) -> None:
        self._runs: dict[str, QueryRun] = {}

    def begin(self, run: QueryRun) -> None:
        self._runs[run.query_id] = run

    def find(self, query_id: str) -> QueryRun:
        """The run of this id.

        Raises:
            SessionClosedError: If it has ended.
        """
        run = self._runs.get(query_id)
        if run is None:
            raise SessionClosedError(f"query {query_id} has ended")
        return run

    def end(self, run: QueryRun) -> None:
        run.end()
        self._runs.pop(run.query_id, None)


def repeat(session: Session, attempt: Callable[[QueryRun], T]) -> T:
    """Runs a query whose results stay here until its end.

    Raises:
        WorkerLostError: If it cannot be run again, or not any more.
        Exception: Any other error that failed the query.
    """
    run = QueryRun(session, generate_query_name())
    while True:
        try:
            return attempt(run)
        except WorkerLostError as error:
            run = run.again(error)


def repeat_until_handed_out(
    session: Session, attempt: Callable[[QueryRun], Generator[T, None, Any]]
) -> Generator[T, None, Any]:
    """Runs a query whose results are handed out as they come; raises as `repeat`."""
    run = QueryRun(session, generate_query_name())
    while True:
        try:
            return (yield from run.hand_out(attempt(run)))
        except WorkerLostError as error:
            run = run.again(error)
