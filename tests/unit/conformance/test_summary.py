"""The counts of a run, the table that is made of them, and the committed page."""

from __future__ import annotations

from pathlib import Path

from tests.conformance import compatibility, summary
from tests.conformance.baseline import Outcome, compare
from tests.conformance.results import Result

RESULTS = [
    Result("tests/window/test_rank.py::TestRank::test_ties[1]", "passed", 1.0),
    Result("tests/window/test_rank.py::TestRank::test_gone", "failed", 1.0, "an error"),
    Result("tests/sql/test_exprs.py::test_one", "skipped", 0.0),
]
BASELINE = {
    "tests.window.test_rank.TestRank::test_ties[1]": Outcome("passed", 2.0),
    "tests.window.test_rank.TestRank::test_gone": Outcome("passed", 2.0),
    "tests.sql.test_exprs::test_one": Outcome("failed", 2.0),
}


def made() -> summary.Summary:
    return summary.summarise(RESULTS, BASELINE, compare(RESULTS, BASELINE), {"Versions": "daft 1"})


def test_results_are_counted_by_module() -> None:
    assert made().modules == {
        "tests.window.test_rank": summary.Module(passed=1, failed=1, passed_there=2, differ=1),
        "tests.sql.test_exprs": summary.Module(skipped=1),
    }


def test_a_summary_can_be_read_again(tmp_path: Path) -> None:
    summary.write(made(), tmp_path / "summary.tsv")
    assert summary.read(tmp_path / "summary.tsv") == made()


def test_the_table_counts_each_module_once() -> None:
    table = compatibility.table(made())
    assert "| Window functions | 2 | 1 | 1 | 0 |" in table
    assert "| SQL | 0 | 0 | 0 | 1 |" in table
    assert table.endswith("| **all** | 2 | 1 | 1 | 1 |")


def test_the_committed_page_is_made_of_the_committed_summary() -> None:
    text = compatibility.PAGE.read_text()
    assert compatibility.page(text, summary.read()) == text


def test_nothing_that_passes_on_ray_failed_here_in_the_run_that_is_kept() -> None:
    kept = summary.read()
    assert summary.add(kept.modules.values()).passed_there > 10_000
    assert [name for name, module in kept.modules.items() if module.differ] == []
