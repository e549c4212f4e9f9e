"""Daft's partitions to and from Arrow streams, the form in which they are stored and moved.

Both ends use it, the worker process and the driver's seam. Daft's own import and export match
columns by name, and give the second of two columns of one name the values of the first. Daft's
partial aggregates do have such columns (the sum and the count of a mean), so these travel under
names that differ.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import daft.pickle
from daft.daft import PyMicroPartition, PyRecordBatch
from daft.series import Series

from daft_k8s.errors import TaskError
from daft_k8s.wire.raised import headline, text_of

if TYPE_CHECKING:
    from daft_k8s._native import SupportsArrowStream

_MARK = "\x1fdaft_k8s\x1f"
"""Begins the name of a column that travels under another name: mark, position, mark, the real name."""


_ROWS = f"{_MARK}rows"
"""Stands for the columns of a partition that has none, as after projecting a literal: Daft exports no row count."""


def to_arrow(partition: PyMicroPartition) -> SupportsArrowStream:
    """The partition as something that exports an Arrow stream, without copying its buffers."""
    names = partition.column_names()
    if not names:
        return _with_rows(partition)
    if len(set(names)) == len(names):
        return partition
    return _renamed(partition, [f"{_MARK}{position}{_MARK}{name}" for position, name in enumerate(names)])


def guard_pickling() -> None:
    """Keeps texts with a NUL character out of what pickling a user's object raises: Arrow's export would abort on one.

    Daft's extension looks its pickler up in `daft.pickle` for each export of Python objects.
    """
    dumps = daft.pickle.dumps

    @functools.wraps(dumps)
    def guarded(*arguments: Any, **options: Any) -> bytes:
        try:
            pickled: bytes = dumps(*arguments, **options)
        except BaseException as error:
            if "\0" in text_of(error):
                raise TaskError(headline(error).replace("\0", "\\x00")) from None
            raise
        return pickled

    if not hasattr(dumps, "__wrapped__"):
        daft.pickle.dumps = guarded


def from_arrow(stream: SupportsArrowStream) -> PyMicroPartition:
    """The inverse of `to_arrow`; consumes the stream."""
    partition = PyMicroPartition.from_arrow_stream(stream)
    names = partition.column_names()
    if not names or not names[0].startswith(_MARK):
        return partition
    if names == [_ROWS]:
        return partition.eval_expression_list([])
    return _renamed(partition, [name.rsplit(_MARK, 1)[1] for name in names])


def _with_rows(partition: PyMicroPartition) -> PyMicroPartition:
    batches = partition.get_record_batches() or [PyRecordBatch.empty(partition.schema())]
    return PyMicroPartition.from_record_batches(
        [
            PyRecordBatch.from_pyseries_list([Series.from_pylist([None] * len(batch), _ROWS)._series])
            for batch in batches
        ]
    )


def _renamed(partition: PyMicroPartition, names: Sequence[str]) -> PyMicroPartition:
    batches = partition.get_record_batches() or [PyRecordBatch.empty(partition.schema())]
    return PyMicroPartition.from_record_batches([_renamed_batch(batch, names) for batch in batches])


def _renamed_batch(batch: PyRecordBatch, names: Sequence[str]) -> PyRecordBatch:
    columns = zip(batch.columns(), names, strict=True)
    return PyRecordBatch.from_pyseries_list([column.rename(name) for column, name in columns])
