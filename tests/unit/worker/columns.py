"""Partitions of Daft whose column names may repeat."""

from __future__ import annotations

from typing import Any

from daft import Series
from daft.daft import PyMicroPartition, PyRecordBatch


def partition_of(names: list[str], values: list[list[Any]]) -> PyMicroPartition:
    series = [Series.from_pylist(column, name=name)._series for name, column in zip(names, values, strict=True)]
    return PyMicroPartition.from_record_batches([PyRecordBatch.from_pyseries_list(series)])


def columns_of(partition: PyMicroPartition) -> list[tuple[str, list[Any]]]:
    return [(column.name(), column.to_pylist()) for column in partition.columns()]
