"""Calls from a worker to its driver, with a fake server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daft_k8s.handles.driver_calls import DriverCallError, call_driver, set_current_worker
from daft_k8s.wire.calls import LimitStarted, StartLimit
from daft_k8s.wire.codec import decode, encode

REQUEST = StartLimit("counter", "12")


@pytest.fixture(autouse=True)
def no_worker_afterwards() -> Iterator[None]:
    yield
    set_current_worker(None)


class Caller:
    def __init__(self, answer: Callable[..., None]) -> None:
        self._answer = answer

    def call_driver(self, target: str, payload: bytes, callback: Any) -> None:
        self._answer(target, payload, callback)


def test_the_answer_is_returned() -> None:
    def answer(target: str, payload: bytes, callback: Any) -> None:
        assert target == "StartLimit"
        reply = LimitStarted(len(decode(payload).input_id))
        asyncio.get_running_loop().call_soon(callback, encode(reply), None)

    set_current_worker(Caller(answer))
    assert asyncio.run(call_driver(REQUEST)) == LimitStarted(2)


def test_an_answer_from_another_thread_reaches_the_callers_loop() -> None:
    def answer(target: str, payload: bytes, callback: Any) -> None:
        threading.Thread(target=callback, args=(encode(LimitStarted(3)), None)).start()

    set_current_worker(Caller(answer))
    assert asyncio.run(asyncio.wait_for(call_driver(REQUEST), 10)) == LimitStarted(3)


def test_an_error_of_the_driver_is_raised_with_its_words() -> None:
    set_current_worker(Caller(lambda target, payload, callback: callback(None, "the query has ended")))
    with pytest.raises(DriverCallError, match=r"StartLimit.*the query has ended"):
        asyncio.run(call_driver(REQUEST))


def test_outside_a_worker_the_error_says_so() -> None:
    with pytest.raises(DriverCallError, match="worker process only"):
        asyncio.run(call_driver(REQUEST))


def test_an_answer_after_the_caller_gave_up_does_nothing() -> None:
    callbacks: list[Any] = []
    set_current_worker(Caller(lambda target, payload, callback: callbacks.append(callback)))

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call_driver(REQUEST), 0.01)
        callbacks[0](encode(LimitStarted(1)), None)

    asyncio.run(give_up())
