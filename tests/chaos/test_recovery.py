"""Two shapes of query whose workers are killed: the answer is native Daft's. `make test-recovery` has all shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.recovery import ERROR, WRONG, RecoveryMatrix


@pytest.mark.timeout(240)
def test_a_deterministic_shape_survives_the_loss_of_workers_at_random_moments(tmp_path: Path) -> None:
    with RecoveryMatrix(tmp_path, seed=3) as matrix:
        for shape in ("join", "collect and reuse"):
            counts = matrix.run(shape, 2)
            assert not matrix.problems, matrix.problems
            assert counts.total() == 2 and not counts[WRONG] and not counts[ERROR]
