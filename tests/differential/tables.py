"""Input tables as plain values, and how hypothesis draws them."""

from __future__ import annotations

import datetime
import decimal
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table in pieces: one file, or one partition in memory, each."""

    columns: tuple[Column, ...]
    pieces: tuple[int, ...]  # rows of each; 0 is an empty partition
    in_files: bool

    @property
    def schema(self) -> dict[str, str]:
        return {column.name: column.kind for column in self.columns}


SORTABLE = ("int", "small", "float", "text", "flag", "day", "moment", "price", "bytes")
"""Kinds of values that can be compared, and so be keys."""

_EPOCH_DAY = datetime.date(2024, 2, 27)
_MOMENT = datetime.datetime(2024, 2, 28, 23, 59, 59, 999_999)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-3, 12) | st.sampled_from([2**40, -(2**40), 2**53 + 1]),
    "small": st.integers(-128, 127),
    # Multiples of a quarter: sums are exact in any order.
    "float": st.integers(-20, 20).map(lambda number: number / 4)
    | st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 1e15]),
    "text": st.sampled_from(["", "a", "b", "aa", "A", "äöü", "日本", " x ", "a,b", "100", "%", "\x00"]),
    "flag": st.booleans(),
    "day": st.integers(-3, 400).map(lambda days: _EPOCH_DAY + datetime.timedelta(days)),
    "moment": st.integers(-5, 5).map(lambda hours: _MOMENT + datetime.timedelta(hours=7 * hours, microseconds=1)),
    "price": st.integers(-500, 500).map(lambda cents: decimal.Decimal(cents).scaleb(-2)),
    "bytes": st.sampled_from([b"", b"\x00", b"a", b"\xff\xfe", b"ab"]),
    "list": st.lists(st.none() | st.integers(-2, 5), max_size=3),
    "struct": st.fixed_dictionaries({"a": st.none() | st.integers(0, 3), "b": st.none() | st.sampled_from(["", "x"])}),
    "object": st.sampled_from([("tuple", 1), ("tuple", 2), frozenset((1,)), 1 + 2j]),
}


@st.composite
def tables(draw: st.DrawFn, prefix: str = "", *, with_objects: bool = True) -> Table:
    """A table with the row's number, a skewed key, and up to four columns of any kind."""
    pieces = tuple(draw(st.lists(st.integers(0, 12), min_size=1, max_size=4)))
    rows = sum(pieces)
    in_files = draw(st.booleans())
    kinds = [kind for kind in VALUES if kind != "object" or (with_objects and not in_files)]
    chosen = draw(st.lists(st.sampled_from(kinds), max_size=4, unique=True))
    skewed = st.sampled_from([1, 1, 1, 1, 1, 1, 2, 3, None])
    columns = [
        Column(f"{prefix}id", "int", tuple(range(rows))),
        Column(f"{prefix}key", "int", tuple(draw(st.lists(skewed, min_size=rows, max_size=rows)))),
    ]
    for kind in chosen:
        nulls = draw(st.sampled_from(["none", "some", "all"]))
        one = VALUES[kind] if nulls == "none" else st.none() if nulls == "all" else st.none() | VALUES[kind]
        values = draw(st.lists(one, min_size=rows, max_size=rows))
        columns.append(Column(f"{prefix}{kind}", kind, tuple(map(_frozen, values))))
    return Table(tuple(columns), pieces, in_files)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
