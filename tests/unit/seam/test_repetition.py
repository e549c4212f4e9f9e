"""The rules by which a query is run again as a whole, on runs whose tasks and losses a test makes up.

Not covered: real queries (`test_seam_queries`), and workers that are killed (tests/local/test_repetition.py).
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from daft_k8s.errors import Loss, SessionClosedError, WorkerLostError
from daft_k8s.seam.repetition import (
    MAX_REPETITIONS,
    QueryRun,
    QueryRuns,
    leaves_something,
    repeat,
    repeat_until_handed_out,
)


@dataclass
class FakeSession:
    closed: bool = False


@dataclass
class FakeHandle:
    was_sent: bool = False


@dataclass(frozen=True)
class FakeReference:
    slot_id: str
    is_lost: bool = False


GONE = WorkerLostError("worker-1 was lost", loss=Loss.INPUTS)


def run_of(session: Any = None) -> QueryRun:
    return QueryRun(session or FakeSession(), "query-1")


def submit(run: QueryRun, name: str, handle: FakeHandle, *inputs: FakeReference) -> None:
    native: Any = handle
    references: Any = inputs
    run.submit(name, [(0, references)], lambda: native)


def test_a_task_that_comes_after_the_end_of_its_run_is_never_sent() -> None:
    run = run_of()
    runs = QueryRuns()
    runs.begin(run)
    runs.end(run)

    def send() -> Any:
        raise AssertionError("a task of a run that has ended was sent")

    with pytest.raises(SessionClosedError, match="query-1 has ended"):
        run.submit("PhysicalWrite", [], send)
    with pytest.raises(SessionClosedError, match="query-1 has ended"):
        runs.find("query-1")


def test_a_query_that_uploads_is_not_run_again_once_a_task_was_sent() -> None:
    run = run_of()
    run.expect_uploads()
    submit(run, "PhysicalScan->Project", FakeHandle(was_sent=True))
    with pytest.raises(WorkerLostError, match="writes has begun"):
        run.again(GONE)


@pytest.mark.parametrize("loss", list(Loss))
def test_only_losses_that_another_run_may_be_spared_are_run_again(loss: Loss) -> None:
    error = WorkerLostError("lost", loss=loss)
    if loss in (Loss.INPUTS, Loss.INFRASTRUCTURE):
        assert run_of().again(error).query_id != "query-1"
    else:
        with pytest.raises(WorkerLostError) as caught:
            run_of().again(error)
        assert caught.value is error


def test_the_kind_of_a_loss_travels_with_its_error() -> None:
    arrived = pickle.loads(pickle.dumps(GONE))
    assert (str(arrived), arrived.loss) == ("worker-1 was lost", Loss.INPUTS)
    assert WorkerLostError("lost").loss is Loss.UNKNOWN


@pytest.mark.parametrize(
    ("name", "writes"),
    [
        ("PhysicalScan->Project->RepartitionWrite", False),
        ("ShuffleRead->HashAggregate", False),
        ("(ShuffleRead, ShuffleRead)->HashJoin->GatherWrite", False),
        ("InMemoryScan->PhysicalWrite", True),
        ("InMemoryScan->CommitWrite", True),
        ("InMemoryScan->CatalogWrite", False),
        ("InMemoryScan->LanceWrite", False),
        ("PhysicalScan->DataSink", True),
        ("PhysicalScan->StageCheckpointKeys->Project", True),
        ("PhysicalScan->SomethingNew", True),
    ],
)
def test_writes_and_what_is_not_known_leave_something(name: str, writes: bool) -> None:
    assert leaves_something(name) == writes


def test_files_that_are_staged_leave_nothing_but_sinks_do() -> None:
    assert not leaves_something("InMemoryScan->PhysicalWrite", stages_files=True)
    assert not leaves_something("InMemoryScan->CommitWrite", stages_files=True)
    assert leaves_something("InMemoryScan->DataSink->CommitWrite", stages_files=True)
    run = run_of()
    run.stage_files()
    submit(run, "ShuffleRead->PhysicalWrite", FakeHandle(was_sent=True))
    assert run.obstacle() is None


def test_a_write_counts_once_a_worker_was_given_it() -> None:
    run, writer = run_of(), FakeHandle()
    submit(run, "ShuffleRead->PhysicalWrite", writer)
    submit(run, "PhysicalScan->RepartitionWrite", FakeHandle(was_sent=True))
    assert run.obstacle() is None
    writer.was_sent = True
    with pytest.raises(
        WorkerLostError, match=r"^worker-1 was lost \(not run again by daft_k8s: .* writes has begun\)$"
    ):
        run.again(GONE)


def test_data_of_a_collected_dataframe_is_not_given_back_by_another_run() -> None:
    held: list[Any] = [FakeReference("a"), FakeReference("b", is_lost=True)]
    for slot_id, final in (("a", False), ("b", True), ("c", False)):
        run = run_of()
        run.lend(["a", "b"], lambda: held)
        submit(run, "InMemoryScan->Project", FakeHandle(True), FakeReference(slot_id))
        assert (run.obstacle() is not None) == final


def test_a_session_that_is_closed_runs_nothing_again() -> None:
    with pytest.raises(WorkerLostError) as caught:
        run_of(FakeSession(closed=True)).again(GONE)
    assert caught.value is GONE


class Losing:
    """A query that loses data so many times."""

    def __init__(self, losses: int, *, after: int = 0) -> None:
        self.losses = losses
        self.after = after
        self.ids: list[str] = []
        self.closed = 0

    def _begin(self, run: QueryRun) -> bool:
        self.ids.append(run.query_id)
        return len(self.ids) <= self.losses

    def whole(self, run: QueryRun) -> str:
        if self._begin(run):
            raise GONE
        return "answer"

    def stream(self, run: QueryRun) -> Generator[int, None, str]:
        loses = self._begin(run)
        try:
            for number in range(3):
                if loses and number == self.after:
                    raise GONE
                yield number
            return "metadata"
        finally:
            self.closed += 1


SESSION: Any = FakeSession()


def test_a_query_runs_again_under_another_id_with_one_warning_each(caplog: pytest.LogCaptureFixture) -> None:
    query = Losing(2)
    with caplog.at_level(logging.WARNING, "daft_k8s"):
        assert repeat(SESSION, query.whole) == "answer"
    assert len(set(query.ids)) == 3
    assert len(caplog.messages) == 2
    assert f"query {query.ids[0]} is run again as a whole, as {query.ids[1]} (1 of at most 2 times)" in caplog.text
    assert "worker-1 was lost" in caplog.messages[1]


def test_a_query_is_not_run_again_for_ever() -> None:
    query = Losing(99)
    with pytest.raises(WorkerLostError, match=r"it has been run 3 times") as caught:
        repeat(SESSION, query.whole)
    assert len(query.ids) == MAX_REPETITIONS + 1
    assert caught.value.loss is Loss.INPUTS


def test_a_stream_begins_again_until_its_first_result_is_handed_out() -> None:
    query = Losing(2)
    results = repeat_until_handed_out(SESSION, query.stream)
    assert list(results) == [0, 1, 2]
    assert (len(query.ids), query.closed) == (3, 3)
    late = Losing(1, after=1)
    results = repeat_until_handed_out(SESSION, late.stream)
    assert next(results) == 0
    with pytest.raises(WorkerLostError, match="results of it have been handed out"):
        next(results)
    assert (len(late.ids), late.closed) == (1, 1)


def test_the_value_of_a_stream_is_that_of_its_last_run() -> None:
    def outer() -> Generator[int, None, None]:
        values.append((yield from repeat_until_handed_out(SESSION, Losing(1).stream)))

    values: list[Any] = []
    list(outer())
    assert values == ["metadata"]


def test_a_stream_that_is_abandoned_is_closed_at_once() -> None:
    query = Losing(0)
    results = repeat_until_handed_out(SESSION, query.stream)
    next(results)
    results.close()
    assert query.closed == 1


def test_what_else_fails_a_query_is_raised_as_it_is() -> None:
    def broken(_run: QueryRun) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repeat(SESSION, broken)
