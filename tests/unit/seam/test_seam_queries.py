"""Whole queries through the seam, with a fake pool that runs tasks inside the driver's process.

The queries run in a process of their own (see `fake_pool`). Not covered: real workers (tests/local).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def run_python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAFT_", "PYTEST_"))}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "DAFT_PROGRESS_BAR": "0", **variables}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, timeout=90, env=environment
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    process = run_python(str(HERE / "in_process_queries.py"))
    assert process.returncode == 0, process.stderr[-5000:]
    assert "Task was destroyed" not in process.stderr
    results: dict[str, Any] = json.loads(process.stdout.splitlines()[0])
    return results


def test_filter_sort_group_and_join_give_right_answers(found: dict[str, Any]) -> None:
    assert found["filter_sort"] == {"a": [999, 998, 997], "b": [999 % 7, 998 % 7, 997 % 7]}
    assert found["group"] == {"b": list(range(7)), "a": [sum(range(rest, 1000, 7)) for rest in range(7)]}
    assert found["join"] == 500


def test_a_sort_merge_join_keeps_the_rows_of_repeated_keys(found: dict[str, Any]) -> None:
    assert found["sort_merge_join"] == sum(1 for number in range(1000) if number % 7 in (1, 2))


def test_a_sort_merge_join_that_was_planned_before_the_start_is_refused(found: dict[str, Any]) -> None:
    assert found["sort_merge_join_of_before"].startswith(
        "UnsupportedError: a sort-merge join, in which Daft drops rows"
    )
    assert 'strategy="hash"' in found["sort_merge_join_of_before"]


def test_dafts_own_shuffle_gives_the_same_and_leaves_no_files(found: dict[str, Any]) -> None:
    assert found["flight_folders"], "the shuffle used no files, so nothing is shown"
    assert found["flight"] == found["group"]
    assert found["flight_left_after_query"] == []
    assert found["flight_left_after_shutdown"] == []


def test_limits_and_offsets_are_exact_and_leave_no_counter_behind(found: dict[str, Any]) -> None:
    assert found["limits"] == [10, 7, 1000, 0]
    assert found["sorted_limit"] == {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert found["counters_left"] == 0


def test_iteration_yields_data(found: dict[str, Any]) -> None:
    assert found["rows"] == sum(range(1000))
    assert sum(found["partitions"]) == 1000
    assert found["empty"] == {"a": [], "b": []}


def test_every_query_is_ended_once(found: dict[str, Any]) -> None:
    assert found["queries_ended"]


def test_a_result_is_fetched_at_once_and_a_preview_only_in_part(found: dict[str, Any]) -> None:
    assert found["collected_rows"] == 1000
    assert found["one_fetch_for_all"] == [4]
    assert found["preview_rows"] == 3
    assert found["preview_fetch"] == [1]


def test_a_query_that_lost_data_is_run_again_and_gives_the_same(found: dict[str, Any]) -> None:
    lost = found["lost_again"]
    assert lost["collect"] == [f"returned {sum(range(0, 1000, 7))}", 2]
    assert lost["iterate"] == [f"returned {sum(range(1000))}", 2]
    assert lost["limit"] == ["returned 10", 2]
    assert lost["ended"], "a run was not ended"


def test_subscribers_see_each_run_of_a_query_that_lost_data_as_a_query_with_one_end(found: dict[str, Any]) -> None:
    assert found["lost_again"]["seen_once"]
    ends = found["lost_again"]["seen"]
    assert ["Failed" in end for end in ends] == [True, False, True, False], ends


def test_a_query_that_loses_data_again_and_again_or_has_written_to_a_sink_fails(found: dict[str, Any]) -> None:
    text, runs = found["lost_again"]["often"]
    assert runs == 3
    assert text.startswith("WorkerLostError: ") and "it has been run 3 times" in text
    text, runs = found["lost_again"]["sink"]
    assert runs == 1
    assert text.startswith("WorkerLostError: ") and "a task of it that writes has begun" in text


def test_files_are_written_once_though_the_query_runs_twice(found: dict[str, Any]) -> None:
    assert found["lost_again"]["write"] == ["returned 2", 2]
    assert found["lost_again"]["written"] == [1000, 2]


def test_other_queries_run_after_one_was_abandoned_or_failed(found: dict[str, Any]) -> None:
    assert found["after_early_end"] == 5
    assert found["after_failures"] == 5


def test_a_udf_runs_and_its_error_arrives_with_the_users_traceback(found: dict[str, Any]) -> None:
    assert found["udf"] == {"c": [sum(range(1000))]}
    assert found["udf_error"].startswith("ValueError: the user's own words")
    assert "in boom" in found["udf_error"]
    assert "task 0" in found["udf_error"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("limited_into_partitions", "UnsupportedError: into_partitions() of a limited DataFrame"),
        ("ray_bridge", "UnsupportedError: DataFrame.to_ray_dataset()"),
        ("dask_bridge", "UnsupportedError: DataFrame.to_dask_dataframe()"),
        ("lost", "WorkerLostError: task 0"),
        ("cancelled", "TaskError: task 0"),
        ("other_settings", "ConfigurationError: set_runner_k8s was called before with other settings: num_workers"),
        ("after_shutdown", "SessionClosedError"),
        ("query_after_shutdown", "SessionClosedError"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(found: dict[str, Any], name: str, words: str) -> None:
    assert found[name].startswith(words)


def test_a_limit_above_into_partitions_can_be_iterated(found: dict[str, Any]) -> None:
    *rows, twice = found["iterated_into_partitions"]
    assert rows == [2, 600, 1000, 0]
    assert twice.startswith("UnsupportedError: into_partitions() of a limited DataFrame")


def test_queries_of_several_threads_run_at_once(found: dict[str, Any]) -> None:
    assert found["threads"] == [sum(range(0, 1000, 7))] * 3


def test_a_session_is_shared_by_equal_settings_and_can_be_replaced_after_its_end(found: dict[str, Any]) -> None:
    assert found["same_settings"]
    assert found["shut_down"]
    assert found["new_session"]
    assert found["module_shutdown"]


def test_a_forked_child_neither_uses_nor_ends_its_parents_workers(found: dict[str, Any]) -> None:
    assert found["forked_child"] == 0
    assert found["open_after_fork"]


UNCHANGED_SCRIPT = "import daft; print(daft.from_pydict({'a': [3, 1, 2]}).sort('a').to_pydict())"
ENDS = (0, -signal.SIGSEGV, -signal.SIGABRT)
"""Daft's thread may crash a process that ends at once after a result (docs/compatibility.md); workers in memory do."""
FAKE_WORKERS = """
import daft_k8s._autostart
import daft_k8s.boot.after_import
def fake(daft):
    import daft_k8s.driver.session as session
    from fake_pool import FakeLauncher, FakeManager
    session.make_launcher = lambda *args, **kwargs: FakeLauncher()
    session._native_manager = FakeManager
daft_k8s.boot.after_import.after_import("daft", fake)
"""


