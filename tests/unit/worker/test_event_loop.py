"""Users' exceptions on the event loop of a worker: each fails one task, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from daft_k8s.wire.raised import CarriedError
from daft_k8s.worker import event_loop
from daft_k8s.worker.event_loop import carry
from tests.local.hostile_exceptions import EXCEPTIONS, WORDS
from tests.local.remote_driver import poll

T = TypeVar("T")

SECONDS = 10


def run(test: Coroutine[Any, Any, T]) -> T:
    return event_loop.run(asyncio.wait_for(test, SECONDS))


async def fail(name: str) -> None:
    await asyncio.sleep(0)
    raise EXCEPTIONS[name]()


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "Exits"])
def test_a_coroutine_that_wants_to_end_the_program_ends_only_itself(name: str) -> None:
    async def test() -> list[str]:
        others = [asyncio.ensure_future(asyncio.sleep(0.01, number)) for number in range(3)]
        failing = asyncio.ensure_future(fail(name))
        await asyncio.wait([failing])
        assert [await other for other in others] == [0, 1, 2]
        return [type(failing.exception()).__name__]

    assert run(test()) == [name]


def test_a_loop_that_is_told_to_stop_while_a_coroutine_wants_to_end_the_program_stops() -> None:
    async def test() -> str:
        asyncio.ensure_future(fail("SystemExit")).add_done_callback(lambda task: task.exception())
        await asyncio.sleep(0)
        return "done"  # in the very round in which the other one raises

    assert run(test()) == "done"


def test_the_program_itself_may_end_the_program() -> None:
    with pytest.raises(SystemExit):
        event_loop.run(fail("SystemExit"))


def test_a_future_takes_stop_iteration() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StopIteration(WORDS))
        with pytest.raises(RuntimeError) as told:
            await future
        assert isinstance(told.value.__cause__, StopIteration)

    run(test())


def test_a_thread_that_raises_stop_iteration_is_not_waited_for_for_ever() -> None:
    with pytest.raises(RuntimeError):
        run(asyncio.to_thread(next, iter([])))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_what_a_future_holds_is_carried_as_it_is(name: str) -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        error = EXCEPTIONS[name]()
        asyncio.get_running_loop().call_soon(future.set_exception, error)

        async def outer() -> Any:
            return await carry(future)

        with pytest.raises(CarriedError) as told:
            await outer()
        assert told.value.error is error

    run(test())


def test_a_cancelled_wait_is_no_error_of_the_user() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(carry(future))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert future.cancelled()

    run(test())


def test_a_loop_in_the_background_outlives_a_coroutine_that_wants_to_end_the_program() -> None:
    loop = event_loop.start_in_background("test")
    try:
        with pytest.raises(SystemExit):
            asyncio.run_coroutine_threadsafe(fail("SystemExit"), loop).result(SECONDS)
        assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "on"), loop).result(SECONDS) == "on"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        poll(lambda: not loop.is_running(), SECONDS, "the loop still runs")
        loop.close()
