"""Daft's partitions to and from Arrow streams, the form in which they are stored and moved.

Both ends use it, the worker process and the driver's seam. Record batches cross one by one. Daft's own import and
export of whole streams look each column up by its name, which takes time by the square of their number. And of two
columns with one name, the second gets the values of the first. Daft's partial aggregates do have such columns (the sum
and the count of a mean).
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any

import daft.pickle
from daft.daft import PyMicroPartition, PyRecordBatch
from daft.series import Series

from daft_k8s._native import ArrowStream
from daft_k8s.errors import TaskError
from daft_k8s.wire.raised import headline, text_of

_ROWS = "\x1fdaft_k8s\x1frows"
"""Stands for the columns of a partition that has none, as after projecting a literal: Daft exports no row count."""
_without_objects = contextvars.ContextVar("without_objects", default=False)
"""True while a partition is imported in which there must be no Python objects."""


def to_arrow(partition: PyMicroPartition) -> ArrowStream:
    """The partition as an Arrow stream, without copying its buffers. Python objects are pickled."""
    if not partition.column_names():
        partition = _with_rows(partition)
    return ArrowStream.of_batches(partition, partition.get_record_batches())


def guard_pickling() -> None:
    """Has `from_arrow` decide if objects are unpickled, and makes errors of pickling fit for Arrow's export.

    The export would abort on a text with a NUL character, be it in what pickling a user's object raises.

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
        daft.pickle.loads = _refusing(daft.pickle.loads)


def _refusing(loads: Callable[..., Any]) -> Callable[..., Any]:
    """The unpickler, which refuses where `from_arrow` expects no objects: Daft's extension calls it for each object."""

    @functools.wraps(loads)
    def refusing(*arguments: Any, **options: Any) -> Any:
        if _without_objects.get():
            raise TaskError(
                "a partition that came from a worker holds Python objects, and the schema of the query has none; they "
                "are not unpickled, as that would run the worker's code in the driver (trust_workers=True allows it)"
            )
        return loads(*arguments, **options)

    return refusing


def from_arrow(stream: ArrowStream, *, objects: bool = True) -> PyMicroPartition:
    """The inverse of `to_arrow`; consumes the stream.

    Args:
        stream: The partition.
        objects: Python objects in it are unpickled, which runs whatever code their sender chose.

    Raises:
        TaskError: There are objects, and there must be none.
    """
    before = _without_objects.set(not objects)
    try:
        return _import(stream)
    finally:
        _without_objects.reset(before)


def _import(stream: ArrowStream) -> PyMicroPartition:
    if not stream.num_batches:
        return PyMicroPartition.from_arrow_stream(stream)
    unused = PyRecordBatch.empty().schema()  # asked for where there is no batch to have it from
    batches = [PyRecordBatch.from_arrow_record_batches([batch], unused) for batch in stream.take_batches()]
    partition = PyMicroPartition.from_record_batches(batches)
    return partition.eval_expression_list([]) if partition.column_names() == [_ROWS] else partition


def _with_rows(partition: PyMicroPartition) -> PyMicroPartition:
    batches = partition.get_record_batches() or [PyRecordBatch.empty(partition.schema())]
    return PyMicroPartition.from_record_batches(
        [
            PyRecordBatch.from_pyseries_list([Series.from_pylist([None] * len(batch), _ROWS)._series])
            for batch in batches
        ]
    )
