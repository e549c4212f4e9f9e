"""The driver's end of workers' calls: each goes to the handler of its type and is answered once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from daft_k8s.driver.worker_calls import WorkerCalls
from daft_k8s.wire.calls import (
    ActorPresence,
    CheckActor,
    ClaimRows,
    Done,
    RowsGranted,
    StartLimit,
    TaskRestarts,
)
from daft_k8s.wire.codec import decode, encode


@dataclass
class Call:
    payload: bytes
    target: str = "a call"
    worker_id: str = "worker-1"
    answers: list[object] = field(default_factory=list)

    def reply(self, payload: bytes) -> None:
        self.answers.append(decode(payload))

    def fail(self, message: str) -> None:
        self.answers.append(message)


def answers(calls: WorkerCalls, payload: bytes) -> list[object]:
    call: Any = Call(payload)
    calls.on_call(call)
    found: list[object] = call.answers
    return found


def test_a_call_goes_to_the_handler_of_its_type() -> None:
    told: list[tuple[str, TaskRestarts]] = []

    def restart(worker_id: str, request: TaskRestarts) -> Done:
        told.append((worker_id, request))
        return Done()

    calls = WorkerCalls()
    calls.add(TaskRestarts, restart)
    calls.add(ClaimRows, lambda worker_id, request: RowsGranted(0, request.num_rows, False))
    assert answers(calls, encode(ClaimRows("counter", "1", 1, 7))) == [RowsGranted(0, 7, False)]
    assert answers(calls, encode(TaskRestarts("query", "1"))) == [Done()]
    assert told == [("worker-1", TaskRestarts("query", "1"))]


def test_what_a_handler_raises_is_the_answer_and_so_is_that_there_is_none() -> None:
    def broken(_worker_id: str, _request: StartLimit) -> None:
        raise KeyError("lost")

    calls = WorkerCalls()
    calls.add(StartLimit, broken)
    assert answers(calls, encode(StartLimit("counter", "1"))) == ["KeyError: 'lost'"]
    assert answers(calls, encode(TaskRestarts("q", "1"))) == ["LookupError: this driver answers no calls to 'a call'"]
    [problem] = answers(calls, b"no message")
    assert "UnpicklingError" in str(problem) or "Error" in str(problem)


def test_a_handler_may_answer_later_or_fail_later() -> None:
    async def check(worker_id: str, request: CheckActor) -> ActorPresence:
        await asyncio.sleep(0)
        if request.generation == 0:
            raise LookupError("no such pool")
        return ActorPresence(True)

    async def scenario() -> list[list[object]]:
        calls = WorkerCalls()
        calls.add(CheckActor, check)
        found = [answers(calls, encode(CheckActor("pool", "pool/0", generation))) for generation in (1, 0)]
        assert found == [[], []]
        while not all(found):
            await asyncio.sleep(0)
        return found

    found = asyncio.run(asyncio.wait_for(scenario(), 10))
    assert found == [[ActorPresence(True)], ["LookupError: no such pool"]]
