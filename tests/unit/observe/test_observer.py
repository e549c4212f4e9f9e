"""The observer of a session: what it counts from facts, facts that it missed, and workers' memory.

Not covered: that the session tells the right facts (rust_ext/core), and how they cross (test_native_journal.py).
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s._native import FactKind
from daft_k8s.observe.observer import SessionObserver
from daft_k8s.observe.session_summary import QuerySummary, WorkerSummary
from daft_k8s.wire.calls import ReportMemory

PAGE = 3


class Journal:
    """A journal in memory, read a few facts at once."""

    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.dropped = 0
        self.now = 100.0

    def tell(self, kind: FactKind, query: str | None = None, task: int | None = None) -> None:
        sequence = self.dropped + len(self.facts) + 1
        self.facts.append(SimpleNamespace(sequence=sequence, at_seconds=self.now, kind=kind, query_id=query, task=task))

    def drop_all(self) -> None:
        self.dropped += len(self.facts)
        self.facts.clear()

    def facts_since(self, sequence: int) -> Any:
        unread = [fact for fact in self.facts if fact.sequence > sequence]
        page = unread[:PAGE]
        return SimpleNamespace(
            facts=page,
            read_to=page[-1].sequence if page else max(sequence, self.dropped),
            missed=max(0, self.dropped - sequence),
            is_complete=len(page) == len(unread),
            now_seconds=self.now,
        )


def pool(*tasks: int, unfinished: int = 0, ready: int = 0, alive: int = 0, minimum: int = 0) -> Any:
    return SimpleNamespace(
        workers=[SimpleNamespace(worker_id=f"worker-{number}", tasks=count) for number, count in enumerate(tasks)],
        unfinished_tasks=unfinished,
        ready_workers=ready,
        alive_workers=alive,
        min_workers=minimum,
    )


def test_tasks_are_counted_by_query_and_for_the_session() -> None:
    journal, observer = Journal(), SessionObserver()
    journal.tell(FactKind.QUERY_BEGAN, "a")
    journal.now += 61.5
    journal.tell(FactKind.QUERY_BEGAN, "b")
    for task, query in enumerate(("a", "a", "a", "b", "unknown")):
        journal.tell(FactKind.TASK_SUBMITTED, query, task)
    observer.read(journal.facts_since)
    ends = [FactKind.TASK_SUCCEEDED, FactKind.TASK_CANCELLED, FactKind.TASK_LOST]
    for task, kind in enumerate([*ends, FactKind.TASK_FAILED, FactKind.TASK_SUCCEEDED]):
        journal.tell(kind, task=task)
    for _ in range(2):  # each fact counts once
        found = observer.summary(journal.facts_since, pool(), 1)
        assert (found.done, found.failed, found.running_queries) == (2, 2, 2)
        assert found.queries == (QuerySummary("a", 61, 3, 1), QuerySummary("b", 0, 1, 0))
    journal.tell(FactKind.QUERY_ENDED, "a")
    found = observer.summary(journal.facts_since, pool(), 1)
    assert [query.query for query in found.queries] == ["b"]


def test_facts_that_were_missed_are_told_once_and_what_ran_then_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    journal, observer = Journal(), SessionObserver()
    journal.tell(FactKind.QUERY_BEGAN, "a")
    journal.tell(FactKind.TASK_SUBMITTED, "a", 1)
    observer.read(journal.facts_since)
    for _ in range(2):
        journal.tell(FactKind.QUERY_ENDED, "a")
        journal.drop_all()
        with caplog.at_level(logging.WARNING):
            observer.read(journal.facts_since)
    journal.tell(FactKind.TASK_SUCCEEDED, task=1)
    found = observer.summary(journal.facts_since, pool(), 1)
    assert (found.done, found.queries) == (1, ())
    [warning] = caplog.messages
    assert "1 entries of its journal were dropped" in warning


def test_tasks_beyond_the_slots_of_their_worker_wait_as_those_do_that_no_worker_has() -> None:
    workers = pool(3, 1, 0, unfinished=10, ready=2, alive=3)
    found = SessionObserver().summary(Journal().facts_since, workers, 2)
    assert (found.running, found.waiting) == (3, 7)
    assert (found.ready, found.wanted) == (2, 3)
    assert {name: worker.tasks for name, worker in found.workers.items()} == {
        "worker-0": 3,
        "worker-1": 1,
        "worker-2": 0,
    }


def test_workers_that_are_to_be_started_again_are_wanted() -> None:
    assert SessionObserver().summary(Journal().facts_since, pool(alive=1, minimum=4), 2).wanted == 4


def test_memory_is_that_of_the_workers_that_are_there() -> None:
    journal, observer = Journal(), SessionObserver()
    for worker in ("worker-0", "worker-1", "worker-9"):
        observer.memory.on_report(worker, ReportMemory(10, 2, 1))
    found = observer.summary(journal.facts_since, pool(0, 0), 1)
    assert (found.held_bytes, found.spilled_bytes) == (4, 2)
    assert found.workers["worker-1"] == WorkerSummary(0, 10, 2, 1)
    observer.memory.worker_lost("worker-1")
    assert observer.summary(journal.facts_since, pool(0, 0), 1).held_bytes == 2
