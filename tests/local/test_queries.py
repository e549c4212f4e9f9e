"""Queries on two local workers give the answers that Daft's native runner gives.

The answers of both come from processes of their own (`query_scenarios.py`). Not covered: large data,
TPC-H (`make demo`), lost workers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.local import driver_process
from tests.local.query_scenarios import SCENARIOS

HERE = Path(__file__).parent


def answers_of(runner: str, folder: Path, **variables: str) -> dict[str, Any]:
    process = driver_process.run_file(HERE / "query_scenarios.py", runner, str(folder), **variables)
    assert process.returncode == 0, process.stderr[-5000:]
    answers: dict[str, Any] = json.loads(process.stdout.splitlines()[0])
    return answers


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return answers_of("native", tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return answers_of("k8s", tmp_path_factory.mktemp("k8s"))


@pytest.fixture(scope="module")
def found_without_tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return answers_of("k8s", tmp_path_factory.mktemp("plain"), DAFT_K8S_TLS="false")


def test_encryption_changes_no_answer(found: dict[str, Any], found_without_tls: dict[str, Any]) -> None:
    assert found_without_tls == found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_answer_is_that_of_the_native_runner(
    scenario: str, expected: dict[str, Any], found: dict[str, Any]
) -> None:
    assert "raised" not in str(expected[scenario])[:6]
    assert found[scenario] == expected[scenario]
