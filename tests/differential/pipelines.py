"""Pipelines as plain values: steps on a table, and how their answer is asked for.

A step is a tuple of its name and its arguments, an expression a tuple of the same form; `building.py` knows what each
means. The kinds of all columns are known after each step, so nearly everything that is drawn makes sense to Daft.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.differential.tables import SORTABLE, VALUES, Table, tables

Schema = dict[str, str]
Expression = tuple[Any, ...]
Step = tuple[Any, ...]

BAG = "bag"
"""The kind of a list whose order nobody promises."""

ALGORITHMS = (None, None, None, None, "pre_shuffle_merge", "flight_shuffle")


@dataclass(frozen=True)
class Ending:
    """How the answer is asked for.

    Attributes:
        order: Sort keys as (column, descending, nulls first); the rows must come in this order, ties in any.
        cut: (offset, limit): that many rows after the offset, in that order if there is one.
        sample: The share of rows to take, if not all.
        asked: The way in which rows are fetched.
    """

    order: tuple[tuple[str, bool, bool], ...] = ()
    cut: tuple[int, int] | None = None
    sample: float | None = None
    asked: str = "arrow"


@dataclass(frozen=True)
class Pipeline:
    tables: tuple[Table, ...]
    steps: tuple[Step, ...]
    ending: Ending
    schema: Mapping[str, str] = field(hash=False)
    algorithm: str | None = None  # of the shuffle, here

    def __repr__(self) -> str:
        steps = "".join(f"\n      {step!r}," for step in self.steps)
        inputs = "".join(f"\n      {table!r}," for table in self.tables)
        return (
            f"Pipeline(\n    tables=({inputs}\n    ),\n    steps=({steps}\n    ),\n    ending={self.ending!r},\n"
            f"    schema={dict(self.schema)!r},\n    algorithm={self.algorithm!r},\n)"
        )


@dataclass(frozen=True)
class Answer:
    """What a pipeline gave: the names and types of its columns, and its rows."""

    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]] | int


class _Drawing:
    """A pipeline while it grows."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        first = draw(tables())
        self.tables = [first]
        self.schema: Schema = first.schema
        self.steps: list[Step] = []
        self._names = 0

    def new_name(self) -> str:
        self._names += 1
        return f"c{self._names}"

    def new_table(self) -> tuple[int, Table]:
        table = self.draw(tables(f"t{len(self.tables)}_", with_objects=False))
        self.tables.append(table)
        return len(self.tables) - 1, table

    def columns(self, *kinds: str) -> list[str]:
        return [name for name, kind in self.schema.items() if not kinds or kind in kinds]

    def some_of(self, names: list[str], at_most: int = 3) -> tuple[str, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(names), min_size=1, max_size=at_most, unique=True)))

    def expression(self, kind: str, depth: int = 2) -> Expression:
        """An expression of the kind, of which there are columns or literals."""
        choices: list[Callable[[], Expression]] = [
            functools.partial(tuple, ("column", name)) for name in self.columns(kind)
        ]
        if not choices or depth < 2:
            choices.append(lambda: ("literal", self.draw(VALUES[kind]), kind))
        if depth > 0:
            choices += _operations(self, kind, depth - 1)
        return self.draw(st.sampled_from(choices))()


def _operations(pipeline: _Drawing, kind: str, depth: int) -> list[Callable[[], Expression]]:
    def of(name: str, *kinds: str) -> Callable[[], Expression]:
        return lambda: (name, *(pipeline.expression(each, depth) for each in kinds))

    def of_column(name: str, *kinds: str) -> list[Callable[[], Expression]]:
        names = pipeline.columns(*kinds)
        return [lambda: (name, ("column", pipeline.draw(st.sampled_from(names))))] if names else []

    everywhere = [of("if_else", "flag", kind, kind), of("coalesce", kind, kind)]
    by_kind: dict[str, Callable[[], list[Callable[[], Expression]]]] = {
        "int": lambda: [
            *(of("add", "int", "int"), of("subtract", "int", "int"), of("length", "text")),
            *(of_column("year", "day", "moment") + of_column("month", "day") + of_column("hour", "moment")),
            *(of_column("list_sum", "list", BAG) + of_column("list_length", "list", BAG)),
            *(of_column("struct_a", "struct") + of_column("plus_one_udf", "int", "small")),
        ],
        "float": lambda: [of("add", "float", "float"), of("negate", "float"), of("to_float", "int")],
        "text": lambda: [
            *(of("upper", "text"), of("concat", "text", "text"), of("int_to_text", "int")),
            *(of_column("struct_b", "struct") + of_column("describe_udf", *SORTABLE, "list", "struct")),
        ],
        "flag": lambda: [
            *(of("less", number, number) for number in ("int", "float", "text", "price", "day")),
            *(of("equal", each, each) for each in ("int", "text", "small", "bytes", "moment")),
            *(of("and", "flag", "flag"), of("or", "flag", "flag"), of("not", "flag")),
            *(of_column("is_null") + of_column("not_null") + of_column("is_nan", "float")),
            *(of("contains", "text", "text"), of("same", "int", "int")),
        ],
        "price": lambda: [],
        "day": lambda: [*of_column("date", "moment")],
    }
    return everywhere + by_kind.get(kind, list)()


