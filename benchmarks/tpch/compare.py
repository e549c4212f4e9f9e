"""The verdict on an answer: the same rows as the reference, in an order that the query's ORDER BY allows.

What the reference computes exactly (decimals, integers, text, dates) must be equal as a value; what it computes in
floating point (averages, ratios) may differ by `RELATIVE_TOLERANCE`. Nothing here knows an engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

import pyarrow as pa

RELATIVE_TOLERANCE = 1e-6

Value = object
Row = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Ordering:
    """What a query's ORDER BY and LIMIT fix."""

    keys: tuple[str, ...] = ()
    """Columns of ORDER BY; rows equal in all of them may come in any order. Empty: any order at all."""

    limit: int | None = None
    """LIMIT; the reference may hold more rows, so that ties at the cut can be told from wrong rows."""


def difference(answer: pa.Table, reference: pa.Table, ordering: Ordering) -> str | None:
    """What is wrong with `answer`, in one sentence, or None if it is right."""
    expected_names = [name.lower() for name in reference.column_names]
    if [name.lower() for name in answer.column_names] != expected_names:
        return f"columns are {answer.column_names}, expected {reference.column_names}"
    for expected, actual in zip(reference.schema, answer.schema, strict=True):
        if _is_exact_number(expected.type) and pa.types.is_floating(actual.type):
            return f"column {expected.name} is {actual.type}, but the sum is exact: expected {expected.type}"
    expected_count = reference.num_rows if ordering.limit is None else min(reference.num_rows, ordering.limit)
    if answer.num_rows != expected_count:
        return f"{answer.num_rows} rows, expected {expected_count}"

    key_positions = [expected_names.index(key) for key in ordering.keys]
    inexact = [pa.types.is_floating(field.type) for field in reference.schema]
    actual_runs = _runs(_rows(answer), key_positions)
    expected_runs = _runs(_rows(reference), key_positions)
    position = 0
    for actual_run, expected_run in zip(actual_runs, expected_runs, strict=False):
        cut = ordering.limit is not None and position + len(expected_run) > ordering.limit
        problem = _run_difference(actual_run, expected_run, inexact, may_be_part=cut)
        if problem is not None:
            return f"from row {position + 1} on: {problem}"
        position += len(actual_run)
    if position != expected_count:
        return f"only {position} of {expected_count} rows are in an allowed order"
    return None


def _is_exact_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) or pa.types.is_integer(kind))


def _rows(table: pa.Table) -> list[Row]:
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True))


def _runs(rows: list[Row], key_positions: Sequence[int]) -> list[list[Row]]:
    """Neighbouring rows that are equal in the keys."""

    def key_of(row: Row) -> Row:
        return tuple(_plain(row[position]) for position in key_positions)

    return [list(run) for _, run in groupby(rows, key=key_of)]


def _run_difference(
    actual: list[Row], expected: list[Row], inexact: Sequence[bool], *, may_be_part: bool
) -> str | None:
    def exact_part(row: Row) -> tuple[tuple[bool, str], ...]:
        return tuple(_sortable(value) for value, loose in zip(row, inexact, strict=True) if not loose)

    def sort_key(row: Row) -> tuple[object, ...]:
        floats = [_float(value) for value, loose in zip(row, inexact, strict=True) if loose]
        return (exact_part(row), [(value is None or math.isnan(value), value or 0.0) for value in floats])

    if may_be_part and len(actual) < len(expected):
        wanted = {exact_part(row) for row in actual}
        expected = [row for row in expected if exact_part(row) in wanted]
    if len(actual) != len(expected):
        return f"{len(actual)} rows where {len(expected)} are expected, such as {_show(expected or actual)}"
    for actual_row, expected_row in zip(sorted(actual, key=sort_key), sorted(expected, key=sort_key), strict=True):
        for value, wanted_value, loose in zip(actual_row, expected_row, inexact, strict=True):
            if not _same(value, wanted_value, inexact=loose):
                return f"{_show([actual_row])}, expected {_show([expected_row])}"
    return None


def _show(rows: list[Row]) -> str:
    return "(" + ", ".join(str(value) for value in rows[0]) + ")" if rows else "none"


def _plain(value: Value) -> Value:
    """One form for equal values: 2, 2.00 and Decimal("2.0") are the same number, True is not 1."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    return Decimal(value).normalize()


def _sortable(value: Value) -> tuple[bool, str]:
    return (value is None, repr(_plain(value)))


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float | Decimal) else None


def _same(value: Value, expected: Value, *, inexact: bool) -> bool:
    if value is None or expected is None:
        return value is None and expected is None
    if not inexact:
        return _plain(value) == _plain(expected)
    actual_float, expected_float = _float(value), _float(expected)
    if actual_float is None or expected_float is None:
        return False
    if math.isnan(actual_float) or math.isnan(expected_float):
        return math.isnan(actual_float) and math.isnan(expected_float)
    return math.isclose(actual_float, expected_float, rel_tol=RELATIVE_TOLERANCE, abs_tol=0.0)
