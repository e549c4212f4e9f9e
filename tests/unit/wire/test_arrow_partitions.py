"""Partitions to Arrow and back, without a server; also pins what Daft does wrong."""

from __future__ import annotations

import datetime
import decimal
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from daft import DataType, ImageMode, Series
from daft.daft import PyMicroPartition, PyRecordBatch
from daft.recordbatch import MicroPartition

from daft_k8s._native import ArrowStream
from daft_k8s.wire.arrow_partitions import from_arrow, to_arrow
from tests.unit.worker.columns import columns_of, partition_of


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "mean", "mean"], ["x", "x", "x"]])
def test_columns_keep_their_names_and_values_whatever_they_are_called(names: list[str]) -> None:
    values = [[7, 8], [1.5, 2.5], [3, 4]]
    back = from_arrow(to_arrow(partition_of(names, values)))
    assert columns_of(back) == list(zip(names, values, strict=True))


class Custom:
    """Comes back by pickling."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


class Metres(pa.ExtensionType):
    """An extension type that Daft does not know."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "tests.metres")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"unit=m"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Metres:
        return cls()


def _typed(values: list[Any], dtype: DataType) -> Series:
    return Series.from_pylist(values, dtype=dtype)


# Not by Series.cast and Series.from_arrow: these make this process' runner.
def _of_another_library(array: pa.Array) -> Series:
    (column,) = PyMicroPartition.from_arrow_stream(pa.table({"": array})).columns()
    return Series._from_pyseries(column)


def _sparse(tensors: Series) -> Series:
    return Series._from_pyseries(tensors._series.cast(DataType.sparse_tensor(DataType.int64())._dtype))


def _pixels(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


DAY, MOMENT = datetime.date(1995, 3, 15), datetime.datetime(2020, 1, 1, 12)
KINDS: dict[str, Series] = {
    "null": _typed([None, None], DataType.null()),
    "bool": _typed([True, None], DataType.bool()),
    "int8": _typed([1, None], DataType.int8()),
    "uint64": _typed([2**64 - 1, None], DataType.uint64()),
    "float32": _typed([1.5, None], DataType.float32()),
    "decimal": _typed([decimal.Decimal("1.25"), None], DataType.decimal128(10, 2)),
    "string": _typed(["", None], DataType.string()),
    "binary": _typed([b"\0", None], DataType.binary()),
    "fixed binary": _typed([b"abc", None], DataType.fixed_size_binary(3)),
    "date": _typed([DAY, None], DataType.date()),
    "time": _typed([datetime.time(3, 4), None], DataType.time("us")),
    "timestamp": _typed([MOMENT, None], DataType.timestamp("ns")),
    "timestamp with zone": _typed([MOMENT, None], DataType.timestamp("us", "Europe/Paris")),
    "duration": _typed([datetime.timedelta(3), None], DataType.duration("us")),
    "interval": Series.from_arrow(pa.array([(1, 2, 3), None], pa.month_day_nano_interval())),
    "list": _typed([[1, None], None], DataType.list(DataType.int64())),
    "list of lists": _typed([[["a"], []], None], DataType.list(DataType.list(DataType.string()))),
    "fixed list": _typed([[1, 2], None], DataType.fixed_size_list(DataType.int64(), 2)),
    "struct": _typed(
        [{"a": 1, "b": ["x"]}, None], DataType.struct({"a": DataType.int64(), "b": DataType.list(DataType.string())})
    ),
    "map": Series.from_arrow(pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))),
    "python": Series.from_pylist([Custom(1), None], pyobj="force"),
    "list of python": _typed([[Custom(1)], []], DataType.list(DataType.python())),
    "struct of python": _typed([{"a": Custom(2)}, None], DataType.struct({"a": DataType.python()})),
    "embedding": _typed([np.array([1, 2], np.float32), None], DataType.embedding(DataType.float32(), 2)),
    "tensor": _typed([np.arange(6).reshape(2, 3), None], DataType.tensor(DataType.int64())),
    "fixed tensor": _typed([np.arange(6).reshape(2, 3), None], DataType.tensor(DataType.int64(), (2, 3))),
    "sparse tensor": _sparse(_typed([np.array([[0, 1], [0, 0]]), None], DataType.tensor(DataType.int64()))),
    "image": _typed([_pixels(2, 3, 3), _pixels(4, 1, 3)], DataType.image()),
    "fixed image": _typed([_pixels(2, 3, 3), None], DataType.image(ImageMode.RGB, 2, 3)),
    "list of images": _typed([[_pixels(2, 3, 3)], None], DataType.list(DataType.image())),
    "extension": _of_another_library(pa.ExtensionArray.from_storage(Metres(), pa.array([b"1", None], pa.binary()))),
}
"""Two values of each kind of Daft's types."""


