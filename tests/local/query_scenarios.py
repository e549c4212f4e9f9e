"""Queries whose answers do not depend on the order of rows, to be run by any runner.

Run as a program: `query_scenarios.py RUNNER FOLDER` prints one JSON object, scenario -> answer. Runs
in a process of its own, because Daft chooses its runner once in a process.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
from daft import DataFrame, DataType, Window, col

ROWS = 4000
FILES = 4


def write_inputs(folder: Path) -> None:
    """Writes the tables: `facts` in several files, so that a scan is several tasks, and `names`."""
    (folder / "facts").mkdir()
    per_file = ROWS // FILES
    for file in range(FILES):
        ids = range(file * per_file, (file + 1) * per_file)
        table = pa.table(
            {
                "id": pa.array(ids, pa.int64()),
                "key": pa.array([number % 13 for number in ids], pa.int64()),
                "value": pa.array([None if number % 17 == 0 else number * 0.5 for number in ids]),
                "text": pa.array([f"text-{number % 101}" * (number % 5) for number in ids]),
                "day": pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(number % 400) for number in ids]),
                "price": pa.array([decimal.Decimal(number) / 100 for number in ids], pa.decimal128(12, 2)),
                "list": pa.array([list(range(number % 4)) for number in ids], pa.list_(pa.int64())),
            }
        )
        pq.write_table(table, folder / "facts" / f"{file}.parquet")
    names = pa.table({"key": pa.array(range(5, 20), pa.int64()), "name": [f"name {number}" for number in range(5, 20)]})
    pq.write_table(names, folder / "names.parquet")


def facts(folder: Path) -> DataFrame:
    return daft.read_parquet(str(folder / "facts" / "*.parquet"))


def names(folder: Path) -> DataFrame:
    return daft.read_parquet(str(folder / "names.parquet"))


def rows_of(df: DataFrame) -> list[str]:
    """The rows as sorted text."""
    return sorted(repr(sorted(row.items())) for row in df.to_pylist())


@daft.func
def add_one(value: int) -> int:
    return value + 1


@daft.func.batch(return_dtype=DataType.int64())
def double(values: daft.Series) -> Any:
    return [value * 2 for value in values.to_pylist()]


@daft.func(return_dtype=DataType.python())
def as_object(value: int) -> Any:
    return {"value": value}


def filter_rows(folder: Path) -> Any:
    return rows_of(facts(folder).where((col("key") == 3) & (col("id") < 500)))


def group_by(folder: Path) -> Any:
    df = (
        facts(folder)
        .groupby("key")
        .agg(
            col("id").sum().alias("sum"), col("value").mean(), col("text").max(), col("price").min(), col("day").count()
        )
    )
    return rows_of(df)


def global_aggregate(folder: Path) -> Any:
    return rows_of(facts(folder).agg(col("id").sum(), col("price").sum(), col("key").count_distinct()))


def inner_join(folder: Path) -> Any:
    return rows_of(facts(folder).join(names(folder), on="key").groupby("name").agg(col("id").sum()))


def outer_join(folder: Path) -> Any:
    left = facts(folder).groupby("key").agg(col("id").count().alias("n"))
    return rows_of(left.join(names(folder), on="key", how="outer"))


def anti_join(folder: Path) -> Any:
    return rows_of(names(folder).join(facts(folder), on="key", how="anti"))


def self_join(folder: Path) -> Any:
    big = facts(folder).select("id", "key")
    other = facts(folder).select((col("id") * 2).alias("id"), col("value").alias("other"))
    return rows_of(big.join(other, on="id", strategy="hash").groupby("key").agg(col("other").sum()))


def sort_merge_join(folder: Path) -> Any:
    joined = names(folder).join(facts(folder), on="key", strategy="sort_merge")
    return rows_of(joined.groupby("name").agg(col("id").count().alias("n"), col("id").sum()))


def sort(folder: Path) -> Any:
    return facts(folder).sort(["key", "id"], desc=[True, False]).select("key", "id").to_pydict()


def sort_with_nulls(folder: Path) -> Any:
    return [str(value) for value in facts(folder).sort("value").to_pydict()["value"]]


def sort_with_nulls_at_the_other_end(folder: Path) -> Any:
    df = facts(folder).select("id", "value")
    ends = [df.sort("value", desc=desc, nulls_first=not desc).to_pydict()["value"] for desc in (True, False)]
    several = df.sort(["value", "id"], desc=[False, True], nulls_first=[True, True]).to_pydict()["id"]
    return [str(ends), several]


def top_n(folder: Path) -> Any:
    return facts(folder).sort("id", desc=True).limit(7).select("id").to_pydict()


def limits(folder: Path) -> Any:
    df = facts(folder)
    return [
        df.limit(10).count_rows(),
        df.where(col("key") > 3).limit(1234).count_rows(),
        df.limit(ROWS * 2).count_rows(),
        df.limit(0).count_rows(),
        df.offset(100).limit(50).count_rows(),
        df.offset(ROWS - 5).limit(50).count_rows(),
        len({row["id"] for row in df.limit(777).iter_rows()}),
    ]


def window(folder: Path) -> Any:
    by_key = Window().partition_by("key").order_by("id")
    df = facts(folder).with_column("rank", daft.functions.rank().over(by_key))
    whole = Window().partition_by("key")
    df = df.with_column("total", col("id").sum().over(whole))
    return rows_of(df.where(col("rank") <= 2).select("id", "rank", "total"))


def distinct(folder: Path) -> Any:
    return rows_of(facts(folder).select("key", "text").distinct())


def collect_twice(folder: Path) -> Any:
    df = facts(folder).where(col("key") == 1).collect()
    df.collect()
    return [rows_of(df), df.where(col("id") > 100).count_rows(), df.sort("id").limit(2).to_pydict()["id"]]


def iter_rows(folder: Path) -> Any:
    return sorted(row["id"] for row in facts(folder).where(col("key") == 2).iter_rows())


def to_arrow(folder: Path) -> Any:
    df = facts(folder).sort("id")
    table = df.to_arrow()
    return [str(table.schema), table.num_rows]


def show(folder: Path) -> Any:
    output = io.StringIO()
    with redirect_stdout(output):
        facts(folder).where(col("id") == 7).show()
    return output.getvalue()


def show_after_into_partitions(folder: Path) -> Any:
    output = io.StringIO()
    scattered = facts(folder).where(col("id") == 7).into_partitions(3)
    with redirect_stdout(output):
        scattered.show()
        scattered.with_column("one", add_one(col("id"))).show()
    limited = facts(folder).into_partitions(9).limit(1234)
    ids = [row["id"] for row in limited.iter_rows()]
    batches = sum(batch.num_rows for batch in limited.to_arrow_iter())
    offset = facts(folder).into_partitions(9).offset(40)
    parts = [offset.limit(1234), offset.offset(2).limit(7), offset.limit(10**9), offset.offset(10**9).limit(7)]
    found = [[row["id"] for row in part.iter_rows()] for part in parts]
    return [output.getvalue(), len(ids), len(set(ids)), batches, [(len(part), len(set(part))) for part in found]]


def write_parquet(folder: Path) -> Any:
    target = folder / "written"
    written = facts(folder).where(col("key") < 3).write_parquet(str(target))
    return [written.count_rows() > 0, pq.read_table(target).num_rows, sorted(pq.read_table(target)["id"].to_pylist())]


def write_csv(folder: Path) -> Any:
    facts(folder).select("id").repartition(3).write_csv(str(folder / "csv"))
    return sorted(daft.read_csv(str(folder / "csv" / "*.csv")).to_pydict()["id"])


def into_partitions(folder: Path) -> Any:
    return rows_of(facts(folder).into_partitions(7).agg(col("id").sum(), col("id").count().alias("n")))


def repartition(folder: Path) -> Any:
    return rows_of(facts(folder).repartition(9, "key").select("id"))


def in_memory(folder: Path) -> Any:
    df = daft.from_pydict({"a": list(range(100)), "b": ["x" * (number % 3) for number in range(100)]})
    return [rows_of(df.into_partitions(5).groupby("b").agg(col("a").sum())), rows_of(df.join(df, on="a"))]


def udfs(folder: Path) -> Any:
    df = (
        facts(folder).where(col("id") < 50).with_column("one", add_one(col("id"))).with_column("two", double(col("id")))
    )
    return rows_of(df.select("id", "one", "two"))


def python_objects(folder: Path) -> Any:
    df = facts(folder).where(col("id") < 20).with_column("object", as_object(col("id"))).repartition(3, "id").collect()
    return sorted(entry["value"] for entry in df.to_pydict()["object"])


def explode_lists(folder: Path) -> Any:
    return rows_of(facts(folder).explode("list").groupby("list").agg(col("id").sum()))


def concatenate(folder: Path) -> Any:
    df = facts(folder).select("id")
    return rows_of(df.concat(df.where(col("id") < 10)).agg(col("id").sum(), col("id").count().alias("n")))


def empty_results(folder: Path) -> Any:
    nothing = facts(folder).where(col("id") < 0)
    return [
        nothing.select("id", "key").to_pydict(),
        nothing.groupby("key").agg(col("id").sum()).to_pydict(),
        nothing.select("id").sort("id").to_pydict(),
        nothing.join(names(folder), on="key").count_rows(),
        str(nothing.to_arrow().schema),
        list(nothing.iter_rows()),
    ]


def sql(folder: Path) -> Any:
    bindings = {"facts": facts(folder), "names": names(folder)}
    query = "SELECT name, COUNT(*) AS n FROM facts JOIN names ON facts.key = names.key GROUP BY name ORDER BY name"
    return daft.sql(query, **bindings).to_pydict()


def unique_ids(folder: Path) -> Any:
    return len(set(facts(folder)._add_monotonically_increasing_id("u").to_pydict()["u"]))


SCENARIOS: dict[str, Callable[[Path], Any]] = {
    scenario.__name__: scenario
    for scenario in (
        filter_rows,
        group_by,
        global_aggregate,
        inner_join,
        outer_join,
        anti_join,
        self_join,
        sort_merge_join,
        sort,
        sort_with_nulls,
        sort_with_nulls_at_the_other_end,
        top_n,
        limits,
        window,
        distinct,
        collect_twice,
        iter_rows,
        to_arrow,
        show,
        show_after_into_partitions,
        write_parquet,
        write_csv,
        into_partitions,
        repartition,
        in_memory,
        udfs,
        python_objects,
        explode_lists,
        concatenate,
        empty_results,
        sql,
        unique_ids,
    )
}


def run_all(folder: Path) -> dict[str, Any]:
    """Each scenario's answer, or its traceback as text after "raised"."""
    answers: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        own = folder / name
        own.mkdir()
        for source in ("facts", "names.parquet"):
            (own / source).symlink_to(folder / source)
        try:
            answers[name] = scenario(own)
        except Exception:
            answers[name] = "raised " + traceback.format_exc()
    return answers


def main() -> None:
    runner, folder = sys.argv[1], Path(sys.argv[2])
    write_inputs(folder)
    if runner == "native":
        daft.set_runner_native()
        print(json.dumps(run_all(folder)))
        return
    import daft_k8s

    with daft_k8s.set_runner_k8s(allocation="local", num_workers=2, worker_cpu=1, worker_memory="1Gi"):
        print(json.dumps(run_all(folder)))


if __name__ == "__main__":
    main()
