"""The one end of each task, also if its exception misbehaves. With Daft's executor: test_real_executor.py."""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.wire.raised import CarriedError, headline
from daft_k8s.wire.task_payload import encode_payload
from daft_k8s.worker import task_runner
from daft_k8s.worker.code import WorkerCode
from daft_k8s.worker.task_runner import TaskRunner
from tests.local.hostile_exceptions import EXCEPTIONS, HOSTILE, PROTOCOL


class Stream:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def next(self) -> Any:
        raise CarriedError(self._error)

    async def try_finish(self) -> Any:
        raise AssertionError("the results have not ended")


class Executor:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def start(self, request: Any, pipeline_id: int) -> Stream:
        return Stream(self._error)

    async def probe(self, request: Any, pipeline_id: int) -> None:
        """The pipeline takes inputs."""

    def cancel(self, pipeline_id: int) -> None:
        """Nothing runs."""


class Server:
    def __init__(self, *, problem: Exception | None = None) -> None:
        self.ended = asyncio.Event()
        self.ends: list[tuple[str, bytes, str]] = []
        self._problem = problem

    def put_output(self, *arguments: Any) -> None:
        raise AssertionError("there is no output")

    def finish_task(self, key: str, stats: bytes) -> None:
        raise AssertionError("the task has failed")

    def cancelled_task(self, key: str) -> None:
        raise AssertionError("the task was not cancelled")

    def fail_task(self, key: str, error: bytes, message: str) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        message.encode()
        self.ends.append((key, error, message))
        self.ended.set()


class Plan:
    def has_partitioned_output(self) -> bool:
        return False


TASK: Any = SimpleNamespace(config=lambda: None, context=lambda: {"query_id": "q"}, inputs=dict)
COMMAND: Any = SimpleNamespace(
    key="q/1.1",
    query_id="q",
    task_id=1,
    attempt=1,
    name="UDFProject",
    plan_hash="hash",
    plan=pickle.dumps(Plan()),
    payload=encode_payload(TASK),
    inputs=[],
)


def end_of(error: BaseException, **options: Any) -> tuple[str, bytes, str]:
    async def scenario() -> tuple[str, bytes, str]:
        server = Server(**options)
        executor: Any = Executor(error)
        runner = TaskRunner(executor=executor, worker_id="worker-0", code=WorkerCode("unused"))
        runner.bind(server)
        runner.on_task(COMMAND)
        await asyncio.wait_for(server.ended.wait(), 10)
        await asyncio.sleep(0)
        assert runner.running == 0
        (end,) = server.ends
        return end

    return asyncio.run(scenario())


@pytest.mark.parametrize("name", [*PROTOCOL, *HOSTILE])
def test_a_task_whose_exception_misbehaves_is_told_as_failed(name: str) -> None:
    error = EXCEPTIONS[name]()
    key, _, message = end_of(error)
    assert key == "q/1.1"
    assert message.startswith("task q/1.1 (UDFProject) failed on worker-0")
    assert headline(error)[:40] in message


def test_a_task_whose_end_cannot_be_described_is_told_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        raise SystemError("not described")

    monkeypatch.setattr(task_runner, "traceback_of", fail, raising=True)
    _, error, message = end_of(ValueError("no"))
    assert error == b""
    assert "its end could not be described: SystemError: not described" in message


def test_a_task_whose_report_fails_is_told_as_failed() -> None:
    _, error, message = end_of(ValueError("no"), problem=UnicodeError("not a text"))
    assert error == b""
    assert "UnicodeError: not a text" in message
