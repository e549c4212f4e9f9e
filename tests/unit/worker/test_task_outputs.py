"""What a task's outputs become on their way to the store. Real partitions of Daft, no server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import daft
import pyarrow as pa
import pytest
from daft.daft import PyMicroPartition

from daft_k8s.errors import TaskError
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


def test_the_time_that_an_output_takes_grows_with_its_columns_and_not_with_their_square() -> None:
    store, columns = _Store(), 20_000
    wide = PyMicroPartition.from_arrow_stream(pa.table({f"column {number}": [1] for number in range(columns)}))
    outputs = TaskOutputs(store, "q/1.1", partitioned=False)

    async def run() -> None:
        await outputs.add(wide)
        await outputs.flush()

    begin = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begin < 5  # 0.1 s; with a list of all names made for each column half a minute


def test_the_column_with_an_object_that_cannot_be_pickled_is_named_beside_columns_of_one_name() -> None:
    class Stays:
        def __reduce__(self) -> str:
            raise RuntimeError("it stays where it is")

    objects = daft.Series.from_pylist([1, Stays()], "guard", pyobj="force")._series
    numbers = daft.Series.from_pylist([1, 2], "sum")._series
    batch = daft.daft.PyRecordBatch.from_pyseries_list([numbers, numbers, objects])
    outputs = TaskOutputs(_Store(), "q/1.1", partitioned=False)

    async def run() -> None:
        await outputs.add(PyMicroPartition.from_record_batches([batch]))
        await outputs.flush()

    with pytest.raises(TaskError, match=r"column 'guard' .*RuntimeError: it stays where it is") as told:
        asyncio.run(run())
    assert "it stays where it is" in str(told.value.__cause__)
