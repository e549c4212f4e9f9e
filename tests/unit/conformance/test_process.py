"""The watched pytest processes: that every test gets one result, whatever it does. Not the runner itself."""

from __future__ import annotations

from tests.conformance.process import collect, run_all
from tests.conformance.results import Result

TESTS = """
import os, time
import pytest

def test_passes(): pass
def test_fails(): assert 1 == 2, "one is not two"
def test_is_skipped(): pytest.skip("not today")
@pytest.mark.xfail
def test_fails_as_expected(): assert False
@pytest.fixture
def broken(): raise LookupError("no fixture")
def test_cannot_begin(broken): pass
"""


def run(place, text, *, limit_seconds=60.0):
    (place.stage / "tests" / "test_it.py").write_text(text)
    results: list[Result] = []
    bad_ends: list[str] = []
    nodeids = collect(place, ["tests"], on_result=results.append)
    run_all(place, nodeids, limit_seconds=limit_seconds, on_result=results.append, on_bad_end=bad_ends.append)
    return {result.nodeid.rpartition("::")[2]: result for result in results}, bad_ends


def test_outcomes_have_the_names_of_junit(place):
    results, bad_ends = run(place, TESTS)
    assert {name: result.status for name, result in results.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_skipped": "skipped",
        "test_fails_as_expected": "skipped",
        "test_cannot_begin": "error",
    }
    assert results["test_fails"].error.startswith("AssertionError: one is not two")
    assert results["test_cannot_begin"].error == "LookupError: no fixture"
    assert results["test_is_skipped"].error == "Skipped: not today"
    assert results["test_fails_as_expected"].error.startswith("expected to fail")
    assert bad_ends == []


def test_a_test_that_hangs_is_killed_and_the_next_one_runs(place):
    text = "import time\ndef test_hangs(): time.sleep(1000)\ndef test_after(): pass\n"
    results, _ = run(place, text, limit_seconds=2.0)
    assert results["test_hangs"].status == "error"
    assert "did not end within 2 s" in results["test_hangs"].error
    assert "in test_hangs" in place.stacks.read_text()
    assert results["test_after"].status == "passed"


def test_a_test_that_kills_its_process_is_named_and_the_next_one_runs(place):
    results, _ = run(place, "import os\ndef test_dies(): os.abort()\ndef test_after(): pass\n")
    assert "killed by SIGABRT" in results["test_dies"].error
    assert results["test_after"].status == "passed"


def test_a_process_that_dies_after_its_last_test_is_reported(place):
    _, bad_ends = run(place, "import atexit, os\ndef test_arms(): atexit.register(os._exit, 7)\n")
    assert len(bad_ends) == 1
    assert bad_ends[0].startswith("exit code 7; see ")


def test_a_module_that_cannot_be_imported_is_an_error(place):
    (place.stage / "tests" / "test_broken.py").write_text("import a_module_that_is_not_there\n")
    results, _ = run(place, "def test_passes(): pass\n")
    assert results["tests/test_broken.py"].status == "error"
    assert "a_module_that_is_not_there" in results["tests/test_broken.py"].detail
    assert results["test_passes"].status == "passed"


def test_a_test_whose_name_changes_from_run_to_run_is_reported_and_not_sought_for_ever(place):
    results, _ = run(
        place,
        "import os, pytest\n@pytest.mark.parametrize('n', [os.getpid()])\ndef test_n(n): pass\ndef test_m(): pass\n",
    )
    assert sorted(result.status for result in results.values()) == ["error", "passed"]
