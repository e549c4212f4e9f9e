"""Results and partition sets whose data lives on workers."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from daft.daft import PyRecordBatch, RayPartitionRef
from daft.recordbatch import MicroPartition
from daft.runners.partitioning import MaterializedResult, PartitionMetadata, PartitionSet
from daft.runners.runner_io import RunnerIO

from daft_k8s.errors import Loss, SessionClosedError, WorkerLostError
from daft_k8s.seam.unsupported import refuse_ray_bridge
from daft_k8s.wire.arrow_partitions import from_arrow, to_arrow
from daft_k8s.wire.raised import CarriedError, carrying, ordinary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daft.daft import FileFormatConfig, FileInfos, IOConfig
    from daft.runners.partitioning import LocalPartitionSet, PartID
    from daft.schema import Schema

    from daft_k8s._native import ArrowStream, PartitionRef
    from daft_k8s.driver.session import Session

logger = logging.getLogger("daft_k8s")

_GONE = (
    "the data of a collected DataFrame went with its workers; make the DataFrame again from its source and collect() "
    "it again"
)
_RETRY_SECONDS = 0.5
_VERDICT_SECONDS = 5.0
"""Seconds for which a fetch is tried beyond the pool's patience: the pool reports a loss with its reason."""
_NOT_REACHED = (ConnectionError, TimeoutError)
"""Failures that another try may mend, until the pool gives up the worker."""


def holds_objects(schema: Schema) -> bool:
    """True if partitions of this schema may hold Python objects, be it deep in a column."""
    # Not by way of Daft's Schema, whose iteration fails where two columns have one name.
    columns = PyRecordBatch.empty(schema._schema).columns()
    return any("Python" in repr(column.data_type()) for column in columns)


def to_micropartition(stream: ArrowStream, *, objects: bool) -> MicroPartition:
    """Takes over the buffers of an Arrow stream without a copy. Unpickles users' objects, which may raise anything."""
    return MicroPartition._from_pymicropartition(from_arrow(stream, objects=objects))


def convert(streams: Sequence[ArrowStream], *, objects: bool) -> list[MicroPartition]:
    """The partitions of Arrow streams.

    Raises:
        Exception: The exception of unpickling a user's object.
        TaskError: In the place of what would end an iterator in the user's code.
    """
    try:
        return [to_micropartition(stream, objects=objects) for stream in streams]
    except (StopIteration, StopAsyncIteration, GeneratorExit) as error:
        raise ordinary(error) from error


def fetch_micropartitions(
    session: Session, refs: Sequence[PartitionRef], *, objects: bool = False
) -> list[MicroPartition]:
    """Brings partitions here, all in one request per worker.

    Args:
        session: The session of the partitions.
        refs: The partitions.
        objects: They may hold Python objects, which are unpickled.

    Raises:
        SessionClosedError: If they went with their session.
        WorkerLostError: If one was lost, or its worker cannot be reached.
        Exception: The exception of unpickling a user's object.
    """
    if not refs:
        return []
    session.ensure_open(_GONE)
    return convert(_fetch_streams(session, refs), objects=objects)


def _fetch_streams(session: Session, refs: Sequence[PartitionRef]) -> list[ArrowStream]:
    patience = _Patience(session)
    while True:
        try:
            return session.manager.fetch(refs)
        except (LookupError, *_NOT_REACHED) as error:
            if not patience.allows_another_try(error):
                raise _lost(error) from error
        time.sleep(_RETRY_SECONDS)


