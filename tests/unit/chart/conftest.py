from __future__ import annotations

import shutil

import pytest

from tests.unit.chart.charts import Helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    program = shutil.which("helm")
    if program is None:
        pytest.skip("helm is not installed: how the chart renders is not tested")
    return Helm(program)
