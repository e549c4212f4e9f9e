"""Comparison with another runner's results, and the files that both are kept in."""

from __future__ import annotations

import pytest

from tests.conformance.baseline import DELIBERATE, Outcome, compare, covers, read_baseline, write_baseline
from tests.conformance.results import Result, ResultsFile, canonical_id, id_of
from tests.conformance.shares import divide

PASSED, SKIPPED, FAILED = (Outcome(status, 1.0) for status in ("passed", "skipped", "failed"))


def result(nodeid, status="passed"):
    return Result(nodeid, status, 0.5)


def test_names_are_those_of_junit_reports():
    assert id_of("tests/a/test_b.py::TestC::test_d[x::y-z/w.py]") == "tests.a.test_b.TestC::test_d[x::y-z/w.py]"
    assert id_of("tests/a/test_b.py") == "::tests.a.test_b"
    assert canonical_id("a[\x00 \n b]") == "a[#x00 b]"


def test_only_what_passes_there_and_fails_here_is_a_regression():
    ours = [
        result("tests/t.py::test_a", "failed"),
        result("tests/t.py::test_b", "error"),
        result("tests/t.py::test_c", "failed"),
        result("tests/t.py::test_d", "failed"),
        result("tests/t.py::test_e", "skipped"),
        result("tests/t.py::test_f"),
    ]
    there = {f"tests.t::test_{name}": PASSED for name in "abefg"} | {"tests.t::test_c": FAILED}
    comparison = compare(ours, there)
    assert [r.nodeid[-1] for r in comparison.regressions] == ["a", "b"]
    assert [r.nodeid[-1] for r in comparison.both_fail] == ["c"]
    assert [r.nodeid[-1] for r in comparison.only_here] == ["d"]
    assert [r.nodeid[-1] for r in comparison.skipped_here] == ["e"]
    assert comparison.only_there == ["tests.t::test_g"]
    assert (comparison.seconds_here, comparison.seconds_there) == (0.5, 1.0)


@pytest.mark.parametrize("nodeid", DELIBERATE)
def test_what_is_otherwise_on_purpose_is_told_apart_from_regressions(nodeid):
    there = {id_of(nodeid): PASSED}
    comparison = compare([result(nodeid, "failed")], there)
    assert [r.nodeid for r in comparison.deliberate] == [nodeid]
    assert comparison.regressions == []
    assert compare([result(nodeid)], there).deliberate == []


def test_a_module_that_cannot_be_collected_is_a_regression_if_its_tests_pass_there():
    ours = [result("tests/t.py", "error"), result("tests/u.py", "error")]
    comparison = compare(ours, {"tests.t::test_a": PASSED, "tests.u::test_a": FAILED})
    assert [r.nodeid for r in comparison.regressions] == ["tests/t.py"]


def test_parameters_in_another_order_are_the_same_test():
    ours = [result("tests/t.py::test_a[True-1-x]", "failed"), result("tests/t.py::test_b[2-8]", "failed")]
    there = {"tests.t::test_a[x-True-1]": PASSED, "tests.t::test_b[2-8]": PASSED, "tests.t::test_b[8-2]": SKIPPED}
    comparison = compare(ours, there)
    assert len(comparison.regressions) == 2
    assert comparison.only_there == ["tests.t::test_b[8-2]"]


def test_of_several_orders_the_best_are_paired_so_that_one_failure_too_many_shows():
    ours = [result("tests/t.py::test_a[x-y-1]", "failed"), result("tests/t.py::test_a[x-1-y]")]
    one_failed = {"tests.t::test_a[1-x-y]": PASSED, "tests.t::test_a[1-y-x]": FAILED}
    assert compare(ours, one_failed).regressions == []
    none_failed = dict.fromkeys(one_failed, PASSED)
    assert len(compare(ours, none_failed).regressions) == 1


def test_a_selection_covers_what_lies_below_its_paths():
    assert covers(["tests/a"], [], "tests.a.test_b::test_c")
    assert covers(["tests/a/test_b.py"], [], "tests.a.test_b.TestC::test_d")
    assert covers(["tests/a/test_b.py"], [], "::tests.a.test_b")
    assert not covers(["tests/a/test_b.py"], [], "tests.a.test_bc::test_d")
    assert not covers(["tests/a"], ["tests/a/test_b.py"], "tests.a.test_b::test_c")


@pytest.mark.parametrize("name", ["baseline.tsv", "baseline.tsv.xz"])
def test_a_baseline_can_be_written_and_read(tmp_path, name):
    write_baseline(tmp_path / name, [result("tests/t.py::test_a"), result("tests/t.py::test_b[1 2]", "error")])
    assert read_baseline(tmp_path / name) == {
        "tests.t::test_a": Outcome("passed", 0.5),
        "tests.t::test_b[1 2]": Outcome("error", 0.5),
    }


def test_a_line_that_is_no_result_is_named(tmp_path):
    (tmp_path / "b.tsv").write_text("tests.t::test_a\tpassed\t1\nrubbish\n")
    with pytest.raises(ValueError, match="line 2: expected test id"):
        read_baseline(tmp_path / "b.tsv")


def test_results_outlive_a_run_that_was_cut_short(tmp_path):
    file = ResultsFile(tmp_path / "results.jsonl")
    file.add(result("a"))
    file.add(result("b", "failed"))
    with file.path.open("a") as cut_short:
        cut_short.write('{"nodeid": "c", "sta')
    again = ResultsFile(file.path)
    assert again.get("a") == result("a")
    assert again.get("c") is None
    again.forget(["b"])
    assert ResultsFile(file.path).get("b") is None


def test_shares_take_about_equally_long_and_keep_their_order():
    nodeids = [f"tests/{file}.py::test_{n}" for file in "abc" for n in range(4)]
    measured = {f"tests.a::test_{n}": Outcome("passed", 2.0) for n in range(4)}
    shares = divide(nodeids, 2, measured)
    assert [{nodeid[6] for nodeid in share} for share in shares] == [{"a"}, {"b", "c"}]
    assert [nodeid for share in shares for nodeid in share] == nodeids
