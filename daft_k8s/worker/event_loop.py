"""The event loop of a worker and of its actors. Daft runs async UDFs and settles its futures on it.

Python lets some exceptions do more to an event loop than fail one task: SystemExit and KeyboardInterrupt end it, and
before Python 3.12 a future that is given StopIteration is never settled. Here they are users' exceptions as any other.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar, cast

from daft_k8s.wire.raised import CarriedError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_TAKES_STOP_ITERATION = sys.version_info >= (3, 12)
_STOP_ITERATION_TEXT = "StopIteration interacts badly with generators and cannot be raised into a Future"
"""Python's own words."""


class TolerantFuture(asyncio.Future[T]):
    """A future that takes StopIteration as Python 3.12 does, as the cause of a RuntimeError."""

    def set_exception(self, exception: type[BaseException] | BaseException) -> None:
        # Not `isinstance`, which asks the exception for its `__class__`.
        if issubclass(type(exception), StopIteration):
            replaced = RuntimeError(_STOP_ITERATION_TEXT)
            replaced.__cause__ = cast("BaseException", exception)
            exception = replaced
        super().set_exception(exception)


class WorkerLoop(asyncio.SelectorEventLoop):
    """An event loop that what users' code raises neither ends nor leaves waiting."""

    _told_to_stop = False

    # Daft's extension makes its futures with this method, and so does asyncio for the results of threads.
    def create_future(self) -> asyncio.Future[Any]:
        return super().create_future() if _TAKES_STOP_ITERATION else TolerantFuture(loop=self)

    def run_forever(self) -> None:
        self._told_to_stop = False
        while True:
            try:
                super().run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task has ended with it, which its future knows as well. All other tasks go on.
                logger.debug("a coroutine of a UDF raised %s", type(error).__name__)
                if self._told_to_stop:
                    return
            else:
                return

    def stop(self) -> None:
        self._told_to_stop = True
        super().stop()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on a loop of its own, as `asyncio.run` does."""
    loop = WorkerLoop()
    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main)
        # Not `run_until_complete`, which takes for granted that SystemExit of its task has ended the loop.
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        return task.result()
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def start_in_background(name: str) -> WorkerLoop:
    """A running loop on a daemon thread of this name."""
    loop = WorkerLoop()
    threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
    return loop


async def carry(result: Awaitable[T]) -> T:
    """Waits for a future of Daft's, whose stubs call it a coroutine.

    Raises:
        asyncio.CancelledError: This task was cancelled, and never because users' code raised one.
        CarriedError: With all that Daft or users' code raised.
    """
    future = asyncio.ensure_future(result)
    # Not `await future`: what that throws into a chain of coroutines may be changed on its way. A GeneratorExit, for
    # one, closes the inner ones, which see an empty one.
    settled = asyncio.Event()
    future.add_done_callback(lambda _: settled.set())
    try:
        await settled.wait()
    except asyncio.CancelledError:
        future.cancel()
        raise
    error = future.exception()
    if error is not None:
        raise CarriedError(_put_into_future(error))
    return future.result()


def _put_into_future(error: BaseException) -> BaseException:
    """The StopIteration for which a future holds a RuntimeError; any other exception as it is."""
    cause = error.__cause__ if type(error) is RuntimeError and error.args == (_STOP_ITERATION_TEXT,) else None
    return error if cause is None else cause
