"""Daft's own defects are still there. One that is mended shows itself here, and its entry goes.

With DIFFERENTIAL_RAY=/path/to/python, a Python with daft[ray], each is shown on Ray too.
"""

from __future__ import annotations

import os

import pytest

from tests.differential.comparison import DAFTS_OWN, compare, difference_on
from tests.differential.engines import Engines
from tests.differential.known_daft_defects import DEFECTS, defect_of


@pytest.mark.parametrize("name", DEFECTS)
def test_a_known_defect_of_daft_is_still_there(name: str, engines: Engines) -> None:
    pipeline = DEFECTS[name].example
    difference = difference_on(pipeline, engines, engines.ours).difference
    assert difference is not None, f"Daft has mended {name!r}: remove the entry"
    assert defect_of(pipeline, difference, engines.native) == name
    assert compare(pipeline, engines).outcome == f"{DAFTS_OWN}: {name}"


@pytest.mark.skipif("DIFFERENTIAL_RAY" not in os.environ, reason="DIFFERENTIAL_RAY names no Python with daft[ray]")
@pytest.mark.parametrize("name", DEFECTS)
def test_a_known_defect_of_daft_is_there_on_ray_too(name: str) -> None:
    with Engines(os.environ["DIFFERENTIAL_RAY"]) as engines:
        assert engines.ray is not None
        difference = difference_on(DEFECTS[name].example, engines, engines.ray).difference
        assert difference is not None
        assert defect_of(DEFECTS[name].example, difference, engines.native) == name
