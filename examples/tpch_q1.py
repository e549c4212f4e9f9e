"""TPC-H's first query, over a lineitem table of your own or one that Daft makes up.

DAFT_RUNNER=k8s python examples/tpch_q1.py --rows 1000000
DAFT_RUNNER=k8s python examples/tpch_q1.py --lineitem 's3://bucket/tpch/lineitem/*.parquet'
"""

from __future__ import annotations

import argparse
import datetime
import time

import daft
from daft import DataFrame, col, lit
from daft.functions import when

DAYS_UNTIL_1992 = (datetime.date(1992, 1, 2) - datetime.date(1970, 1, 1)).days


def made_up(rows: int) -> DataFrame:
    """A table with the columns that the query reads; the same for the same number of rows."""
    number = col("id")
    return daft.range(rows, partitions=8).select(
        (number % 50 + 1).cast(daft.DataType.float64()).alias("l_quantity"),
        (number % 9973 * 10.0 + 900).alias("l_extendedprice"),
        ((number % 11) / 100).alias("l_discount"),
        ((number % 9) / 100).alias("l_tax"),
        when(number % 3 == 0, lit("A")).when(number % 3 == 1, lit("N")).otherwise(lit("R")).alias("l_returnflag"),
        when(number % 2 == 0, lit("F")).otherwise(lit("O")).alias("l_linestatus"),
        (number % 2526 + DAYS_UNTIL_1992).cast(daft.DataType.int32()).cast(daft.DataType.date()).alias("l_shipdate"),
    )


def q1(lineitem: DataFrame) -> DataFrame:
    """The pricing summary report."""
    discounted = col("l_extendedprice") * (1 - col("l_discount"))
    return (
        lineitem.where(col("l_shipdate") <= datetime.date(1998, 9, 2))
        .with_column("discounted", discounted)
        .with_column("charge", col("discounted") * (1 + col("l_tax")))
        .groupby("l_returnflag", "l_linestatus")
        .agg(
            col("l_quantity").sum().alias("sum_qty"),
            col("l_extendedprice").sum().alias("sum_base_price"),
            col("discounted").sum().alias("sum_disc_price"),
            col("charge").sum().alias("sum_charge"),
            col("l_quantity").mean().alias("avg_qty"),
            col("l_extendedprice").mean().alias("avg_price"),
            col("l_discount").mean().alias("avg_disc"),
            col("l_quantity").count().alias("count_order"),
        )
        .sort(["l_returnflag", "l_linestatus"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="TPC-H's first query.")
    parser.add_argument("--lineitem", help="parquet files of the table; without it, rows are made up")
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many rows are made up")
    arguments = parser.parse_args()
    lineitem = daft.read_parquet(arguments.lineitem) if arguments.lineitem else made_up(arguments.rows)
    begin = time.monotonic()
    q1(lineitem).show(10)
    print(f"{time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
