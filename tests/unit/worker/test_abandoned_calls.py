"""Calls that go on after their tasks were cancelled: which are counted, and for how long. The threads are real."""

from __future__ import annotations

import _thread
import asyncio
import threading
from collections.abc import Callable
from types import FrameType

import pytest

from daft_k8s.worker import abandoned_calls
from daft_k8s.worker.abandoned_calls import AbandonedCall, AbandonedCalls

Reports = list[tuple[int, str]]
SECONDS = 20


class Foreign:
    """A call in a thread that `threading` does not know, as those of Daft's executor are."""

    def __init__(self) -> None:
        self._begun, self._returned, self._may_return = (threading.Event() for _ in range(3))
        _thread.start_new_thread(self.udf, ())
        assert self._begun.wait(SECONDS)

    def udf(self) -> None:
        self._begun.set()
        self._may_return.wait(SECONDS)
        self._returned.set()

    def end(self) -> None:
        self._may_return.set()
        assert self._returned.wait(SECONDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandoned_calls, "_POLL_SECONDS", 0.01)


@pytest.fixture(autouse=True)
def _without_threads_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out calls that go on before the test: pytest-xdist has threads that `threading` does not know."""
    all_calls = abandoned_calls.calls_from_outside
    before = {thread: call.outermost for thread, call in all_calls().items()}

    def calls() -> dict[int, AbandonedCall]:
        return {thread: call for thread, call in all_calls().items() if before.get(thread) is not call.outermost}

    monkeypatch.setattr(abandoned_calls, "calls_from_outside", calls)


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), SECONDS)


def test_a_call_counts_from_the_cancel_until_it_has_returned() -> None:
    async def scenario() -> None:
        reports: Reports = []
        calls = AbandonedCalls(lambda count, words: reports.append((count, words)))
        foreign = Foreign()
        calls.task_is_cancelled("q/3.1", [])
        await until(lambda: bool(reports))
        [(count, words)] = reports
        assert count == 1
        assert "task q/3.1 in udf (test_abandoned_calls.py:" in words
        foreign.end()
        await until(lambda: len(reports) == 2)
        assert reports[1] == (0, "")

    asyncio.run(scenario())


def test_a_call_counts_once_however_many_tasks_were_cancelled() -> None:
    async def scenario() -> None:
        reports: Reports = []
        calls = AbandonedCalls(lambda count, words: reports.append((count, words)))
        foreign = [Foreign(), Foreign()]
        calls.task_is_cancelled("q/3.1", [])
        calls.task_is_cancelled("q/4.1", [])
        await until(lambda: bool(reports))
        assert reports[0][0] == 2
        for call in foreign:
            call.end()
        await until(lambda: reports[-1][0] == 0)

    asyncio.run(scenario())


def test_a_call_that_may_be_of_a_task_beside_it_counts_when_that_has_ended() -> None:
    async def scenario() -> None:
        reports: Reports = []
        calls = AbandonedCalls(lambda count, words: reports.append((count, words)))
        ends = asyncio.Event()

        async def work() -> None:
            await ends.wait()

        beside = asyncio.create_task(work())
        foreign = Foreign()
        calls.task_is_cancelled("q/3.1", [beside])
        await asyncio.sleep(0.1)
        assert reports == []
        ends.set()
        await until(lambda: bool(reports))
        foreign.end()

    asyncio.run(scenario())


def test_another_call_of_the_same_thread_is_not_the_one_that_was_abandoned() -> None:
    def frame() -> FrameType:
        [call] = [
            call for call in abandoned_calls.calls_from_outside().values() if call.innermost.f_code.co_name == "wait"
        ]
        return call.outermost

    foreign = Foreign()
    found = frame()
    assert found is frame(), "as long as it has not returned"
    assert found.f_code.co_name == "udf"
    foreign.end()


def test_threads_that_python_started_are_none_of_the_executors() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    try:
        assert thread.ident not in abandoned_calls.calls_from_outside()
        assert threading.get_ident() not in abandoned_calls.calls_from_outside()
    finally:
        ends.set()
        thread.join()