def test_a_script_that_never_mentions_daft_k8s_uses_it_when_the_environment_says_so() -> None:
    script = FAKE_WORKERS + UNCHANGED_SCRIPT + "\nprint(type(daft.runners.get_or_create_runner()).__name__)"
    script += "\nimport daft_k8s; print(daft.set_runner_k8s is daft_k8s.set_runner_k8s)"
    process = run_python("-c", script, DAFT_RUNNER="k8s", DAFT_K8S_NUM_WORKERS="2")
    assert process.stdout.split("\n")[:3] == ["{'a': [1, 2, 3]}", "K8sRunner", "True"], process.stderr[-3000:]
    assert process.returncode in ENDS


def test_a_wrong_environment_is_refused_with_the_option_that_is_wrong() -> None:
    process = run_python("-c", FAKE_WORKERS + UNCHANGED_SCRIPT, DAFT_RUNNER="k8s", DAFT_K8S_NUM_WORKERS="-1")
    assert process.returncode != 0
    assert "num_workers" in process.stderr.lower()


def test_importing_daft_k8s_does_not_import_daft() -> None:
    process = run_python("-c", "import sys, daft_k8s; print([name for name in sys.modules if name == 'daft'])")
    assert process.stdout == "[]\n"


@pytest.mark.parametrize("imports", ["import daft, daft_k8s", "import daft_k8s, daft"])
def test_the_function_is_offered_in_daft_whatever_is_imported_first(imports: str) -> None:
    process = run_python("-c", f"{imports}; print(daft.set_runner_k8s is daft_k8s.set_runner_k8s)")
    assert process.stdout == "True\n", process.stderr


def test_after_a_native_query_the_runner_is_refused_and_nothing_starts() -> None:
    script = """
import daft, daft_k8s
daft.from_pydict({"a": [1]}).collect()
from daft_k8s.driver.session import find_current_session
try:
    daft_k8s.set_runner_k8s(num_workers=2)
except daft_k8s.errors.ConfigurationError as error:
    print(error, find_current_session())
"""
    process = run_python("-c", script)
    assert "already uses Daft's native runner" in process.stdout, process.stderr
    assert process.stdout.endswith("None\n")


def test_wrong_and_missing_options_are_refused_before_anything_starts() -> None:
    script = """
import daft_k8s
from daft_k8s.driver.session import find_current_session
for options in ({"num_workers": 0}, {"worker_memory": "8 apples"}, {"wrokers": 2}, {"allocation": "pod"}):
    try:
        daft_k8s.set_runner_k8s(**options)
    except daft_k8s.errors.DaftK8sError as error:
        print(type(error).__name__, find_current_session())
"""
    process = run_python("-c", script)
    assert process.stdout.splitlines() == ["ConfigurationError None"] * 4, process.stderr