def _where(p: _Drawing) -> Step:
    return ("where", p.expression("flag"))


def _with_column(p: _Drawing) -> Step:
    kind = p.draw(st.sampled_from(["int", "float", "text", "flag", "day", "price"]))
    expression, name = p.expression(kind), p.new_name()
    p.schema[name] = kind
    return ("with_column", name, expression)


def _select(p: _Drawing) -> Step:
    names = p.some_of(list(p.schema), 6)
    p.schema = {name: p.schema[name] for name in names}
    return ("select", names)


_AGGREGATES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "sum": (("int", "float", "price"), None),  # None: the kind of the column, or one that is used no more
    "mean": (("int", "float", "price", "small"), "number"),
    "min": (SORTABLE, None),
    "max": (SORTABLE, None),
    "count": ((*SORTABLE, "list", "struct"), "int"),
    "count_all": (("int",), "int"),
    "count_distinct": (("int", "text", "day", "moment", "bytes", "small", "flag"), "int"),
    "approx_count_distinct": (("int", "text"), "int"),
    "stddev": (("int",), "number"),
    "list": (("int", "text", "day", "price"), BAG),
    "bool_and": (("flag",), "flag"),
    "bool_or": (("flag",), "flag"),
}


def _aggregates(p: _Drawing) -> tuple[tuple[str, str, str], ...]:
    possible = [
        (name, column) for name, (kinds, _) in _AGGREGATES.items() for column in p.columns(*kinds) if column in p.schema
    ]
    if not possible:
        return ()
    chosen = p.draw(st.lists(st.sampled_from(possible), min_size=1, max_size=3))
    return tuple((name, column, p.new_name()) for name, column in chosen)


def _after_aggregates(p: _Drawing, keys: tuple[str, ...], aggregates: tuple[tuple[str, str, str], ...]) -> None:
    schema = {key: p.schema[key] for key in keys}
    for name, column, new in aggregates:
        kind = _AGGREGATES[name][1] or p.schema[column]
        if name == "sum":
            kind = {"int": "int", "float": "float"}.get(kind, "number")  # a sum of prices is a wider decimal
        schema[new] = kind
    p.schema = schema


def _group(p: _Drawing) -> Step | None:
    keys = p.columns(*SORTABLE)
    aggregates = _aggregates(p)
    if not keys or not aggregates:
        return None
    chosen = p.some_of(keys, 2)
    _after_aggregates(p, chosen, aggregates)
    return ("group", chosen, aggregates)


def _aggregate(p: _Drawing) -> Step | None:
    aggregates = _aggregates(p)
    if not aggregates:
        return None
    _after_aggregates(p, (), aggregates)
    return ("aggregate", aggregates)


def _distinct(p: _Drawing) -> Step | None:
    names = p.columns(*SORTABLE)
    if not names:
        return None
    p.schema = {name: p.schema[name] for name in names}
    return ("distinct", tuple(names))


def _join(p: _Drawing) -> Step | None:
    number, table = p.new_table()
    pairs = [
        (left, right)
        for left, kind in p.schema.items()
        for right, other in table.schema.items()
        if kind == other and kind in SORTABLE
    ]
    how = p.draw(st.sampled_from(["inner", "inner", "left", "right", "outer", "semi", "anti"]))
    if not pairs:
        return None
    chosen = p.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2, unique=True))
    if len({left for left, _ in chosen}) < len(chosen) or len({right for _, right in chosen}) < len(chosen):
        chosen = chosen[:1]
    strategies = [None, "hash", "hash"] + (["sort_merge"] if how == "inner" else [])
    if how in ("inner", "left", "semi", "anti"):
        strategies.append("broadcast")
    strategy = p.draw(st.sampled_from(strategies))
    if how not in ("semi", "anti"):
        p.schema |= table.schema
    return ("join", number, tuple(chosen), how, strategy)


def _cross_join(p: _Drawing) -> Step | None:
    number, table = p.new_table()
    p.schema |= table.schema
    return ("cross_join", number)


def _set_operation(p: _Drawing) -> Step | None:
    names = p.columns("int", "small", "text", "day", "flag", "moment", "bytes")
    if not names:
        return None
    chosen = p.some_of(names)
    p.schema = {name: p.schema[name] for name in chosen}
    operation = p.draw(
        st.sampled_from(
            ["union", "union_all", "intersect", "intersect_all", "except_distinct", "except_all", "concat", "concat"]
        )
    )
    return ("set", operation, chosen, p.expression("flag"))


def _explode(p: _Drawing) -> Step | None:
    names = p.columns("list")
    if not names:
        return None
    name = p.draw(st.sampled_from(names))
    p.schema[name] = "int"
    return ("explode", name)


