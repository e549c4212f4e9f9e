"""What Daft itself gets wrong on any runner that asks for it. A test that fails says that Daft has mended it."""

from __future__ import annotations

from daft import col
from daft.expressions import ExpressionsProjection
from daft.recordbatch import MicroPartition


def test_dafts_sort_merge_join_drops_rows_of_keys_that_are_there_more_than_once() -> None:
    left = MicroPartition.from_pydict({"id": [0, 1, 2]})
    right = MicroPartition.from_pydict({"number": list(range(24)), "key": [1] * 24})
    on = (ExpressionsProjection([col("id")]), ExpressionsProjection([col("key")]))
    assert len(left.hash_join(right, *on)) == 24
    assert len(left.sort_merge_join(right, *on)) == 3, (
        "24 is right: seam/sort_merge.py and its line in docs/compatibility.md can go"
    )
