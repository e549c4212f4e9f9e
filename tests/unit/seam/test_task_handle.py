"""How the pool's outcomes become what Daft's scheduler is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from daft.daft import RayTaskResult
from daft.errors import UDFException

from daft_k8s.errors import TaskError, WorkerLostError
from daft_k8s.seam.limit import LimitCounters
from daft_k8s.seam.task_handle import FailedTaskHandle, SubmittedTaskHandle, TaskHandle, with_source
from daft_k8s.wire.pickled_errors import encode_error
from daft_k8s.wire.raised import CarriedError, is_ordinary
from daft_k8s.wire.task_payload import FlightReference, join_result
from tests.local.hostile_exceptions import EXCEPTIONS, HOSTILE, PROTOCOL, WORDS


@dataclass
class Ref:
    num_rows: int = 3
    size_bytes: int = 24


@dataclass
class Outcome:
    kind: str
    partitions: list[Ref] = field(default_factory=list)
    stats: bytes = b""
    error: bytes = b""
    message: str = ""
    worker_id: str = "worker-1"
    loss: str = ""


class EndedTask:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.cancel_error: Exception | None = None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self.outcome)
        callback(self.outcome)

    def cancel(self) -> None:
        if self.cancel_error is not None:
            raise self.cancel_error


def handle_of(outcome: Outcome, **arguments: Any) -> SubmittedTaskHandle:
    native: Any = EndedTask(outcome)
    return SubmittedTaskHandle(native, query_id="q", task_id=7, name="Scan->Filter", **arguments)


def result_of(outcome: Outcome) -> RayTaskResult:
    return uncarried_result(handle_of(outcome))


def uncarried_result(handle: TaskHandle) -> RayTaskResult:
    """The result; an error must come wrapped, and is raised as it is."""
    try:
        return asyncio.run(handle.get_result())
    except CarriedError as carried:
        error = carried.error
    raise error


def test_success_hands_on_the_references_with_rows_and_bytes() -> None:
    result: Any = result_of(Outcome("success", [Ref(), Ref(0, 0)], b"stats"))
    assert [(part.num_rows, part.size_bytes) for part in result._0] == [(3, 24), (0, 0)]
    assert bytes(result._1) == b"stats"


def test_references_of_dafts_own_shuffle_arrive_as_such() -> None:
    reference = FlightReference(1 << 33, "grpc://127.0.0.1:1", (5 << 32) | 2, 10, 80)
    result: Any = result_of(Outcome("success", [], join_result(b"stats", [reference])))
    (arrived,) = result._0
    assert {name: getattr(arrived, name) for name in vars(reference)} == vars(reference)
    assert bytes(result._1) == b"stats"


def test_the_users_exception_arrives_with_its_type_and_a_note_on_where() -> None:
    with pytest.raises(ZeroDivisionError, match="by the user") as caught:
        result_of(Outcome("failed", error=encode_error(ZeroDivisionError("by the user")), message="line 3 of udf.py"))
    notes = " ".join(caught.value.__notes__)
    for part in ("task 7", "Scan->Filter", "query q", "worker-1", "line 3 of udf.py"):
        assert part in notes


def test_a_udf_exception_stays_one_and_keeps_its_cause() -> None:
    error = UDFException("the UDF failed")
    error.__cause__ = KeyError("the user's")
    with pytest.raises(UDFException) as caught:
        result_of(Outcome("failed", error=encode_error(error)))
    assert isinstance(caught.value.original_exception, KeyError)


@pytest.mark.parametrize("error", [b"", b"garbage", encode_error(SystemExit(3))])
def test_an_error_that_cannot_be_raised_here_becomes_a_task_error(error: bytes) -> None:
    with pytest.raises(TaskError, match=r"(?s)task 7 .* on worker-1 failed: .*the text"):
        result_of(Outcome("failed", error=error, message="the text"))


@pytest.mark.parametrize("name", PROTOCOL)
def test_an_error_on_which_python_would_act_is_the_cause_of_a_runtime_error(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"(?s)task 7 .* on worker-1 failed: {name}: {WORDS}") as caught:
        result_of(Outcome("failed", error=encode_error(EXCEPTIONS[name]())))
    assert type(caught.value.__cause__).__name__ == name


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_that_misbehaves_is_raised_all_the_same(name: str) -> None:
    outcome = Outcome("failed", error=encode_error(EXCEPTIONS[name]()), message="the worker's traceback")
    with pytest.raises(CarriedError) as caught:
        asyncio.run(handle_of(outcome).get_result())
    assert is_ordinary(caught.value.error)


def test_lost_workers_are_named() -> None:
    with pytest.raises(WorkerLostError, match="worker-1 was lost: killed four times"):
        result_of(Outcome("lost", message="killed four times"))


def test_a_task_that_daft_cancelled_ends_as_cancelled() -> None:
    async def scenario() -> None:
        handle = handle_of(Outcome("cancelled"))
        handle.cancel()
        await handle.get_result()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


def test_a_task_that_somebody_else_cancelled_is_an_error() -> None:
    with pytest.raises(TaskError, match="was cancelled: the session ends"):
        result_of(Outcome("cancelled", message="the session ends"))


@pytest.mark.parametrize("kind", ["success", "failed", "lost", "cancelled"])
def test_a_task_lets_go_of_its_actors_when_it_ends_however_it_ends(kind: str) -> None:
    released: list[str] = []
    handle = handle_of(Outcome(kind, stats=b"stats"), release_actors=lambda: released.append(kind))
    assert released == []
    asyncio.run(asyncio.wait_for(_outcome_of(handle), 10))
    assert released == [kind]


async def _outcome_of(handle: SubmittedTaskHandle) -> None:
    with contextlib.suppress(Exception):
        await handle.get_result()


def test_a_task_that_is_cancelled_before_daft_asks_for_its_result_lets_go_of_its_actors() -> None:
    released: list[int] = []
    handle_of(Outcome("cancelled"), release_actors=lambda: released.append(1)).cancel()
    assert released == [1]


def test_cancelling_never_raises() -> None:
    native: Any = EndedTask(Outcome("cancelled"))
    native.cancel_error = RuntimeError("the pool is gone")
    SubmittedTaskHandle(native, query_id="q", task_id=1, name="Scan").cancel()


def test_a_task_that_could_not_be_submitted_fails_where_daft_looks() -> None:
    handle = FailedTaskHandle(ValueError("cannot be pickled"))
    handle.cancel()
    with pytest.raises(ValueError, match="cannot be pickled"):
        uncarried_result(handle)


def test_a_second_run_that_leaves_a_limit_short_is_an_error() -> None:
    async def scenario() -> None:
        counter = LimitCounters().create(10, 0)
        for rows in (6, 4):
            counter.counter.claim("7", counter.counter.start("7", "worker-1"), rows)
        await handle_of(Outcome("success"), counters=[counter]).get_result()

    with pytest.raises(CarriedError, match="found 2 rows fewer") as caught:
        asyncio.run(scenario())
    assert type(caught.value.error) is WorkerLostError


def note_of(message: str, error: Exception) -> str:
    with pytest.raises(type(error)) as caught:
        result_of(Outcome("failed", error=encode_error(error), message=message))
    [note] = caught.value.__notes__
    return str(note)


def test_an_error_says_once_what_it_is_and_where_it_was_raised() -> None:
    where = "raised in task 7 (Scan->Filter) of query q on worker-1"
    head = "task q/7.1 (Scan->Filter) failed on worker-1:"
    assert note_of(f"{head}\nValueError: no\n", ValueError("no")) == where
    shared = head.replace("worker-1:", "worker-1 (it shared a pipeline with other tasks):")
    assert note_of(f"{shared}\nValueError: no\n", ValueError("no")) == f"{where}\n{shared}"
    lines = 'the UDF failed here:\n  File "job.py", line 4, in price\n    return 1 / x'
    assert note_of(f"{head}\nValueError: no\n{lines}\n", ValueError("no")) == f"{where}\n{lines}"
    traceback = f"Traceback (most recent call last):\n{lines.partition(chr(10))[2]}\nValueError: no"
    assert note_of(f"{head}\n{traceback}\n", ValueError("no")) == f"{where}\n{traceback}"


def test_lines_of_source_that_only_the_driver_has_are_added(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("def price(x):\n    return 1 / x\n")
    frame = f'  File "{script}", line 2, in price'
    assert with_source(f"here:\n{frame}\nValueError") == f"here:\n{frame}\n    return 1 / x\nValueError"
    known = f"here:\n{frame}\n    return 2 / x"
    assert with_source(known) == known, "the worker's own source counts"
    unknown = '  File "/nowhere/job.py", line 2, in price'
    assert with_source(unknown) == unknown


@pytest.mark.parametrize(
    "reference", [FlightReference(-1, "grpc://127.0.0.1:1", 2, 3, 4), FlightReference(1, "", 1 << 64, 3, 4)]
)
def test_a_report_that_is_none_is_an_error_that_names_the_worker(reference: FlightReference) -> None:
    report = join_result(b"stats", [reference])
    for stats in (report, report[:-3]):
        with pytest.raises(
            TaskError, match=r"task 7 .* of query q: worker worker-1 ended it with a report that is none"
        ):
            result_of(Outcome("success", stats=stats))
