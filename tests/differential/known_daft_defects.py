"""What Daft itself answers wrongly, so that pipelines which meet it are not held against this runner.

Each entry looks at a pipeline that differs and at how. All of them differ on Ray in the same way. Each has a pipeline
that meets it, which `test_known_daft_defects.py` runs; it fails once Daft has mended the defect: then the entry goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from tests.differential.engines import Engine, Outcome
from tests.differential.pipelines import Answer, Ending, Pipeline
from tests.differential.tables import Column, Table

Recognise = Callable[[Pipeline, str, Engine], bool]


@dataclass(frozen=True)
class Defect:
    """A defect of Daft.

    Attributes:
        what: What goes wrong.
        recognise: Whether a pipeline's difference, as text, is due to it; may ask the native engine.
        example: A small pipeline that meets it.
    """

    what: str
    recognise: Recognise
    example: Pipeline


def defect_of(pipeline: Pipeline, difference: str, native: Engine) -> str | None:
    """The name of the known defect that explains a difference."""
    return next((name for name, defect in DEFECTS.items() if defect.recognise(pipeline, difference, native)), None)


def _aggregates_nothing(pipeline: Pipeline, difference: str, native: Engine) -> bool:
    """An aggregation without groups, a count among them, somewhere gets no rows."""
    for number, step in enumerate(pipeline.steps):
        if step[0] in ("aggregate", "number_and_count") and _is_empty(pipeline, number, native):
            return True
    if pipeline.ending.asked != "count" and pipeline.ending.asked != "collect":
        return False
    if pipeline.ending.cut is not None or pipeline.ending.sample is not None:
        return "None" in difference or "IndexError" in difference
    return _is_empty(pipeline, len(pipeline.steps), native)


def _is_empty(pipeline: Pipeline, steps: int, native: Engine) -> bool:
    outcome: Outcome = native.ask(dataclasses.replace(pipeline, steps=pipeline.steps[:steps]), whole=True)
    return isinstance(outcome, Answer) and not outcome.rows


def _sends_no_columns(pipeline: Pipeline, difference: str, native: Engine) -> bool:
    return "must either specify a row count or at least one column" in difference


def _joins_partitions_of_no_flight_shuffle(pipeline: Pipeline, difference: str, native: Engine) -> bool:
    return "expected flight partition ref" in difference


_THREE_ROWS = Table((Column("id", "int", (0, 1, 2)), Column("key", "int", (1, 1, None))), pieces=(2, 1), in_files=True)
_SCHEMA = {"id": "int", "key": "int"}

DEFECTS: dict[str, Defect] = {
    "aggregate of nothing": Defect(
        "An aggregation without groups over no partitions, as after a sort or join of no rows, gives no row instead of "
        "one; df.count_rows() then raises IndexError or returns None. A distributed plan makes no task for it.",
        _aggregates_nothing,
        Pipeline(
            (_THREE_ROWS,),
            (("where", ("is_null", ("column", "id"))), ("sort", (("id", False, False),))),
            Ending(asked="count"),
            _SCHEMA,
        ),
    ),
    "flight shuffle without columns": Defect(
        'With shuffle_algorithm="flight_shuffle", rows that need no column, as to count them, cannot be written: '
        "a record batch without columns must be told its number of rows.",
        _sends_no_columns,
        Pipeline(
            (_THREE_ROWS,),
            (("number_and_count",), ("select", ("rows",)), ("number_and_count",)),
            Ending(),
            {"rows": "int", "ids": "int"},
            "flight_shuffle",
        ),
    ),
    "into_partitions under flight shuffle": Defect(
        'With shuffle_algorithm="flight_shuffle", df.into_partitions() to fewer partitions than there are takes any '
        "partition for one that a shuffle has written, and panics.",
        _joins_partitions_of_no_flight_shuffle,
        Pipeline((_THREE_ROWS,), (("into_partitions", 1),), Ending(), _SCHEMA, "flight_shuffle"),
    ),
}
