"""What a task's outputs become on their way to the store. Real partitions of Daft, no server."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
from daft.daft import PyMicroPartition

from daft_k8s.worker.task_outputs import TaskOutputs


class _Store:
    def __init__(self) -> None:
        self.outputs: list[tuple[str, int]] = []

    def put_output(self, key: str, pieces: Any, num_rows: int, size_bytes: int) -> None:
        self.outputs.append((key, num_rows))


def _flush(table: pa.Table) -> list[tuple[str, int]]:
    store = _Store()
    outputs = TaskOutputs(store, "q/1.1", partitioned=False)

    async def run() -> None:
        await outputs.add(PyMicroPartition.from_arrow_stream(table))
        await outputs.flush()

    asyncio.run(run())
    return store.outputs


def test_a_partial_aggregate_that_bears_one_column_name_twice_is_stored() -> None:
    twice = pa.Table.from_arrays([pa.array([1.5]), pa.array([3])], names=["mean", "mean"])
    assert _flush(twice) == [("q/1.1", 1)]


def test_small_pieces_become_one_output() -> None:
    assert _flush(pa.table({"a": [1, 2, 3]})) == [("q/1.1", 3)]
