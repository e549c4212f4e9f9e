"""The milestones of a run and its summary. That a real run tells them: tests/integration/test_run.py."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from daft_k8s.cli.live_run import line_of
from daft_k8s.jobs.watch import Progress, Story
from daft_k8s.kube.inventory.sessions import SessionView
from daft_k8s.observe.session_summary import QuerySummary, SessionSummary


def view(ready: int, wanted: int, **figures: int) -> SessionView:
    live = SessionSummary(ready=ready, wanted=wanted, **figures)
    return SessionView("s", "run-x", "", 1, live=live)


def test_the_first_worker_and_the_last_are_told_and_nothing_twice() -> None:
    story = Story()
    assert story.driver_runs(1.25, "node1") == "driver runs on node1 (1.2 s)"
    seen = [story.see(view(ready, 50), float(ready)) for ready in (0, 1, 2, 30, 50, 50, 49)]
    assert seen == [[], ["1/50 workers (1.0 s)"], [], [], ["50/50 workers (50.0 s)"], [], []]


def test_all_workers_at_once_are_one_line() -> None:
    assert Story().see(view(3, 3), 4.0) == ["3/3 workers (4.0 s)"]


def test_an_idle_elastic_pool_tells_nothing() -> None:
    assert Story().see(view(0, 0), 4.0) == []


@pytest.mark.parametrize(("code", "outcome"), [(0, "succeeded after 41s"), (3, "failed with code 3 after 41s")])
def test_the_summary_has_the_outcome_the_tasks_and_the_times(code: int, outcome: str) -> None:
    story = Story()
    story.driver_runs(1.5, "")
    story.see(view(2, 2, done=5, held_bytes=3 << 20), 3.0)
    story.see(view(2, 2, done=77, failed=1, held_bytes=1 << 20), 40.0)
    story.see(SessionView("s", "run-x", "", 1), 41.0)
    assert story.summary(code, 41.7) == (
        f"{outcome}; at least 77 tasks done, 1 failed; at most 3.0 MiB seen held; "
        "the driver ran after 1.5 s, all workers after 3.0 s"
    )


def test_a_run_without_a_session_has_a_summary() -> None:
    assert Story().summary(0, 2.0) == "succeeded after 2s"


@pytest.mark.parametrize("width", [60, 80, 130])
def test_the_live_line_is_one_line_at_any_width(width: int) -> None:
    queries = (QuerySummary("swift-fox-4d1e-and-a-long-name", 34, 205, 77),)
    live = SessionSummary(3, 3, queries=queries, held_bytes=812 << 20, spilled_bytes=5 << 30)
    console = Console(width=width, force_terminal=True, file=io.StringIO(), record=True, soft_wrap=True)
    console.print(line_of(Progress(41.0, 3, 3, live)))
    (line,) = console.export_text().splitlines()
    assert len(line) <= width
    if width >= 80:
        for words in ("41s", "3/3 workers", "77/205 tasks", "812.0 MiB held, 5.0 GiB spilled"):
            assert words in line
    assert ("swift-fox-4d1e-and-a-long-name" in line) == (width >= 130)
    console.print(line_of(Progress()))
    assert console.export_text().split() == ["0s", "no", "workers", "yet"]
