"""From fetched partitions to what the executor takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from daft.daft import PyMicroPartition

from daft_k8s.wire.arrow_partitions import from_arrow

if TYPE_CHECKING:
    from daft_k8s._native import ArrowStream

MERGE_BYTES = 1 << 20
"""Neighbouring partitions of one source are given to the executor as one up to this size.

Each partition costs a pass through every operator. Measured with 1000 partitions of 10 rows: 132 ms one by one and 11
ms merged in a projection, 50 and 8 ms in an aggregation. With 4 of them: 0.9 and 0.6 ms.
"""


def to_micropartitions(streams: Iterable[ArrowStream]) -> list[PyMicroPartition]:
    """Imports the partitions of one source, in order, without copying their buffers."""
    return [_import(run) for run in _runs(streams)]


def _runs(streams: Iterable[ArrowStream]) -> Iterator[list[ArrowStream]]:
    run: list[ArrowStream] = []
    run_bytes = 0
    for stream in streams:
        if run and run_bytes + stream.size_bytes > MERGE_BYTES:
            yield run
            run, run_bytes = [], 0
        run.append(stream)
        run_bytes += stream.size_bytes
    if run:
        yield run


def _import(run: Sequence[ArrowStream]) -> PyMicroPartition:
    parts = [from_arrow(stream) for stream in run]
    return parts[0] if len(parts) == 1 else PyMicroPartition.concat(parts)
