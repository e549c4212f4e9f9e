"""From what the executor yields to partitions in the worker's store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from daft.daft import FlightPartitionRef, PyMicroPartition, PyRecordBatch
from daft.pickle import dumps
from daft.recordbatch.micropartition import MicroPartition

from daft_k8s.errors import TaskError, UnsupportedError
from daft_k8s.wire.arrow_partitions import to_arrow
from daft_k8s.wire.raised import carrying, headline, uncarried
from daft_k8s.wire.task_payload import FlightReference

if TYPE_CHECKING:
    from daft_k8s._native import SupportsArrowStream

COALESCE_BYTES = 64 << 20
"""Small outputs are kept as one partition up to this size, as Daft's own workers do: fewer references."""


class OutputStore(Protocol):
    """The part of `WorkerServer` that is needed here."""

    def put_output(self, key: str, pieces: Sequence[SupportsArrowStream], num_rows: int, size_bytes: int) -> None: ...


class TaskOutputs:
    """Collects the outputs of one task.

    Args:
        store: The partition store; partitions are visible only when the task is finished.
        key: The task's key.
        partitioned: Number and order of the outputs are part of their meaning, so none are merged.
    """

    def __init__(self, store: OutputStore, key: str, *, partitioned: bool) -> None:
        self._store = store
        self._key = key
        self._target_bytes = 0 if partitioned else COALESCE_BYTES
        self._pieces: list[MicroPartition] = []
        self._pieces_bytes = 0
        self._python_columns: list[int] | None = None
        self.flight_references: list[FlightReference] = []
        """Partitions that Daft's own shuffle server keeps (`shuffle_algorithm="flight_shuffle"`)."""

    async def add(self, part: Any) -> None:
        """Takes one item of the executor's stream.

        Raises:
            UnsupportedError: The result's type is unknown.
            TaskError: The result holds Python objects that cannot be pickled.
        """
        if isinstance(part, FlightPartitionRef):
            self.flight_references.append(
                FlightReference(
                    part.shuffle_id, part.server_address, part.partition_ref_id, part.num_rows, part.size_bytes
                )
            )
            return
        if not isinstance(part, PyMicroPartition):
            raise UnsupportedError(f"Daft's executor gave out a {type(part).__name__}, which daft_k8s does not know")
        piece = MicroPartition._from_pymicropartition(part)
        size_bytes = piece.size_bytes()
        self._pieces.append(piece)
        # A piece of unknown size is not waited upon.
        self._pieces_bytes += size_bytes or 0
        if size_bytes is None or self._pieces_bytes >= self._target_bytes:
            await self.flush()

    async def flush(self) -> None:
        """Stores what has been collected as one partition."""
        pieces, size_bytes = self._pieces, self._pieces_bytes
        if not pieces:
            return
        self._pieces, self._pieces_bytes = [], 0
        if self._python_columns is None:
            self._python_columns = _python_columns(pieces[0])
        num_rows = sum(len(piece) for piece in pieces)

        def put() -> None:
            streams = [to_arrow(piece._micropartition) for piece in pieces]
            self._store.put_output(self._key, streams, num_rows, size_bytes)

        try:
            if self._python_columns:
                # Python objects are pickled on export, which may take long.
                await asyncio.to_thread(carrying(put))
            else:
                put()
        except Exception as error:
            culprit = await asyncio.to_thread(_unpicklable, pieces, self._python_columns)
            if culprit is None:
                raise
            raise TaskError(
                f"column {culprit[0]!r} of the task's result holds Python objects that cannot be pickled "
                f"({culprit[1]}), so it cannot leave the process that made it; "
                "return plain values or picklable objects from the UDF"
            ) from uncarried(error)


def _python_columns(piece: MicroPartition) -> list[int]:
    """Positions of the columns that hold Python objects."""
    # Not by way of Daft's Schema: each step of its iteration makes a list of all names.
    batches = piece._micropartition.get_record_batches()
    batch = batches[0] if batches else PyRecordBatch.empty(piece.schema()._schema)
    return [position for position, column in enumerate(batch.columns()) if column.data_type().is_python()]


def _unpicklable(pieces: Sequence[MicroPartition], positions: Sequence[int]) -> tuple[str, str] | None:
    """Finds the first column with an object that cannot be pickled; returns its name and the pickler's words."""
    for position in positions:
        for piece in pieces:
            for batch in piece._micropartition.get_record_batches():
                column = batch.columns()[position]
                for value in column.to_pylist():
                    try:
                        dumps(value)
                    except BaseException as error:
                        return column.name(), headline(error)
    return None
