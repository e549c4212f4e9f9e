"""A few random pipelines under random faults: no wrong answer, no hang, nothing left behind.

`make chaos SEED=1 RUNS=1000` draws more. The faults are those of `faults.py`, on local workers.
"""

from __future__ import annotations

import random

import pytest

from tests.chaos.faults import KILL, draw_faults
from tests.chaos.run import BAD, RIGHT, ChaosRun

RUNS = 25
FEWEST_FAULTS = 5
"""Of each batch; with fewer it would show little. Most faults come too late for a query that takes milliseconds."""


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(240)
def test_faults_cost_no_answer_its_rows_and_leave_nothing_behind(seed: int) -> None:
    run = ChaosRun(seed)
    run.run(RUNS)
    assert not [run.counts[kind] for kind in BAD if run.counts[kind]], run.problems[0]
    assert run.counts[RIGHT] > 0, run.reasons
    assert run.faults >= FEWEST_FAULTS


def test_the_same_seed_draws_the_same_faults() -> None:
    drawn = [draw_faults(random.Random("7/3"), 0.1) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert any(fault.kind == KILL for number in range(20) for fault in draw_faults(random.Random(number), 0.1))
