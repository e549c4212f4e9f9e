"""The metrics of a session: their list, and their values from facts and from the state of the pool. Pure.

docs/metrics.md lists them for users; a test compares the two.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from daft_k8s._native import Fact, FactKind
from daft_k8s.observe.fact_listener import FactListener
from daft_k8s.pool_news import ExitCause

if TYPE_CHECKING:
    from daft_k8s._native import PoolSnapshot
    from daft_k8s.observe.session_summary import SessionSummary

CAUSES = get_args(ExitCause)
STATES = ("starting", "postponed", "connecting", "ready", "draining", "leaving", "restarting", "given_up")
"""The phases of the core, save that of workers that are not wanted."""
OUTCOMES: Mapping[FactKind, str] = {
    FactKind.TASK_SUCCEEDED: "succeeded",
    FactKind.TASK_FAILED: "failed",
    FactKind.TASK_LOST: "lost",
    FactKind.TASK_CANCELLED: "cancelled",
}
TASK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
START_SECONDS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class Metric:
    """One metric. Labels have few values, all known before: no series comes up while the session runs."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str = ""
    """The name of its label; "": it has none."""
    values: tuple[str, ...] = ("",)
    """The values of the label."""
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram, without the last, which has none."""


METRICS: tuple[Metric, ...] = (
    Metric("daft_queries_started_total", "counter", "Queries that began."),
    Metric("daft_queries_ended_total", "counter", "Queries that are over, in whichever way."),
    Metric("daft_tasks_submitted_total", "counter", "Tasks that Daft has handed out."),
    Metric("daft_tasks_ended_total", "counter", "Tasks that are over.", "outcome", tuple(OUTCOMES.values())),
    Metric("daft_task_attempts_total", "counter", "Attempts that were sent to workers."),
    Metric("daft_task_retries_total", "counter", "Attempts after a task's first."),
    Metric("daft_task_attempts_refused_total", "counter", "Attempts that a worker did not take."),
    Metric("daft_task_attempts_lost_total", "counter", "Attempts that ended with their process.", "cause", CAUSES),
    Metric("daft_task_inputs_missing_total", "counter", "Attempts that could not read their inputs."),
    Metric(
        "daft_task_latency_seconds",
        "histogram",
        "Time from the submission of a task to its success or failure, all attempts included.",
        buckets=TASK_SECONDS,
    ),
    Metric("daft_partitions_published_total", "counter", "Partitions that tasks have made."),
    Metric("daft_partitions_lost_total", "counter", "Partitions that were lost with their workers."),
    Metric("daft_worker_launches_total", "counter", "Processes of workers that were asked for."),
    Metric("daft_worker_postponements_total", "counter", "Launches for which there was no room yet."),
    Metric(
        "daft_worker_start_seconds",
        "histogram",
        "Time from the launch of a process to its readiness, waits for room included.",
        buckets=START_SECONDS,
    ),
    Metric("daft_worker_losses_total", "counter", "Workers that were ready and whose process is gone."),
    Metric("daft_worker_releases_total", "counter", "Idle workers that an elastic pool let go."),
    Metric("daft_worker_replacements_total", "counter", "Workers that were replaced as calls hold all their slots."),
    Metric("daft_worker_process_ends_total", "counter", "Ends of processes, ready or not.", "cause", CAUSES),
    Metric("daft_worker_oomkilled_total", "counter", "Processes that were killed for their memory."),
    Metric("daft_pool_added_workers_total", "counter", "Workers that an elastic pool added for waiting work."),
    Metric("daft_pool_unavailable_total", "counter", "Times at which no worker could come up any more."),
    Metric("daft_session_defects_total", "counter", "Defects of daft_k8s, to be reported."),
    Metric("daft_journal_entries_missed_total", "counter", "Entries that were not read: counters are too low by them."),
    Metric("daft_workers", "gauge", "Workers that are wanted or still drain.", "state", STATES),
    Metric("daft_workers_wanted", "gauge", "Workers that the session wants now."),
    Metric("daft_slots", "gauge", "Tasks that the ready workers can run at once."),
    Metric("daft_tasks_running", "gauge", "Tasks that have a slot, or fetch their inputs for one."),
    Metric("daft_tasks_waiting", "gauge", "Tasks for which no slot is free."),
    Metric("daft_queries_running", "gauge", "Queries that run."),
    Metric("daft_workers_resident_bytes", "gauge", "Memory of the workers' processes, as they reported it last."),
    Metric("daft_partitions_held_bytes", "gauge", "Partitions in the workers' memory."),
    Metric("daft_partitions_spilled_bytes", "gauge", "Partitions on the workers' disks."),
)

_COUNTED: Mapping[FactKind, str] = {
    FactKind.QUERY_BEGAN: "daft_queries_started_total",
    FactKind.QUERY_ENDED: "daft_queries_ended_total",
    FactKind.TASK_SUBMITTED: "daft_tasks_submitted_total",
    FactKind.TASK_SENT: "daft_task_attempts_total",
    FactKind.ATTEMPT_REFUSED: "daft_task_attempts_refused_total",
    FactKind.INPUTS_MISSING: "daft_task_inputs_missing_total",
    FactKind.WORKER_LAUNCHED: "daft_worker_launches_total",
    FactKind.WORKER_POSTPONED: "daft_worker_postponements_total",
    FactKind.WORKER_LOST: "daft_worker_losses_total",
    FactKind.WORKER_RELEASED: "daft_worker_releases_total",
    FactKind.WORKER_REPLACED: "daft_worker_replacements_total",
    FactKind.POOL_UNAVAILABLE: "daft_pool_unavailable_total",
    FactKind.DEFECT: "daft_session_defects_total",
}
"""Facts of these kinds count one."""
_SUMMED: Mapping[FactKind, str] = {
    FactKind.TASK_SUCCEEDED: "daft_partitions_published_total",
    FactKind.SLOTS_LOST: "daft_partitions_lost_total",
    FactKind.POOL_GROWN: "daft_pool_added_workers_total",
}
"""Facts of these kinds count as many as they say."""
_BY_CAUSE: Mapping[FactKind, str] = {
    FactKind.ATTEMPT_LOST: "daft_task_attempts_lost_total",
    FactKind.PROCESS_ENDED: "daft_worker_process_ends_total",
}


@dataclass
class Histogram:
    """Observations in buckets."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    """Observations up to each bound and above the one before; the last: above all."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """The bounds as text, each with the number of observations up to it."""
        found, total = [], 0
        for bound, count in zip([*map(_bound, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class SessionMetrics(FactListener):
    """Counts the facts of a session."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], float] = {
            (metric.name, value): 0.0 for metric in METRICS if metric.kind == "counter" for value in metric.values
        }
        """The counters by name and label."""
        self.histograms = {metric.name: Histogram(metric.buckets) for metric in METRICS if metric.kind == "histogram"}
        self._submitted: dict[int, float] = {}
        self._launched: dict[tuple[str | None, int | None], float] = {}

    def take(self, fact: Fact) -> None:
        kind = fact.kind
        if (name := _COUNTED.get(kind)) is not None:
            self._add(name)
        if (name := _SUMMED.get(kind)) is not None:
            self._add(name, by=fact.count or 0)
        if (name := _BY_CAUSE.get(kind)) is not None and fact.exit_cause in CAUSES:
            self._add(name, fact.exit_cause or "")
        if fact.task is not None:
            self._take_task(fact, fact.task)
        elif fact.launch is not None:
            self._take_process(fact)

    def _take_task(self, fact: Fact, task: int) -> None:
        kind = fact.kind
        if kind == FactKind.TASK_SUBMITTED:
            self._submitted[task] = fact.at_seconds
        elif kind == FactKind.TASK_SENT and (fact.attempt or 1) > 1:
            self._add("daft_task_retries_total")
        elif (outcome := OUTCOMES.get(kind)) is not None:
            self._add("daft_tasks_ended_total", outcome)
            began = self._submitted.pop(task, None)
            if began is not None and outcome in ("succeeded", "failed"):
                self.histograms["daft_task_latency_seconds"].observe(fact.at_seconds - began)

    def _take_process(self, fact: Fact) -> None:
        kind, process = fact.kind, (fact.worker_id, fact.launch)
        if kind == FactKind.WORKER_LAUNCHED:
            self._launched[process] = fact.at_seconds
        elif kind == FactKind.WORKER_READY and (began := self._launched.pop(process, None)) is not None:
            self.histograms["daft_worker_start_seconds"].observe(fact.at_seconds - began)
        elif kind == FactKind.PROCESS_ENDED:
            self._launched.pop(process, None)
            if fact.exit_cause == "oom":
                self._add("daft_worker_oomkilled_total")

    def facts_missed(self, entries: int) -> None:
        """Forgets when things began: their end may be among the facts that are missing."""
        self._add("daft_journal_entries_missed_total", by=entries)
        self._submitted.clear()
        self._launched.clear()

    def _add(self, name: str, value: str = "", *, by: float = 1) -> None:
        self.counts[name, value] += by


def gauges(summary: SessionSummary, pool: PoolSnapshot, slots_per_worker: int) -> dict[tuple[str, str], float]:
    """The gauges by name and label.

    Args:
        summary: The session now.
        pool: The pool at the same time.
        slots_per_worker: Tasks that a worker runs at once.
    """
    states = [_state(worker.phase) for worker in pool.workers]
    found: dict[str, float] = {
        "daft_workers_wanted": summary.wanted,
        "daft_slots": pool.ready_workers * slots_per_worker,
        "daft_tasks_running": summary.running,
        "daft_tasks_waiting": summary.waiting,
        "daft_queries_running": summary.running_queries,
        "daft_workers_resident_bytes": sum(worker.resident_bytes for worker in summary.workers.values()),
        "daft_partitions_held_bytes": summary.held_bytes,
        "daft_partitions_spilled_bytes": summary.spilled_bytes,
    }
    return {
        **{(name, ""): value for name, value in found.items()},
        **{("daft_workers", state): states.count(state) for state in STATES},
    }


def _state(phase: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", phase).lower()


def _bound(value: float) -> str:
    return str(float(value))