def _unpivot(p: _Drawing) -> Step | None:
    values = p.columns("int")
    if not values:
        return None
    chosen = p.some_of(values)
    ids = tuple(name for name in p.columns(*SORTABLE) if name not in chosen)[:2]
    variable, value = p.new_name(), p.new_name()
    p.schema = {name: p.schema[name] for name in ids} | {variable: "text", value: "int"}
    return ("unpivot", ids, chosen, variable, value)


def _pivot(p: _Drawing) -> Step | None:
    keys, values = p.columns("flag", "day", "text"), p.columns("int", "price")
    names = p.columns("int")
    if not keys or not values or not names:
        return None
    key, pivot, value = (p.draw(st.sampled_from(each)) for each in (keys, names, values))
    if len({key, pivot, value}) < 3:
        return None
    p.schema = {key: p.schema[key], "1": "number", "2": "number"}
    return ("pivot", key, pivot, value)


def _window(p: _Drawing) -> Step | None:
    keys, orders = p.columns(*SORTABLE), p.columns("int", "text", "day", "float")
    if not keys or not orders:
        return None
    order = p.draw(st.sampled_from(orders))
    function = p.draw(
        st.sampled_from(["rank", "dense_rank", "sum", "count", "min", "running_count", "running_max", "lag_key"])
    )
    name = p.new_name()
    p.schema[name] = p.schema[order] if function in ("running_max", "lag_key") else "int"
    argument = p.draw(st.sampled_from(p.columns("int") or [order]))
    if p.schema[argument] != "int" and function in ("sum", "min"):
        function = "count"
    if function == "min":
        p.schema[name] = "int"
    descending, nulls_first = p.draw(st.booleans()), p.draw(st.booleans())
    return ("window", name, function, p.some_of(keys, 2), order, descending, nulls_first, argument)


def _numbered(p: _Drawing) -> Step | None:
    p.schema = {"rows": "int", "ids": "int"}
    return ("number_and_count",)


def _repartition(p: _Drawing) -> Step | None:
    keys = p.columns(*SORTABLE)
    by = p.some_of(keys, 2) if keys and p.draw(st.booleans()) else ()
    return ("repartition", p.draw(st.integers(1, 6)), by)


def _sort(p: _Drawing) -> Step | None:
    keys = p.columns(*SORTABLE)
    if not keys:
        return None
    return ("sort", _sort_keys(p, keys))


def _head(p: _Drawing) -> Step | None:
    """The first rows in an order in which equal rows alone tie."""
    names = p.columns(*SORTABLE)
    if not names:
        return None
    p.schema = {name: p.schema[name] for name in names}
    keys = tuple((name, p.draw(st.booleans()), p.draw(st.booleans())) for name in names)
    return ("head", keys, p.draw(st.sampled_from([0, 0, 1, 5])), p.draw(st.integers(0, 20)))


def _fill(p: _Drawing) -> Step | None:
    names = p.columns("int", "float", "text", "flag")
    if not names:
        return None
    name = p.draw(st.sampled_from(names))
    kind = p.schema[name]
    return ("fill_null", name, p.draw(VALUES[kind]), kind)


def _drop(p: _Drawing) -> Step | None:
    floats = p.columns("float")
    if floats and p.draw(st.booleans()):
        return ("drop_nan", (p.draw(st.sampled_from(floats)),))
    names = p.columns(*SORTABLE)
    return ("drop_null", p.some_of(names)) if names else None


def _sort_keys(p: _Drawing, names: list[str]) -> tuple[tuple[str, bool, bool], ...]:
    return tuple((name, p.draw(st.booleans()), p.draw(st.booleans())) for name in p.some_of(names, 2))


_STEPS: tuple[Callable[[_Drawing], Step | None], ...] = (
    _where,
    _with_column,
    _select,
    _group,
    _group,
    _aggregate,
    _distinct,
    _join,
    _join,
    _cross_join,
    _set_operation,
    _explode,
    _unpivot,
    _pivot,
    _window,
    _numbered,
    _repartition,
    lambda p: ("into_partitions", p.draw(st.integers(1, 6))),
    lambda p: ("into_batches", p.draw(st.integers(1, 10))),
    lambda p: ("collect",),
    _sort,
    _head,
    _fill,
    _drop,
)


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    p = _Drawing(draw)
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(_STEPS))(p)
        if step is not None:
            p.steps.append(step)
    keys = p.columns(*SORTABLE)
    asked = ["arrow", "rows", "collect", "count", "batches"]
    if not p.columns("object", "number"):
        asked.append("written")
    way = draw(st.sampled_from(["as it is", "as it is", "sort", "sort", "cut", "sort and cut", "sample"]))
    ending = Ending(
        order=_sort_keys(p, keys) if "sort" in way and keys else (),
        cut=(draw(st.sampled_from([0, 0, 1, 7])), draw(st.integers(0, 25))) if "cut" in way else None,
        sample=draw(st.sampled_from([0.0, 0.3, 1.0])) if way == "sample" else None,
        asked=draw(st.sampled_from(asked)),
    )
    return Pipeline(tuple(p.tables), tuple(p.steps), ending, dict(p.schema), draw(st.sampled_from(ALGORITHMS)))