def _texts(series: Series) -> list[str]:
    is_interval = series.datatype() == DataType.interval()  # Daft makes no Python object of one
    return [repr(series)] if is_interval else [repr(value) for value in series.to_pylist()]


@pytest.mark.parametrize("rows", [2, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_all_types_come_back_as_they_were(kind: str, rows: int) -> None:
    beside = Series.from_pylist([1, 2], "number")
    batch = PyRecordBatch.from_pyseries_list([KINDS[kind]._series, beside._series]).slice(0, rows)
    partition = MicroPartition._from_pymicropartition(PyMicroPartition.from_record_batches([batch]))
    stream = to_arrow(partition._micropartition)
    assert stream.num_batches == 1
    back = MicroPartition._from_pymicropartition(from_arrow(stream))
    assert back.schema() == partition.schema()
    (found, _), (expected, _) = (
        [*map(Series._from_pyseries, part._micropartition.columns())] for part in (back, partition)
    )
    if "python" in kind:
        assert found.to_pylist() == expected.to_pylist()
    else:
        assert _texts(found) == _texts(expected)
    assert len(found) == rows


def test_rows_of_several_batches_keep_their_order() -> None:
    batches = [partition_of(["a"], [values]).get_record_batches()[0] for values in ([1, 2], [0], [3])]
    batches[1] = batches[1].slice(0, 0)
    back = from_arrow(to_arrow(PyMicroPartition.from_record_batches(batches)))
    assert MicroPartition._from_pymicropartition(back).to_pydict() == {"a": [1, 2, 3]}


def test_a_partition_without_batches_keeps_its_schema() -> None:
    empty = MicroPartition.empty(MicroPartition.from_pydict({"a": [1], "b": ["x"]}).schema())._micropartition
    stream = to_arrow(empty)
    assert stream.num_batches == 0
    back = MicroPartition._from_pymicropartition(from_arrow(stream))
    assert (back.schema().column_names(), len(back)) == (["a", "b"], 0)


def test_a_stream_is_consumed_once() -> None:
    stream = to_arrow(partition_of(["a"], [[1]]))
    from_arrow(stream)
    with pytest.raises(ValueError, match="consumed already"):
        from_arrow(stream)


def test_batches_of_another_schema_and_arrays_of_no_structs_are_refused() -> None:
    schema = pa.schema({"a": pa.int64()})
    for batch in (pa.record_batch({"a": ["x"]}), pa.record_batch({"a": [1], "b": [2]}), pa.array([1])):
        with pytest.raises(ValueError, match="not a usable Arrow stream"):
            ArrowStream.of_batches(schema, [batch])


def test_the_time_of_a_round_trip_grows_with_the_columns_and_not_with_their_square() -> None:
    columns = 40_000
    wide = MicroPartition.from_pydict({f"column {number}": [1] for number in range(columns)})._micropartition
    begin = time.monotonic()
    back = from_arrow(to_arrow(wide))
    assert time.monotonic() - begin < 2  # 0.2 s; with a look-up of each column by its name 8 s
    assert len(back.column_names()) == columns


def test_an_empty_partition_keeps_names_that_repeat() -> None:
    back = from_arrow(to_arrow(partition_of(["mean", "mean"], [[], []])))
    assert back.column_names() == ["mean", "mean"]


def test_empty_and_full_partitions_with_names_that_repeat_can_be_put_together() -> None:
    full = partition_of(["mean", "mean"], [[1], [2]])
    parts = [from_arrow(to_arrow(part)) for part in (full.slice(0, 0), full)]
    joined = MicroPartition.concat([MicroPartition._from_pymicropartition(part) for part in parts])
    assert columns_of(joined._micropartition) == [("mean", [1]), ("mean", [2])]


def test_daft_itself_mixes_up_columns_of_one_name_on_import() -> None:
    """Daft's defect for which record batches cross one by one, beside the time that it takes for many columns."""
    table = pa.Table.from_arrays([pa.array([1.5]), pa.array([3])], names=["mean", "mean"])
    imported = PyMicroPartition.from_arrow_stream(table)
    assert columns_of(imported) == [("mean", [1.5]), ("mean", [1])]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_partition_without_columns_keeps_its_rows(rows: int) -> None:
    """As after projecting a literal: Daft's own export refuses it."""
    without = partition_of(["a"], [list(range(rows))]).eval_expression_list([])
    back = MicroPartition._from_pymicropartition(from_arrow(to_arrow(without)))
    assert (back.column_names(), len(back)) == ([], rows)
    assert len(MicroPartition.concat([back, back])) == 2 * rows


def test_a_partition_of_nothing_at_all_survives() -> None:
    back = from_arrow(to_arrow(MicroPartition.from_pydict({})._micropartition))
    assert back.column_names() == []
