"""Partitions to Arrow and back, without an extension or a server; also pins what Daft does wrong."""

from __future__ import annotations

import pyarrow as pa
import pytest
from daft.daft import PyMicroPartition
from daft.recordbatch import MicroPartition

from daft_k8s.wire.arrow_partitions import from_arrow, to_arrow
from tests.unit.worker.columns import columns_of, partition_of


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "mean", "mean"], ["x", "x", "x"]])
def test_columns_keep_their_names_and_values_whatever_they_are_called(names: list[str]) -> None:
    values = [[7, 8], [1.5, 2.5], [3, 4]]
    back = from_arrow(to_arrow(partition_of(names, values)))
    assert columns_of(back) == list(zip(names, values, strict=True))


def test_an_empty_partition_keeps_names_that_repeat() -> None:
    back = from_arrow(to_arrow(partition_of(["mean", "mean"], [[], []])))
    assert back.column_names() == ["mean", "mean"]


def test_empty_and_full_partitions_with_names_that_repeat_can_be_put_together() -> None:
    full = partition_of(["mean", "mean"], [[1], [2]])
    parts = [from_arrow(to_arrow(part)) for part in (full.slice(0, 0), full)]
    joined = MicroPartition.concat([MicroPartition._from_pymicropartition(part) for part in parts])
    assert columns_of(joined._micropartition) == [("mean", [1]), ("mean", [2])]


def test_daft_itself_mixes_up_columns_of_one_name_on_import() -> None:
    """Daft's defect that `to_arrow` works around; when this fails, the work-around can go."""
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
