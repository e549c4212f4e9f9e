"""The results of one running plan, pulled on the event loop a few ahead of their consumer."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft.daft import PyExecutionStats

    from daft_k8s.seam.partitions import K8sMaterializedResult

from daft_k8s.wire.raised import ordinary

logger = logging.getLogger("daft_k8s")

CLOSE_TIMEOUT_SECONDS = 5.0
"""Seconds for which closing waits until the event loop has released the plan."""


class _Failure:
    """An error of the plan on its way to the consumer's thread, where it is unwrapped."""

    def __init__(self, error: BaseException) -> None:
        self.error = ordinary(error)


_END = object()


class ResultStream:
    """Iterates over the results of one plan in the consumer's thread.

    Args:
        loop: Daft's event loop; the plan's own stream works on no other.
        partitions: The result of `DistributedPhysicalPlanRunner.run_plan`.
        make_result: Turns one reference of the plan into a result. Runs on the event loop.
        ahead: The number of results that are pulled ahead of the consumer.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        partitions: Any,
        make_result: Callable[[Any], K8sMaterializedResult],
        *,
        ahead: int,
    ) -> None:
        self._loop = loop
        self._partitions = partitions
        self._make_result = make_result
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(ahead)
        self._pump: Future[None] = asyncio.run_coroutine_threadsafe(self._pull(), loop)

    async def _pull(self) -> None:
        try:
            while True:
                await self._room.acquire()
                # Not `async for`: Daft ends with None, and a StopAsyncIteration would be a user's.
                reference = await self._partitions.__anext__()
                if reference is None:
                    break
                self._results.put(self._make_result(reference))
        except BaseException as error:
            self._results.put(_Failure(error))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._results.put(_END)

    def __iter__(self) -> Iterator[K8sMaterializedResult]:
        while True:
            result = self._results.get()
            if result is _END:
                return
            if isinstance(result, _Failure):
                raise result.error
            self._loop.call_soon_threadsafe(self._room.release)
            yield result
            # The consumer may drop the result before the next one is there, and with it the data.
            del result

    def close(self) -> PyExecutionStats | None:
        """Stops the plan if it still runs, and returns Daft's statistics. Never raises, safe to repeat."""
        try:
            self._pump.cancel()
            if self._loop.is_running() and not self._is_on_loop():
                settled: Future[None] = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop)
                settled.result(CLOSE_TIMEOUT_SECONDS)
        except (CancelledError, FutureTimeoutError, RuntimeError):
            logger.debug("the event loop did not release a plan", exc_info=True)
        partitions, self._partitions = self._partitions, None
        if partitions is None:
            return None
        try:
            # Also after a failure: it tells subscribers about operators that never came to their end.
            stats: PyExecutionStats = partitions.finish()
        except Exception:
            logger.warning("Daft's statistics of a query could not be collected", exc_info=True)
            return None
        return stats

    def _is_on_loop(self) -> bool:
        # The garbage collector may close a forgotten generator on any thread, also on the loop's.
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False
