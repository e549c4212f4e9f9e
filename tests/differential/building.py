"""From a pipeline's plain values to a DataFrame of Daft, and its answer. Runs in the engines' processes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
from daft import DataFrame, DataType, Expression, Window, col, lit
from daft.functions import coalesce, dense_rank, monotonically_increasing_id, rank, when

from tests.differential.pipelines import Answer, Pipeline, Step
from tests.differential.tables import Table

ARROW_TYPES: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "small": pa.int8(),
    "float": pa.float64(),
    "text": pa.string(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "moment": pa.timestamp("us"),
    "price": pa.decimal128(10, 2),
    "bytes": pa.binary(),
    "list": pa.list_(pa.int64()),
    "struct": pa.struct([("a", pa.int64()), ("b", pa.string())]),
}


@daft.func
def plus_one(value: int) -> int:
    return value + 1


@daft.func.batch(return_dtype=DataType.string())
def describe(values: daft.Series) -> Any:
    return [None if value is None else type(value).__name__ for value in values.to_pylist()]


def source(table: Table, folder: Path) -> DataFrame:
    """Reads a table from its files, or makes it in memory."""
    start, frames = 0, []
    name = uuid.uuid4().hex
    for number, rows in enumerate(table.pieces):
        plain = {c.name: c.values[start : start + rows] for c in table.columns if c.kind != "object"}
        kinds = {c.name: c.kind for c in table.columns}
        arrow = pa.table({key: pa.array(_plain(values), ARROW_TYPES[kinds[key]]) for key, values in plain.items()})
        if table.in_files:
            pq.write_table(arrow, folder / f"{name}-{number}.parquet")
        else:
            objects = {c.name: list(c.values[start : start + rows]) for c in table.columns if c.kind == "object"}
            frames.append(_in_memory(arrow, objects))
        start += rows
    if table.in_files:
        return daft.read_parquet([str(folder / f"{name}-{number}.parquet") for number in range(len(table.pieces))])
    if all(isinstance(frame, pa.Table) for frame in frames):
        return daft.from_arrow(frames)
    frame = frames[0]
    for other in frames[1:]:
        frame = frame.concat(other)
    return frame


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [list(value) if isinstance(value, tuple) else value for value in values]


def _in_memory(arrow: pa.Table, objects: dict[str, list[Any]]) -> Any:
    if not objects:
        return arrow
    columns: dict[str, Any] = {
        name: daft.Series.from_arrow(arrow[name].combine_chunks(), name) for name in arrow.column_names
    }
    columns |= {name: daft.Series.from_pylist(v, name, dtype=DataType.python()) for name, v in objects.items()}
    return daft.from_pydict(columns)


EXPRESSIONS: dict[str, Callable[..., Expression]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "negate": lambda a: -a,
    "to_float": lambda a: a.cast(DataType.float64()),
    "length": lambda a: a.length().cast(DataType.int64()),
    "year": lambda a: a.year().cast(DataType.int64()),
    "month": lambda a: a.month().cast(DataType.int64()),
    "hour": lambda a: a.hour().cast(DataType.int64()),
    "date": lambda a: a.date(),
    "list_sum": lambda a: a.list_sum(),
    "list_length": lambda a: a.length().cast(DataType.int64()),
    "struct_a": lambda a: a.get("a"),
    "struct_b": lambda a: a.get("b"),
    "plus_one_udf": lambda a: plus_one(a.fill_null(0)),
    "describe_udf": describe,
    "upper": lambda a: a.upper(),
    "concat": lambda a, b: a + b,
    "int_to_text": lambda a: a.cast(DataType.string()),
    "less": lambda a, b: a < b,
    "equal": lambda a, b: a == b,
    "same": lambda a, b: a.eq_null_safe(b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: ~a,
    "is_null": lambda a: a.is_null(),
    "not_null": lambda a: a.not_null(),
    "is_nan": lambda a: a.is_nan(),
    "contains": lambda a, b: a.contains(b),
    "if_else": lambda condition, a, b: when(condition, a).otherwise(b),
    "coalesce": lambda a, b: coalesce(a, b),
}


def expression(plain: tuple[Any, ...]) -> Expression:
    name, *arguments = plain
    if name == "column":
        return col(arguments[0])
    if name == "literal":
        value, kind = arguments
        return lit(value).cast(DataType.from_arrow_type(ARROW_TYPES[kind]))
    return EXPRESSIONS[name](*map(expression, arguments))


AGGREGATES: dict[str, Callable[[Expression], Expression]] = {
    "sum": lambda a: a.sum(),
    "mean": lambda a: a.mean(),
    "min": lambda a: a.min(),
    "max": lambda a: a.max(),
    "count": lambda a: a.count(),
    "count_all": lambda a: a.count("all"),
    "count_distinct": lambda a: a.count_distinct(),
    "approx_count_distinct": lambda a: a.approx_count_distinct(),
    "stddev": lambda a: a.stddev(),
    "list": lambda a: a.list_agg(),
    "bool_and": lambda a: a.bool_and(),
    "bool_or": lambda a: a.bool_or(),
}


def _aggregates(plain: tuple[tuple[str, str, str], ...]) -> list[Expression]:
    return [AGGREGATES[name](col(column)).alias(new) for name, column, new in plain]


def _sort(df: DataFrame, keys: Any) -> DataFrame:
    return df.sort([key[0] for key in keys], desc=[key[1] for key in keys], nulls_first=[key[2] for key in keys])


def _window(
    df: DataFrame, name: str, function: str, keys: Any, order: str, descending: bool, nulls_first: bool, argument: str
) -> DataFrame:
    whole = Window().partition_by(*keys)
    ordered = whole.order_by(order, desc=descending, nulls_first=nulls_first)
    running = ordered.range_between(Window.unbounded_preceding, Window.current_row)
    made = {
        "rank": lambda: rank().over(ordered),
        "dense_rank": lambda: dense_rank().over(ordered),
        "sum": lambda: col(argument).sum().over(whole),
        "count": lambda: col(argument).count().over(whole),
        "min": lambda: col(argument).min().over(whole),
        "running_count": lambda: col(order).count().over(running),
        "running_max": lambda: col(order).max().over(running),
        "lag_key": lambda: col(order).lag(1).over(ordered),
    }[function]()
    made = made.cast(DataType.int64()) if function not in ("running_max", "lag_key") else made
    return df.with_column(name, made)


def _set_operation(df: DataFrame, operation: str, names: Any, condition: Any) -> DataFrame:
    # The condition looks at columns that are chosen only.
    left = df.select(*names)
    return getattr(left, operation)(left.where(expression(condition)))


def apply(df: DataFrame, step: Step, others: Callable[[int], DataFrame]) -> DataFrame:
    """Adds one step."""
    name, *arguments = step
    if name == "window":
        return _window(df, *arguments)
    if name == "set":
        return _set_operation(df, *arguments)
    return STEPS[name](df, others, *arguments)


def _joined(df: DataFrame, others: Any, number: int, pairs: Any, how: str, strategy: str | None) -> DataFrame:
    left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return df.join(others(number), left_on=left, right_on=right, how=how, strategy=strategy)


STEPS: dict[str, Callable[..., DataFrame]] = {
    "where": lambda df, _, condition: df.where(expression(condition)),
    "with_column": lambda df, _, name, value: df.with_column(name, expression(value)),
    "select": lambda df, _, names: df.select(*names),
    "group": lambda df, _, keys, aggregates: df.groupby(*keys).agg(*_aggregates(aggregates)),
    "aggregate": lambda df, _, aggregates: df.agg(*_aggregates(aggregates)),
    "distinct": lambda df, _, names: df.select(*names).distinct(),
    "join": _joined,
    "cross_join": lambda df, others, number: df.join(others(number), how="cross"),
    "explode": lambda df, _, name: df.explode(name),
    "unpivot": lambda df, _, ids, values, variable, value: df.unpivot(list(ids), list(values), variable, value),
    "pivot": lambda df, _, key, pivot, value: df.pivot(key, pivot, value, "sum", ["1", "2"]),
    "number_and_count": lambda df, _: df.with_column("u", monotonically_increasing_id()).agg(
        col("u").count().alias("rows"), col("u").count_distinct().alias("ids")
    ),
    "repartition": lambda df, _, number, by: df.repartition(number, *by),
    "into_partitions": lambda df, _, number: df.into_partitions(number),
    "into_batches": lambda df, _, rows: df.into_batches(rows),
    "collect": lambda df, _: df.collect(),
    "sort": lambda df, _, keys: _sort(df, keys),
    "head": lambda df, _, keys, offset, limit: (
        _sort(df.select(*(key[0] for key in keys)), keys).offset(offset).limit(limit)
    ),
    "fill_null": lambda df, _, name, value, kind: df.with_column(
        name, col(name).fill_null(expression(("literal", value, kind)))
    ),
    "drop_null": lambda df, _, names: df.drop_null(*names),
    "drop_nan": lambda df, _, names: df.drop_nan(*names),
}


def answer(pipeline: Pipeline, folder: Path, *, whole: bool) -> Answer:
    """Runs a pipeline.

    Args:
        pipeline: What to do.
        folder: For its files.
        whole: All rows, unsorted, whatever the ending says.
    """
    df = source(pipeline.tables[0], folder)
    for step in pipeline.steps:
        df = apply(df, step, lambda number: source(pipeline.tables[number], folder))
    ending = pipeline.ending
    if whole:
        # Daft gives Python objects as pickled bytes in Arrow batches, so the whole comes in the way of the part.
        return Answer(_columns(df), ASKED["batches" if ending.asked == "batches" else "arrow"](df, folder))
    if ending.order:
        df = _sort(df, ending.order)
    if ending.sample is not None:
        df = df.sample(fraction=ending.sample)
    if ending.cut is not None:
        offset, limit = ending.cut
        df = (df.offset(offset) if offset else df).limit(limit)
    return Answer(_columns(df), ASKED[ending.asked](df, folder))


def _columns(df: DataFrame) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, str(field.dtype)) for field in df.schema())


def _collected(df: DataFrame, _: Path) -> list[dict[str, Any]]:
    df = df.collect()
    assert len(df) == df.count_rows()
    return df.to_pylist()


def _written(df: DataFrame, folder: Path) -> list[dict[str, Any]]:
    target = folder / uuid.uuid4().hex
    paths = df.write_parquet(str(target)).to_pydict()["path"]
    assert sorted(map(str, target.iterdir())) == sorted(paths), "the folder does not hold what was listed"
    schema = df.schema().to_pyarrow_schema()
    return [row for path in paths for row in pq.read_table(path, schema=schema).to_pylist()]


ASKED: dict[str, Callable[[DataFrame, Path], Any]] = {
    "arrow": lambda df, _: df.to_pylist(),
    "rows": lambda df, _: list(df.iter_rows()),
    "batches": lambda df, _: [row for batch in df.to_arrow_iter() for row in batch.to_pylist()],
    "count": lambda df, _: df.count_rows(),
    "collect": _collected,
    "written": _written,
}
