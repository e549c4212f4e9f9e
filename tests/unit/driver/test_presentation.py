"""A session as it shows itself. That a real one does: tests/local/test_session_shown.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from daft_k8s.driver.kept_output import LINE_BYTES, KeptOutput
from daft_k8s.driver.presentation import as_html, as_text, workers_of
from daft_k8s.observe.session_summary import SessionSummary, WorkerSummary


def worker(name: str, phase: str, tasks: int = 0, **fields: Any) -> Any:
    values = {"restarts": 0, "waits_for": None, "last_loss": None, **fields}
    return SimpleNamespace(worker_id=name, phase=phase, tasks=tasks, **values)


POOL: Any = SimpleNamespace(
    workers=[worker("worker-0", "Ready", 3), worker("worker-1", "Postponed", waits_for="<b>the quota</b>\x1b[2J")]
)
SUMMARY = SessionSummary(workers={"worker-0": WorkerSummary(3, 300 << 20, 3 << 20, 0)})


def test_a_table_has_a_line_for_each_worker_with_its_memory() -> None:
    lines = as_text("<session>", workers_of(POOL, SUMMARY)).splitlines()
    assert lines[0] == "<session>"
    assert lines[1].split() == ["worker", "state", "tasks", "memory", "held", "spilled"]
    assert lines[2].split() == ["worker-0", "ready", "3", "300.0", "MiB", "3.0", "MiB", "0"]
    assert lines[3].endswith(r"<b>the quota</b>\x1b[2J") and lines[3].split()[:3] == ["worker-1", "postponed", "0"]
    assert as_text("<session>", ()) == "<session>"


def test_a_notebook_obeys_nothing_that_a_worker_says() -> None:
    text = as_html("<session>", workers_of(POOL, SUMMARY))
    assert "&lt;b&gt;the quota&lt;/b&gt;" in text and "<b>the quota" not in text
    assert text.count("<tr>") == 3
    assert "<table>" not in as_html("<session>", ())


def test_the_last_lines_are_kept_and_the_oldest_give_way() -> None:
    kept = KeptOutput(max_bytes=10 + 3 * LINE_BYTES)
    kept.keep("worker-0", ["12345"])
    kept.keep("worker-1", ["abc", "de"])
    assert kept.lines() == ["(worker-0) 12345", "(worker-1) abc", "(worker-1) de"]
    assert kept.lines("worker-1") == ["abc", "de"]
    kept.keep("worker-0", ["6"])
    assert kept.lines() == ["(worker-1) abc", "(worker-1) de", "(worker-0) 6"]
    kept.keep("worker-0", ["x" * 1000])
    assert kept.lines() == []


def test_blank_lines_count_too() -> None:
    kept = KeptOutput(max_bytes=10 * LINE_BYTES)
    kept.keep("worker-0", [""] * 1000)
    assert len(kept.lines()) == 10
    kept.keep("worker-0", ["x"])
    assert kept.lines("worker-0") == [*[""] * 8, "x"]
