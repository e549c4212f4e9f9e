"""What Daft offers around a query is on two local workers what it is on Daft's native runner.

The answers of both come from processes of their own (`feature_scenarios.py`). Not covered: torch's own loaders, and
extensions on Pods, where the image must hold the library.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.local import driver_process
from tests.local.feature_scenarios import FEATURES

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library of extension.c; empty where nothing can compile it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return ""
    library = tmp_path_factory.mktemp("extension") / "libsame.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "extension.c")], check=True)
    return str(library)


def answers_of(runner: str, extension: str) -> dict[str, Any]:
    process = driver_process.run_file(HERE / "feature_scenarios.py", runner, extension)
    assert process.returncode == 0, process.stderr[-5000:]
    answers: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def expected(extension: str) -> dict[str, Any]:
    return answers_of("native", extension)


@pytest.fixture(scope="module")
def found(extension: str) -> dict[str, Any]:
    return answers_of("k8s", extension)


@pytest.mark.parametrize("feature", [feature.__name__ for feature in FEATURES])
def test_the_feature_is_that_of_the_native_runner(
    feature: str, expected: dict[str, Any], found: dict[str, Any]
) -> None:
    if expected[feature] == "no compiler":
        pytest.skip("there is no C compiler for extension.c")
    assert found[feature] == expected[feature]
