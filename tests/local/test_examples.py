"""The examples' scripts run on local workers, as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("tpch_q1.py", ["--rows", "10000"], ["l_returnflag", "40508"]),
        ("with_helper/job.py", [], ["18400", "35100"]),
    ],
)
def test_an_example_runs_and_prints_its_answer(script: str, arguments: list[str], words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        env={**os.environ, "DAFT_RUNNER": "k8s", "DAFT_K8S_NUM_WORKERS": "1", "DAFT_PROGRESS_BAR": "0"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout, done.stdout
