from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.process import Place

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path):
    """Where pytest runs without any runner, on whatever a test writes below `stage/tests`."""
    stage = tmp_path / "stage"
    (stage / "tests").mkdir(parents=True)
    (stage / "pytest.ini").write_text("[pytest]\n")
    environment = {"PYTHONPATH": f"{stage}:{TESTS}", "PATH": str(Path(sys.executable).parent)}
    return Place(stage, "share", tmp_path / "files", environment, ["--conformance-runner", "native"])
