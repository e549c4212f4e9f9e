"""Writes the table of docs/compatibility.md from the kept summary of a run.

python -m tests.conformance.compatibility
"""

from __future__ import annotations

import re
from pathlib import Path

from .summary import Summary, add, read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
BEGIN = "<!-- Made by `python -m tests.conformance.compatibility` from tests/conformance/summary.tsv; do not edit. -->"
END = "<!-- end -->"

_AGGREGATIONS = (
    ".*agg.*|.*count.*|.*distinct|pivot|unpivot|set_ops|map_groups|std.*|.*variance|.*skew|.*product|.*percentile.*"
    "|summarize|describe"
)
FEATURES: tuple[tuple[str, str], ...] = (
    ("UDFs: functions, classes, batches, generators, aggregates, actors", r"udf\..*|expressions\.test_legacy_udf"),
    ("Window functions", r"window\..*|dataframe\.test_window.*"),
    ("Joins: inner, outer, semi, anti, cross; hash, sort-merge, broadcast", r"(dataframe|cookbook)\.test_joins"),
    ("As-of joins", r"dataframe\.test_asof_join.*"),
    ("Sort, top n, `limit`, `offset`", r"(dataframe|cookbook)\.test_(sort.*|limit_offset|distributed_limit)"),
    (
        "Repartitioning, `into_partitions`, `into_batches`, shuffles",
        r"dataframe\.test_(shuffles|into_.*|clustering.*|sharding|morsels|repartition.*)",
    ),
    (
        "`skip_existing`, key-filtering join, `checkpoint=`",
        r"dataframe\.test_(skip_existing|key_filtering.*|checkpoint.*)|checkpoint\..*",
    ),
    (
        "Aggregations, `groupby`, `pivot`, `distinct`, set operations",
        rf"(dataframe|cookbook)\.test_({_AGGREGATIONS})",
    ),
    ("`sample`, `random`, monotonic ids, `uuid`", r"dataframe\.test_(sample|random|monotonically.*|uuid)"),
    ("Iteration, `show`, conversions", r"dataframe\.test_(iter|show|preview|repr|to_.*)"),
    ("SQL", r"sql\..*"),
    ("Iceberg", r"io\.iceberg\..*"),
    ("Delta Lake", r"io\.delta_lake\..*|dataframe\.test_deltalake.*"),
    ("Reading and writing: Parquet, CSV, JSON and others", r"io\..*|cookbook\.test_(write|dataloading)"),
    ("Everything else of DataFrames", r".*"),
)
"""What a row says, and the modules below tests/ that it counts; a module counts where it first fits."""


def table(summary: Summary) -> str:
    """The table, with what it was made from."""
    lines = [f"{name}: {text}  " for name, text in summary.notes.items()]
    lines += ["", "| feature | pass on Ray | of these fail here | pass here | skipped here |", "|---|--:|--:|--:|--:|"]
    left = dict(summary.modules)
    for feature, pattern in FEATURES:
        names = [name for name in left if re.fullmatch(pattern, name.removeprefix("tests."))]
        total = add(left.pop(name) for name in names)
        lines.append(f"| {feature} | {total.passed_there} | {total.differ} | {total.passed} | {total.skipped} |")
    total = add(summary.modules.values())
    lines.append(f"| **all** | {total.passed_there} | {total.differ} | {total.passed} | {total.skipped} |")
    return "\n".join(lines)


def page(text: str, summary: Summary) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(summary)}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), read()))
