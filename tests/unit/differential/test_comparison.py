"""Two answers of a pipeline are told apart where they differ, and nowhere else. No engine runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.differential.comparison import UNDETERMINED, compare
from tests.differential.engines import Outcome
from tests.differential.pipelines import Answer, Ending, Pipeline

SCHEMA = {"a": "int", "b": "float"}


class Scripted:
    """Engines that answer what they are told."""

    def __init__(self, native: Outcome, ours: Outcome, *wholes: Outcome) -> None:
        self.native, self.ours, self.ray = _Engine(native, *wholes), _Engine(ours), None


class _Engine:
    """Answers the same each time; asked for the whole, with each of `wholes` in turn, if there are any."""

    def __init__(self, outcome: Outcome, *wholes: Outcome) -> None:
        self.outcome, self.wholes = outcome, itertools.cycle(wholes or (outcome,))

    def ask(self, pipeline: Pipeline, *, whole: bool = False) -> Outcome:
        return next(self.wholes) if whole else self.outcome


def rows(*values: tuple[Any, Any], columns: str = "ab") -> Answer:
    names = tuple((name, "Int64") for name in columns)
    return Answer(names, [dict(zip(columns, row, strict=True)) for row in values])


def outcome(native: Outcome, ours: Outcome, ending: Ending | None = None, *wholes: Outcome) -> str:
    pipeline = Pipeline((), (), ending or Ending(), SCHEMA)
    return compare(pipeline, Scripted(native, ours, *wholes)).outcome  # type: ignore[arg-type]


NAN = float("nan")


@pytest.mark.parametrize(
    ("native", "ours", "expected"),
    [
        (rows((1, 0.5), (2, NAN)), rows((2, NAN), (1, 0.5)), "equal"),
        (rows((1, 0.1 + 0.2)), rows((1, 0.3)), "equal"),
        (rows((1, -0.0)), rows((1, 0.0)), "equal"),
        (rows((1, 0.5), (1, 0.5)), rows((1, 0.5)), "difference"),
        (rows((1, 0.5)), rows((1, None)), "difference"),
        (rows((1, NAN)), rows((1, None)), "difference"),
        (rows((1, 0.5)), Answer((("a", "Int32"), ("b", "Int64")), [{"a": 1, "b": 0.5}]), "difference"),
        (rows((1, 0.5)), ("ValueError", "no"), "difference"),
        (("ValueError", "no"), rows((1, 0.5)), "difference"),
        (("ValueError", "no"), ("TypeError", "no"), "both raise ValueError"),
        (("ValueError", "no"), ("hangs", "60 s"), "difference"),
        (rows((1, 0.5)), ("UnsupportedError", "not yet"), "refused"),
    ],
)
def test_rows_are_compared_as_a_multiset(native: Outcome, ours: Outcome, expected: str) -> None:
    assert outcome(native, ours) == expected


BY_A = Ending(order=(("a", False, False),))


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (rows((1, 2.0), (1, 1.0), (2, 3.0)), "equal"),  # ties may come in any order
        (rows((1, 1.0), (2, 3.0), (1, 2.0)), "difference"),
    ],
)
def test_sorted_rows_are_compared_by_their_keys(ours: Answer, expected: str) -> None:
    assert outcome(rows((1, 1.0), (1, 2.0), (2, 3.0)), ours, BY_A) == expected


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (rows((3, 0.0), (1, 0.0)), "equal"),
        (rows((1, 0.0)), "difference"),
        (rows((1, 0.0), (1, 0.0)), "difference"),
        (rows((1, 0.0), (9, 0.0)), "difference"),
    ],
)
def test_rows_that_were_cut_are_compared_by_number_and_origin(ours: Answer, expected: str) -> None:
    whole = rows((1, 0.0), (2, 0.0), (3, 0.0))
    assert outcome(rows((1, 0.0), (2, 0.0)), ours, Ending(cut=(1, 5)), whole) == expected


@pytest.mark.parametrize(("counted", "expected"), [(2, "equal"), (3, "difference")])
def test_counts_are_compared(counted: int, expected: str) -> None:
    columns = (("a", "Int64"), ("b", "Int64"))
    whole = rows((1, 0.5), (2, 0.5))
    assert outcome(Answer(columns, 2), Answer(columns, counted), Ending(asked="rows"), whole) == expected


def test_a_difference_does_not_count_where_native_has_several_answers() -> None:
    wholes = rows((1, 0.5)), rows((1, 1.5))
    assert outcome(wholes[0], wholes[1], Ending(), *wholes) == UNDETERMINED
