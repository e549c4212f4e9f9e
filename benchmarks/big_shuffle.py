"""A shuffle of a given size whose rows are made on the workers and whose sums are known in closed form.

Row `id` carries `COLUMNS` columns `id * factor + index`: every byte that comes out can be checked without a second
engine. Counts and sums catch lost, doubled and swapped values; `torn` counts rows whose columns no longer belong
together.
"""

from __future__ import annotations

import math
import time
from typing import Any

COLUMNS = 15
ROW_BYTES = 8 * (COLUMNS + 1)
GIGABYTE = 10**9


def factor_of(index: int) -> int:
    """Odd and different in every column; small enough that the sums fit into 64 bits up to about 80 GB."""
    return 2 * index + 3


def expected_sums(rows: int) -> dict[str, int]:
    """What `run` must find: row count, sums of all columns, no torn row."""
    ids = rows * (rows - 1) // 2
    sums = {"rows": rows, "id": ids, "torn": 0}
    for index in range(COLUMNS):
        sums[f"c{index}"] = factor_of(index) * ids + index * rows
    return sums


def run(*, gigabytes: float, maps: int, reduces: int) -> dict[str, Any]:
    """Shuffles `gigabytes` (10^9 bytes in memory) by hash from `maps` to `reduces` partitions; returns what it found.

    Raises:
        ValueError: The size is not positive or too large for the check to fit into 64 bits.
    """
    import daft
    from daft import DataType, Expression, col, lit

    rows = math.ceil(gigabytes * GIGABYTE / ROW_BYTES)
    expected = expected_sums(rows)
    if rows <= 0 or max(expected.values()) >= 2**63:
        raise ValueError(f"a shuffle of {gigabytes} GB cannot be checked in 64 bits; choose less")
    frame = daft.range(0, rows, 1, maps)
    for index in range(COLUMNS):
        frame = frame.with_column(f"c{index}", col("id") * factor_of(index) + index)
    torn: Expression = lit(False)
    for index in range(COLUMNS):
        torn = torn | (col(f"c{index}") != col("id") * factor_of(index) + index)
    checks = [col("id").count().alias("rows"), col("id").sum(), torn.cast(DataType.int64()).sum().alias("torn")]
    checks += [col(f"c{index}").sum() for index in range(COLUMNS)]
    started = time.perf_counter()
    found = frame.repartition(reduces, "id").agg(*checks).to_pydict()
    seconds = time.perf_counter() - started
    problems = [
        f"{name} is {found[name][0]}, expected {value}" for name, value in expected.items() if found[name][0] != value
    ]
    return {"seconds": seconds, "rows": rows, "bytes": rows * ROW_BYTES, "problems": problems}