class _Patience:
    """Counts from the first failure of a fetch: the try before it may have taken longer than the pool is patient."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._end: float | None = None

    def allows_another_try(self, error: Exception) -> bool:
        """True if another try may mend this failure."""
        if not isinstance(error, _NOT_REACHED):
            return False
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._session.patience_seconds + _VERDICT_SECONDS
        if now >= self._end:
            return False
        logger.debug("a result is fetched again: %s", error)
        return True


def _put(session: Session, data: MicroPartition) -> PartitionRef:
    return session.manager.put(to_arrow(data._micropartition), len(data), data.size_bytes() or 0)


def _lost(error: Exception) -> WorkerLostError:
    return WorkerLostError(f"a result could not be fetched: {error}", loss=Loss.INPUTS)


class GoneReference:
    """Stands in a plan for a partition of a session that is over; the task that reads it fails."""

    def __init__(self, reference: PartitionRef, reason: str) -> None:
        self.num_rows = reference.num_rows
        self.size_bytes = reference.size_bytes
        self.reason = reason


def held(reference: PartitionRef | GoneReference) -> PartitionRef:
    """The reference of a partition that there is.

    Raises:
        SessionClosedError: If it went with its session.
    """
    if isinstance(reference, GoneReference):
        raise SessionClosedError(reference.reason)
    return reference


_putting_again = threading.Lock()


class K8sMaterializedResult(MaterializedResult[Any]):
    """One partition of a result: a reference, and its data once it was fetched ahead."""

    def __init__(
        self,
        session: Session,
        reference: PartitionRef,
        local: MicroPartition | None = None,
        *,
        objects: bool = False,
    ) -> None:
        self._session = session
        self.objects = objects
        self.reference = reference
        self._local = local
        self._fetched: Future[MicroPartition] | None = None

    @property
    def session(self) -> Session:
        """The session whose workers hold the data."""
        return self._session

    def reference_in(self, session: Session) -> PartitionRef | GoneReference:
        """The partition for a plan of this session: data of this process is made known to each session anew."""
        with _putting_again:
            if self._session is session:
                return self.reference
            if self._local is None:
                return GoneReference(self.reference, f"a former session was shut down; {_GONE}")
            try:
                self.reference = _put(session, self._local)
            except Exception as error:  # what pickling a Python object raised; most plans do not read this partition
                return GoneReference(self.reference, f"data of an earlier session could not be used again: {error}")
            self._session = session
            return self.reference

    @property
    def local(self) -> MicroPartition | None:
        """The data, if it is in this process anyway because the user made it here."""
        return self._local

    @property
    def is_lost(self) -> bool:
        """True if the worker that held the data was lost, and no copy is here."""
        return self._local is None and self.reference.is_lost

    def start_fetch(self) -> None:
        """Asks for the data now; `micropartition` then only waits for it. Does not block."""
        fetched: Future[MicroPartition] = Future()
        patience = _Patience(self._session)

        def fetch() -> None:
            try:
                self._session.manager.fetch_async([self.reference], on_fetched)
            except Exception as error:  # the session was shut down meanwhile
                fetched.set_exception(error)

        def on_fetched(streams: list[ArrowStream] | None, error: Exception | None) -> None:
            if fetched.done():
                return
            if error is not None and patience.allows_another_try(error):
                self._session.loop.call_later(_RETRY_SECONDS, fetch)
                return
            if error is not None or not streams:
                fetched.set_exception(_lost(error or LookupError("nothing was received")))
                return
            try:
                fetched.set_result(carrying(to_micropartition)(streams[0], objects=self.objects))
            except CarriedError as conversion_error:
                fetched.set_exception(conversion_error)

        self._fetched = fetched
        fetch()

    def partition(self) -> MicroPartition:
        """The data: `DataFrame.iter_partitions` hands this to the user."""
        return self.micropartition()

    def micropartition(self) -> MicroPartition:
        if self._local is not None:
            return self._local
        if self._fetched is not None:
            error = self._fetched.exception()
            if error is not None:
                raise ordinary(error)
            return self._fetched.result()
        return fetch_micropartitions(self._session, [self.reference], objects=self.objects)[0]

    def metadata(self) -> PartitionMetadata:
        return PartitionMetadata(self.reference.num_rows, self.reference.size_bytes)

    def cancel(self) -> None:
        """The task of a result has ended; there is nothing to cancel."""

    def _noop(self, _: Any) -> None:
        return None


class K8sPartitionSet(PartitionSet[Any]):
    """The partitions of one DataFrame, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._results: dict[PartID, K8sMaterializedResult] = {}

    @classmethod
    def from_local(cls, session: Session, local: LocalPartitionSet) -> K8sPartitionSet:
        """Makes data of this process known to the pool; workers are sent it when a task needs it."""
        partition_set = cls()
        for partition_id, result in local.items():
            data = result.micropartition()
            partition_set.set_partition(partition_id, K8sMaterializedResult(session, _put(session, data), data))
        return partition_set

    def references(self, session: Session) -> list[RayPartitionRef]:
        """The partitions as Daft's planner wants them, for a plan that this session runs.

        References of an earlier session count, too. A plan that reads a partition for which Daft gets no reference ends
        in a panic of its scheduler.
        """
        refs = [result.reference_in(session) for _, result in sorted(self._results.items())]
        return [RayPartitionRef(ref, ref.num_rows, ref.size_bytes) for ref in refs]

    def ensure_held(self) -> None:
        """Raises WorkerLostError if a partition went with a worker, as far as that is known yet."""
        lost = [result.reference for result in self._results.values() if result.is_lost]
        if lost:
            workers = ", ".join(sorted({str(reference.worker_id) for reference in lost}))
            raise WorkerLostError(f"{len(lost)} partitions of the result were lost with {workers}", loss=Loss.INPUTS)

    def items(self) -> list[tuple[PartID, MaterializedResult[Any]]]:
        return [(partition_id, result) for partition_id, result in sorted(self._results.items())]

    def _get_merged_micropartition(self, schema: Schema) -> MicroPartition:
        results = [result for _, result in sorted(self._results.items())]
        return MicroPartition.concat_or_empty(self._fetch(results), schema)

    def _get_preview_micropartitions(self, num_rows: int) -> list[MicroPartition]:
        needed: list[K8sMaterializedResult] = []
        found = 0
        for _, result in sorted(self._results.items()):
            if needed and found >= num_rows:
                break
            # The first one is taken even if it is empty: it carries the schema.
            if not needed or result.reference.num_rows:
                needed.append(result)
                found += result.reference.num_rows
        parts = self._fetch(needed)
        if parts and found > num_rows:
            keep = len(parts[-1]) - (found - num_rows)
            parts[-1] = parts[-1].slice(0, keep)
        return parts

    @staticmethod
    def _fetch(results: list[K8sMaterializedResult]) -> list[MicroPartition]:
        remote = [result for result in results if result.local is None]
        references = [result.reference for result in remote]
        objects = any(result.objects for result in remote)
        fetched = iter(fetch_micropartitions(remote[0].session, references, objects=objects) if remote else ())
        return [result.local if result.local is not None else next(fetched) for result in results]

    def get_partition(self, idx: PartID) -> K8sMaterializedResult:
        return self._results[idx]

    def set_partition(self, idx: PartID, result: MaterializedResult[Any]) -> None:
        if not isinstance(result, K8sMaterializedResult):
            raise TypeError(f"expected a result of this runner, got {type(result).__name__}")
        self._results[idx] = result

    def delete_partition(self, idx: PartID) -> None:
        del self._results[idx]

    def has_partition(self, idx: PartID) -> bool:
        return idx in self._results

    def __len__(self) -> int:
        return sum(result.reference.num_rows for result in self._results.values())

    def size_bytes(self) -> int | None:
        return sum(result.reference.size_bytes for result in self._results.values())

    def num_partitions(self) -> int:
        return len(self._results)

    def wait(self) -> None:
        """Results exist only once their tasks have ended."""

    def to_ray_dataset(self) -> Any:
        """Daft's bridge to Ray Data."""
        refuse_ray_bridge("DataFrame.to_ray_dataset()")

    def to_dask_dataframe(self, meta: Any = None) -> Any:
        """Daft's bridge to Dask on Ray."""
        refuse_ray_bridge("DataFrame.to_dask_dataframe()")


class K8sRunnerIO(RunnerIO):
    """Listing of files, which the driver does itself."""

    def glob_paths_details(
        self,
        source_paths: list[str],
        file_format_config: FileFormatConfig | None = None,
        io_config: IOConfig | None = None,
    ) -> FileInfos:
        from daft.daft import FileInfos
        from daft.filesystem import glob_path_with_stats

        file_format = file_format_config.file_format() if file_format_config is not None else None
        found = FileInfos()
        for path in set(source_paths):
            try:
                found.merge(glob_path_with_stats(path, file_format, io_config))
            except FileNotFoundError:
                logger.debug("%s is not found", path)
        if len(found) == 0:
            raise FileNotFoundError(f"No files found at {','.join(source_paths)}")
        return found

    def partition_set_from_ray_dataset(self, ds: Any) -> Any:
        """Daft's bridge from Ray Data."""
        refuse_ray_bridge("daft.from_ray_dataset()")

    def partition_set_from_dask_dataframe(self, ddf: Any) -> Any:
        """Daft's bridge from Dask on Ray."""
        refuse_ray_bridge("daft.from_dask_dataframe()")
