"""The metrics of a session: their list and docs/metrics.md agree, and each counts the facts that its name says.

Not covered: how they are served (tests/unit/driver/test_metrics_server.py).
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s._native import FactKind
from daft_k8s.observe.event_schema import FIELDS
from daft_k8s.observe.metrics import CAUSES, METRICS, OUTCOMES, STATES, SessionMetrics, gauges
from daft_k8s.observe.session_summary import SessionSummary, WorkerSummary

ROOT = Path(__file__).resolve().parents[3]
ALL = {field for fields in FIELDS.values() for field in fields}


def fact(kind: FactKind, at_seconds: float = 0.0, **fields: Any) -> Any:
    """A fact with exactly the fields that its kind sets."""
    given = {"task": 1, "attempt": 1, "worker_id": "worker-0", "launch": 1, "count": 1, "exit_cause": "crash", **fields}
    values = {name: given.get(name) if name in FIELDS[kind] else None for name in ALL}
    return SimpleNamespace(kind=kind, at_seconds=at_seconds, **values)


def changed(metrics: SessionMetrics) -> dict[Any, float]:
    found = {(name, label) if label else name: value for (name, label), value in metrics.counts.items() if value}
    for name, histogram in metrics.histograms.items():
        if any(histogram.counts):
            found[name] = sum(histogram.counts)
    return found


@pytest.mark.parametrize(
    ("kind", "fields", "counts"),
    [
        (FactKind.QUERY_BEGAN, {}, {"daft_queries_started_total": 1}),
        (FactKind.QUERY_ENDED, {}, {"daft_queries_ended_total": 1}),
        (FactKind.TASK_SUBMITTED, {}, {"daft_tasks_submitted_total": 1}),
        (FactKind.TASK_SENT, {"attempt": 1}, {"daft_task_attempts_total": 1}),
        (FactKind.TASK_SENT, {"attempt": 2}, {"daft_task_attempts_total": 1, "daft_task_retries_total": 1}),
        (FactKind.ATTEMPT_REFUSED, {}, {"daft_task_attempts_refused_total": 1}),
        (FactKind.INPUTS_MISSING, {}, {"daft_task_inputs_missing_total": 1}),
        (FactKind.ATTEMPT_LOST, {"count": 0}, {("daft_task_attempts_lost_total", "crash"): 1}),
        (
            FactKind.TASK_SUCCEEDED,
            {"count": 3},
            {("daft_tasks_ended_total", "succeeded"): 1, "daft_partitions_published_total": 3},
        ),
        (FactKind.TASK_FAILED, {}, {("daft_tasks_ended_total", "failed"): 1}),
        (FactKind.TASK_LOST, {}, {("daft_tasks_ended_total", "lost"): 1}),
        (FactKind.TASK_CANCELLED, {}, {("daft_tasks_ended_total", "cancelled"): 1}),
        (FactKind.WORKER_LAUNCHED, {}, {"daft_worker_launches_total": 1}),
        (FactKind.WORKER_POSTPONED, {}, {"daft_worker_postponements_total": 1}),
        (FactKind.WORKER_READY, {}, {}),
        (FactKind.WORKER_RELEASED, {}, {"daft_worker_releases_total": 1}),
        (FactKind.WORKER_LOST, {}, {"daft_worker_losses_total": 1}),
        (FactKind.WORKER_REPLACED, {"count": 7}, {"daft_worker_replacements_total": 1}),
        (FactKind.PROCESS_ENDED, {}, {("daft_worker_process_ends_total", "crash"): 1}),
        (
            FactKind.PROCESS_ENDED,
            {"exit_cause": "oom"},
            {("daft_worker_process_ends_total", "oom"): 1, "daft_worker_oomkilled_total": 1},
        ),
        (FactKind.SLOTS_LOST, {"count": 5}, {"daft_partitions_lost_total": 5}),
        (FactKind.POOL_GROWN, {"count": 4}, {"daft_pool_added_workers_total": 4}),
        (FactKind.POOL_UNAVAILABLE, {}, {"daft_pool_unavailable_total": 1}),
        (FactKind.DEFECT, {}, {"daft_session_defects_total": 1}),
    ],
)
def test_a_fact_counts_where_it_belongs(kind: FactKind, fields: dict[str, Any], counts: dict[Any, float]) -> None:
    metrics = SessionMetrics()
    metrics.take(fact(kind, **fields))
    assert changed(metrics) == counts


def test_latency_is_from_submission_to_success_or_failure() -> None:
    metrics = SessionMetrics()
    for task, (kind, end) in enumerate(zip(OUTCOMES, (3.0, 0.005, 50.0, 60.0), strict=True)):
        metrics.take(fact(FactKind.TASK_SUBMITTED, 1.0, task=task))
        metrics.take(fact(FactKind.TASK_SENT, 1.5, task=task, attempt=2))
        metrics.take(fact(kind, 1.0 + end, task=task))
        metrics.take(fact(kind, 99.0, task=task))  # as a second run of a task ends: it was not submitted again
    latency = metrics.histograms["daft_task_latency_seconds"]
    assert latency.total == pytest.approx(3.005)
    buckets = dict(latency.cumulative())
    assert [buckets[bound] for bound in ("0.01", "2.5", "5.0", "+Inf")] == [1, 1, 2, 2]


def test_a_start_is_from_launch_to_readiness_of_the_same_process() -> None:
    metrics = SessionMetrics()
    metrics.take(fact(FactKind.WORKER_LAUNCHED, 1.0, launch=1))
    metrics.take(fact(FactKind.PROCESS_ENDED, 2.0, launch=1))
    metrics.take(fact(FactKind.WORKER_LAUNCHED, 3.0, launch=2))
    metrics.take(fact(FactKind.WORKER_READY, 3.5, launch=2))
    metrics.take(fact(FactKind.WORKER_READY, 9.0, launch=1))
    starts = metrics.histograms["daft_worker_start_seconds"]
    assert (sum(starts.counts), starts.total) == (1, pytest.approx(0.5))


def test_missed_facts_are_counted_and_no_time_is_measured_across_them() -> None:
    metrics = SessionMetrics()
    metrics.take(fact(FactKind.TASK_SUBMITTED))
    metrics.take(fact(FactKind.WORKER_LAUNCHED))
    metrics.facts_missed(12)
    metrics.take(fact(FactKind.TASK_SUCCEEDED, 5.0))
    metrics.take(fact(FactKind.WORKER_READY, 5.0))
    assert metrics.counts["daft_journal_entries_missed_total", ""] == 12
    assert not set(changed(metrics)) & set(metrics.histograms)


@given(st.lists(st.tuples(st.sampled_from(sorted(FIELDS, key=str)), st.integers(0, 5), st.sampled_from(CAUSES))))
def test_whatever_happens_brings_up_no_series_and_each_end_is_counted_once(steps: list[Any]) -> None:
    metrics = SessionMetrics()
    before = set(metrics.counts)
    for at, (kind, number, cause) in enumerate(steps):
        metrics.take(fact(kind, float(at), task=number, launch=number, count=number, exit_cause=cause))
    assert set(metrics.counts) == before
    for kind, outcome in OUTCOMES.items():
        assert metrics.counts["daft_tasks_ended_total", outcome] == sum(step[0] == kind for step in steps)
    assert metrics.counts["daft_worker_oomkilled_total", ""] == metrics.counts["daft_worker_process_ends_total", "oom"]
    assert len(metrics._submitted) <= 6


def test_gauges_are_the_state_of_the_pool() -> None:
    pool: Any = SimpleNamespace(
        workers=[SimpleNamespace(phase=phase) for phase in ("Ready", "Ready", "GivenUp", "Starting")], ready_workers=2
    )
    workers = {"worker-0": WorkerSummary(1, 10, 2, 3), "worker-1": WorkerSummary(1, 20)}
    found = gauges(
        SessionSummary(
            running=1, waiting=2, wanted=4, held_bytes=2, spilled_bytes=3, running_queries=5, workers=workers
        ),
        pool,
        3,
    )
    assert set(found) == {
        (metric.name, value) for metric in METRICS if metric.kind == "gauge" for value in metric.values
    }
    assert {label or name: value for (name, label), value in found.items() if value} == {
        "daft_workers_wanted": 4,
        "daft_slots": 6,
        "daft_tasks_running": 1,
        "daft_tasks_waiting": 2,
        "daft_queries_running": 5,
        "daft_workers_resident_bytes": 30,
        "daft_partitions_held_bytes": 2,
        "daft_partitions_spilled_bytes": 3,
        "ready": 2,
        "given_up": 1,
        "starting": 1,
    }


def test_the_states_of_workers_are_the_phases_of_the_core() -> None:
    text = (ROOT / "rust_ext" / "core" / "src" / "fleet" / "worker.rs").read_text()
    body = text.partition("pub enum WorkerPhase {")[2].partition("}")[0]
    phases = [re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in re.findall(r"^\s+(\w+),", body, re.MULTILINE)]
    assert sorted(phases) == sorted([*STATES, "absent"])


def test_the_page_lists_every_metric_as_it_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text().partition("## List")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    wanted = []
    for metric in METRICS:
        label = f"`{metric.label}`: {', '.join(f'`{value}`' for value in metric.values)}" if metric.label else ""
        wanted.append([f"`{metric.name}`", metric.kind, label, metric.help])
    assert rows == wanted


def test_names_follow_the_rules_of_prometheus() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"daft_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert metric.help.endswith(".")
        assert metric.buckets == tuple(sorted(set(metric.buckets)))
