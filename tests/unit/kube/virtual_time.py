"""An event loop whose time goes on only when there is nothing to do, and then at once."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from typing import Any


class VirtualTime(asyncio.SelectorEventLoop):
    """For work that waits for time alone; on sockets and other threads it would not wait."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0

    def time(self) -> float:
        return self._seconds

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        if not self._ready and scheduled:  # type: ignore[attr-defined]
            self._seconds = max(self._seconds, scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


def run_for(seconds: float, work: Coroutine[Any, Any, Any]) -> None:
    """Runs the work for so many virtual seconds, then cancels it; what it raised before is raised."""

    async def limited() -> None:
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=seconds)
        if done:
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop = VirtualTime()
    try:
        loop.run_until_complete(limited())
    finally:
        loop.close()
