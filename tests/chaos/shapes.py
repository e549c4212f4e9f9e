"""Every shape of query, with answers that do not depend on the order of rows. Imported by drivers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
from daft import DataFrame, DataType, Window, col

ROWS = 240_000
FILES = 8
KEYS = 97


def write_inputs(folder: Path) -> None:
    """Writes the table that all shapes read, in several files, so that a scan is several tasks."""
    folder.mkdir()
    per_file = ROWS // FILES
    for file in range(FILES):
        ids = list(range(file * per_file, (file + 1) * per_file))
        table = pa.table(
            {
                "id": ids,
                "key": [number % KEYS for number in ids],
                "text": [f"text {number % 1000} " * 4 for number in ids],
                "list": [[number, number + 1] if number % 3 else [number] for number in ids],
            }
        )
        pq.write_table(table, folder / f"{file}.parquet")


def _facts(folder: Path) -> DataFrame:
    return daft.read_parquet(f"{folder / 'in'}/*.parquet")


def _sums(df: DataFrame, *names: str) -> Any:
    """The number of rows, and the sum of each column."""
    found = df.select(*names).to_pydict()
    return [len(found[names[0]]), *(sum(found[name]) for name in names)]


def _ids(df: DataFrame) -> list[int]:
    return list(df.to_pydict()["id"])


def _sum(folder: Path) -> Any:
    return _facts(folder).sum("id").to_pydict()["id"]


def _count(folder: Path) -> Any:
    return _facts(folder).where(col("key") != 3).count_rows()


def _groupby(folder: Path) -> Any:
    groups = _facts(folder).groupby("key").agg(col("id").sum(), col("text").count().alias("count"))
    return sorted(zip(*groups.to_pydict().values(), strict=True))


def _sort(folder: Path) -> Any:
    found = _ids(_facts(folder).sort("id", desc=True))
    return [found == sorted(found, reverse=True), len(found), sum(found)]


def _join(folder: Path) -> Any:
    other = _facts(folder).where(col("id") % 3 == 0).select((col("id") * 2).alias("id"), col("key").alias("other"))
    return _sums(_facts(folder).join(other, on="id", strategy="hash"), "id", "key", "other")


def _broadcast_join(folder: Path) -> Any:
    small = _facts(folder).where(col("id") < KEYS).select("key", col("id").alias("small"))
    return _sums(_facts(folder).join(small, on="key", strategy="broadcast"), "id", "small")


def _distinct(folder: Path) -> Any:
    return sorted(_facts(folder).select("key", col("id") % 11).distinct().to_pylist(), key=repr)


def _repartition(folder: Path) -> Any:
    return _sums(_facts(folder).repartition(6, "key").with_column("next", col("id") + 1), "id", "next")


def _random_repartition(folder: Path) -> Any:
    found = _ids(_facts(folder).repartition(6).where(col("key") > 2))
    return [len(found), len(set(found)), sum(found)]


def _limit(folder: Path) -> Any:
    found = _ids(_facts(folder).repartition(6, "id").limit(50_000))
    return [len(found), len(set(found)), min(found) >= 0, max(found) < ROWS]


def _offset(folder: Path) -> Any:
    found = _ids(_facts(folder).sort("id").offset(1000).limit(60_000))
    return [len(found), sum(found)]


def _window(folder: Path) -> Any:
    over = Window().partition_by("key").order_by("id")
    numbered = _facts(folder).select("id", "key", daft.functions.row_number().over(over).alias("number"))
    return _sums(numbered.where(col("number") % 2 == 1), "id", "number")


def _explode(folder: Path) -> Any:
    return _sums(_facts(folder).explode("list").repartition(5, "list"), "id", "list")


def _into_batches(folder: Path) -> Any:
    found = _ids(_facts(folder).into_batches(7_000))
    return [len(found), len(set(found)), sum(found)]


def _sample(folder: Path) -> Any:
    found = _ids(_facts(folder).repartition(6, "key").sample(0.5, seed=7))
    return [len(found) == len(set(found)), 0.4 * ROWS < len(found) < 0.6 * ROWS]


def _monotonic_ids(folder: Path) -> Any:
    found = _facts(folder)._add_monotonically_increasing_id("number").repartition(4, "number").to_pydict()
    return [len(set(found["number"])), len(set(found["id"]))]


def _actor_udf(folder: Path) -> Any:
    @daft.cls(max_concurrency=2)
    class Shift:
        def __init__(self, by: int) -> None:
            self.by = by

        @daft.method.batch(return_dtype=DataType.int64())
        def __call__(self, values: daft.Series) -> Any:
            return [value + self.by for value in values.to_pylist()]

    return _sums(_facts(folder).repartition(6, "key").with_column("shifted", Shift(5)(col("id"))), "id", "shifted")


def _collected(folder: Path) -> Any:
    collected = _facts(folder).repartition(6, "key").collect()
    odd = _sums(collected.where(col("id") % 2 == 1), "id")
    return [odd, sorted(collected.groupby("key").sum("id").to_pydict()["id"])]


def _written(folder: Path, kind: str) -> Any:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    written = _facts(folder).select("id", "key").repartition(6, "id")
    getattr(written, f"write_{kind}")(str(out))
    found = _ids(getattr(daft, f"read_{kind}")(f"{out}/**/*.{kind}"))
    return [len(found), len(set(found)), sum(found)]


SHAPES: dict[str, Callable[[Path], Any]] = {
    "sum": _sum,
    "count": _count,
    "groupby": _groupby,
    "sort": _sort,
    "join": _join,
    "broadcast join": _broadcast_join,
    "distinct": _distinct,
    "repartition": _repartition,
    "random repartition": _random_repartition,
    "limit": _limit,
    "offset": _offset,
    "window": _window,
    "explode": _explode,
    "into_batches": _into_batches,
    "sample": _sample,
    "monotonic ids": _monotonic_ids,
    "actor UDF": _actor_udf,
    "write parquet": lambda folder: _written(folder, "parquet"),
    "write csv": lambda folder: _written(folder, "csv"),
    "write json": lambda folder: _written(folder, "json"),
    "collect and reuse": _collected,
}
