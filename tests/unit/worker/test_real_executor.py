"""Tasks on Daft's own native executor, reported to a fake server; the scenarios are in `real_tasks.py`.

Not here: the wire, and Python that crosses from a driver (tests/local).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("real") / "results.json"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("real_tasks.py")), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def test_a_failing_task_of_a_shared_pipeline_never_gives_a_sibling_a_short_success(results: dict[str, Any]) -> None:
    outcome = results["truncation"]
    assert outcome["pipelines_a_round"] == [1], "the tasks did not share a pipeline, so this proves nothing"
    assert "short" not in outcome["kinds"]
    assert outcome["kinds"]["failed"] >= 40
    # Known weakness: a task that meets the pipeline while it goes down may learn no more. The one to blame does.
    assert all("Plan execution task has died" in text for text in outcome["failures_without_the_cause"])
    assert outcome["kinds"]["failed"] - len(outcome["failures_without_the_cause"]) >= 40


def test_only_first_attempts_of_tasks_with_a_udf_share_a_pipeline(results: dict[str, Any]) -> None:
    assert results["sharing"]["pipelines"] == [0, 0, 2, 3]
    expected = [["finished", [[1, 2, 20]]], ["finished", [[1, 2, 30]]], ["finished", [[40]]], ["finished", [[50]]]]
    assert results["sharing"]["ends"] == expected


def test_a_task_that_runs_again_is_announced_to_the_driver(results: dict[str, Any]) -> None:
    assert results["sharing"]["announced"] == [["TaskRestarts", "q", 2]]


def test_a_task_with_its_own_pipeline_fails_alone(results: dict[str, Any]) -> None:
    assert results["isolation"] == ["finished", "failed", "finished"]


def test_tasks_of_one_plan_initialise_a_class_udf_once(results: dict[str, Any]) -> None:
    assert results["inits"] == 1


def test_many_tiny_partitions_give_one_correct_result(results: dict[str, Any]) -> None:
    assert results["merging"] == {
        "kind": "finished",
        "partitions": 1,
        "sum": sum(2 * (number + 1) for number in range(500)),
        "has_stats": True,
    }


def test_no_row_is_lost_between_large_and_small_partitions(results: dict[str, Any]) -> None:
    found, expected = results["large_and_small_inputs"]
    assert found == expected


def test_a_task_without_rows_succeeds(results: dict[str, Any]) -> None:
    assert results["no_rows"] == ["finished", 0]


def test_cancelled_tasks_are_reported_and_others_go_on(results: dict[str, Any]) -> None:
    expected = [["cancelled"], ["cancelled"], ["finished", [[3]]], ["cancelled"]]
    assert results["cancelling"] == {"ends": expected, "left": 0}


def test_a_result_that_cannot_be_pickled_names_its_column_and_task(results: dict[str, Any]) -> None:
    kind, error, text, message = results["errors"][0]
    assert (kind, error) == ("failed", "TaskError")
    assert "column 'y'" in text
    assert "_thread.lock" in text
    assert message.startswith("task q/")
    assert "failed on worker-0" in message


def test_python_objects_that_can_be_pickled_pass(results: dict[str, Any]) -> None:
    assert results["errors"][1][:2] == ["finished", [["{1}", "{2}"]]]


def test_what_a_udf_raises_is_in_the_error(results: dict[str, Any]) -> None:
    kind, _, text, message = results["errors"][2]
    assert kind == "failed"
    assert "OddError: left and right" in text
    assert "failed on worker-0" in message


def test_a_udf_may_write_to_stdout(results: dict[str, Any]) -> None:
    assert results["errors"][3][:2] == ["finished", [[1]]]


def test_no_pipeline_outlives_its_tasks(results: dict[str, Any]) -> None:
    assert results["live_plans"] == 0


def test_other_workers_reach_the_shuffle_server_of_daft_only_where_tasks_need_it(results: dict[str, Any]) -> None:
    assert results["shuffle_servers"] == {"map_reduce": "grpc://127.0.0.1", "flight_shuffle": "grpc://localhost"}
