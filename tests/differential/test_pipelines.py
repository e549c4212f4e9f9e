"""A fixed number of random pipelines, the same in every run: this runner's answers are those of the native one.

`make differential SECONDS=600` draws others for as long as you like. Not covered: large data, actors, lost workers.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.comparison import difference_on, has_several_answers
from tests.differential.engines import Engine, Engines
from tests.differential.pipelines import Answer, Ending, Pipeline
from tests.differential.run import Run
from tests.differential.tables import Column, Table

SEEDS = range(16)
PIPELINES = 50
FEWEST_EQUAL = 25
"""Of each fifty; else the generator draws too much that Daft refuses, and the test shows little."""


@pytest.mark.parametrize("seed", SEEDS)
def test_random_pipelines_answer_as_they_do_on_the_native_runner(engines: Engines, seed: int) -> None:
    run = Run(engines)
    run.batch(seed, PIPELINES)
    assert not run.differences, run.differences[0]
    assert run.outcomes["equal"] >= FEWEST_EQUAL, run.outcomes


def test_python_objects_are_compared_in_the_form_in_which_they_were_asked_for(engines: Engines) -> None:
    columns = (Column("id", "int", (0, 1, 2)), Column("object", "object", (("tuple", 2), None, 1 + 2j)))
    pipeline = Pipeline(
        tables=(Table(columns, pieces=(2, 1), in_files=False),),
        steps=(),
        ending=Ending(order=(("id", True, False),), cut=(0, 2), asked="batches"),
        schema={"id": "int", "object": "object"},
    )
    assert difference_on(pipeline, engines, engines.ours).difference is None


class Answering(Engine):
    """An engine that gives the answers it was told, one after the other, and then the last one again."""

    def __init__(self, *rows: list[dict[str, Any]]) -> None:
        self._rows = list(rows)

    def ask(self, pipeline: Pipeline, *, whole: bool = False) -> Answer:
        rows = self._rows.pop(0) if len(self._rows) > 1 else self._rows[0]
        return Answer((("a", "int"),), rows)


def test_a_pipeline_has_several_answers_if_its_rows_differ_from_run_to_run_in_more_than_their_order() -> None:
    pipeline = Pipeline((), (), Ending(), {"a": "int"})
    one, two, three = {"a": 1}, {"a": 2}, {"a": 3}
    assert not has_several_answers(pipeline, Answering([one, two], [two, one]))
    assert has_several_answers(pipeline, Answering([one, two], [one, two], [one, three]))
