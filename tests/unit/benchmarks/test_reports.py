"""Covers what people and programs read: table, page, Markdown, options, and the watcher's peaks.

Not covered: whole runs of demo and bench, which `make demo` and `make bench` are.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

pytest.importorskip("duckdb", reason="the reference engine is not installed (dependency group 'demo')")

from benchmarks.bench import Measurements, markdown
from benchmarks.big_shuffle import COLUMNS, expected_sums, factor_of
from benchmarks.memory import MemoryWatcher, Peak
from benchmarks.options import engines_of, memory_quantity, numbers_of, positive_float, positive_int
from benchmarks.report import Report, table_cells
from benchmarks.suite import QueryRun, SuiteRun
from benchmarks.verdict import FAILED, RIGHT, Verdict


def suites() -> list[SuiteRun]:
    native = {1: QueryRun(number=1, times=[0.5, 0.4, 9.0], rows=4), 2: QueryRun(number=2, times=[1.0], rows=7)}
    here = {1: QueryRun(number=1, times=[1.0], rows=4), 2: QueryRun(number=2, error="<worker-0> was lost")}
    return [SuiteRun(engine="native", queries=native), SuiteRun(engine="daft_k8s", queries=here)]


VERDICTS = {1: Verdict(word=RIGHT), 2: Verdict(word=FAILED, detail="<worker-0> was lost")}


def test_the_table_shows_medians_ratios_and_failures():
    assert table_cells(suites(), VERDICTS) == [
        ["q1", "4", "0.500", "1.000", "2.00", "right"],
        ["q2", "-", "1.000", "-", "-", "failed"],
    ]


def test_a_suite_with_a_failure_has_no_total():
    native, here = suites()
    assert native.total_seconds() == 1.5
    assert here.total_seconds() is None


def test_the_page_is_self_contained_and_escapes_messages():
    page = Report(
        title="t",
        subtitle="s",
        verdict="1 of 2 right",
        suites=suites(),
        judged="daft_k8s",
        verdicts=VERDICTS,
        notes=["<b>"],
    ).html()
    assert "1 of 2 right" in page and "<svg" in page
    assert "&lt;worker-0&gt; was lost" in page and "<worker-0>" not in page and "<li>&lt;b&gt;</li>" in page
    assert "http" not in page and "src=" not in page


def test_markdown_gives_medians_and_ratios_to_the_first_engine():
    native, here = Measurements(engine="native"), Measurements(engine="daft_k8s")
    for seconds in (1.0, 3.0, 2.0):
        native.add("q1", seconds)
    here.add("q1", 5.0)
    assert markdown({"native": native, "daft_k8s": here}, [1]).splitlines() == [
        "| measure | native, s | daft_k8s, s | daft_k8s / native |",
        "| --- | ---: | ---: | ---: |",
        "| q1 | 2.000 | 5.000 | 2.50 |",
        "| TPC-H, 1 queries | 2.000 | 5.000 | 2.50 |",
    ]


def test_options_take_what_they_say():
    assert numbers_of("1,5,7-9,5") == [1, 5, 7, 8, 9]
    assert engines_of("native, daft_k8s,native") == ["native", "daft_k8s"]
    assert memory_quantity("4Gi") == "4Gi"


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (numbers_of, "0"),
        (numbers_of, "23"),
        (numbers_of, "1-"),
        (numbers_of, "two"),
        (numbers_of, ""),
        (engines_of, "spark"),
        (engines_of, ""),
        (memory_quantity, "8 apples"),
        (positive_int, "0"),
        (positive_float, "nan"),
        (positive_float, "-1"),
    ],
)
def test_senseless_options_are_refused(read: object, text: str):
    with pytest.raises(argparse.ArgumentTypeError):
        assert callable(read)
        read(text)


def test_the_closed_form_of_the_big_shuffle_is_the_sum_over_its_rows():
    rows = 1_000
    expected = expected_sums(rows)
    for index in range(COLUMNS):
        assert expected[f"c{index}"] == sum(row * factor_of(index) + index for row in range(rows))
    assert expected["id"] == sum(range(rows))


def test_the_watcher_sees_what_a_child_takes():
    code = "import sys; block = bytearray(b'x') * (64 << 20); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        watcher = MemoryWatcher(os.getpid())
        watcher.scan()
        peak = next(peak for peak in watcher.peaks() if peak.pid == child.pid)
        child.communicate(timeout=30)
    assert peak.role == "helper"
    assert 64 << 20 <= peak.anonymous_bytes <= peak.resident_bytes < 256 << 20


def test_a_watcher_that_failed_says_so_instead_of_showing_zeros(monkeypatch: pytest.MonkeyPatch):
    def fail(self: MemoryWatcher) -> None:
        raise OSError("no /proc")

    monkeypatch.setattr(MemoryWatcher, "sample", fail)
    watcher = MemoryWatcher(os.getpid())
    with watcher:
        watcher._thread.join(timeout=30)
    with pytest.raises(RuntimeError, match="no /proc"):
        watcher.peaks()


def test_a_peak_is_told_in_mebibytes():
    peak = Peak(pid=7, role="worker", resident_bytes=3 << 30, anonymous_bytes=1 << 30)
    assert peak.line() == "worker (pid 7): peak 1,024 MiB anonymous, 3,072 MiB resident"
