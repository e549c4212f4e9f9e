"""Calls of UDFs that go on after their tasks were cancelled.

Python cannot stop a call. The call keeps its thread, one of the few on which Daft's executor computes. A worker whose
threads are all held by such calls runs nothing any more. The worker reports that to the pool, which replaces the
process where a task waits for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple

_POLL_SECONDS = 0.5
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

LOG_THREAD = "daft-k8s-log"
"""The thread of the extension that writes log records. A handler may hold it, and holds no slot."""


class AbandonedCall(NamedTuple):
    """A call of Python code by a thread that Python did not start."""

    outermost: FrameType
    """Identifies the call: as long as it has not returned, the thread has this frame."""
    innermost: FrameType


@dataclass
class _Cancelled:
    """One cancelled task."""

    key: str
    calls: dict[int, AbandonedCall]
    """By thread: those that went on when it was cancelled. Some may be of `others`."""
    others: list[asyncio.Task[None]]
    """The tasks that ran beside it."""


class AbandonedCalls:
    """Watches calls of cancelled tasks until they have returned. Used on one event loop.

    Args:
        report: Is told how many threads such calls hold, and which calls, whenever the number changes.
        calls: The calls that go on, by thread.
    """

    def __init__(
        self, report: Callable[[int, str], None], *, calls: Callable[[], dict[int, AbandonedCall]] | None = None
    ) -> None:
        self._report = report
        self._calls = calls or calls_from_outside
        self._cancelled: list[_Cancelled] = []
        self._reported = 0
        self._watch: asyncio.Task[None] | None = None

    def task_is_cancelled(self, key: str, others: Iterable[asyncio.Task[None]]) -> None:
        """Begins to watch the calls that go on at the moment.

        Args:
            key: The task.
            others: The tasks that run beside it. A call is taken for the cancelled task's once all of them have ended.
        """
        calls = self._calls()
        if not calls:
            return
        self._cancelled.append(_Cancelled(key, calls, list(others)))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()

    async def _run(self) -> None:
        while self._cancelled:
            await asyncio.sleep(_POLL_SECONDS)
            self._look()

    def _look(self) -> None:
        now = self._calls()
        held: dict[int, str] = {}
        for cancelled in self._cancelled:
            # Frames are let go as soon as they have returned: they keep their variables, hence data, alive.
            cancelled.calls = {
                thread: now[thread]
                for thread, call in cancelled.calls.items()
                if thread in now and now[thread].outermost is call.outermost
            }
            cancelled.others = [other for other in cancelled.others if not other.done()]
            if not cancelled.others:
                words = ((thread, _describe(cancelled.key, call)) for thread, call in cancelled.calls.items())
                held.update((thread, text) for thread, text in words if thread not in held)
        self._cancelled = [cancelled for cancelled in self._cancelled if cancelled.calls]
        if len(held) != self._reported:
            self._reported = len(held)
            self._report(len(held), "; ".join(sorted(set(held.values()))))


def calls_from_outside() -> dict[int, AbandonedCall]:
    """The calls that threads of Daft's executor make into Python now, by thread."""
    # Threads that Python has started have other work, unless logging or the like has made a dummy for one of Daft's.
    own = {
        thread.ident
        for thread in threading.enumerate()
        if not isinstance(thread, threading._DummyThread) or thread.name == LOG_THREAD
    }
    frames = sys._current_frames()
    return {ident: AbandonedCall(_outermost(frame), frame) for ident, frame in frames.items() if ident not in own}


def _outermost(frame: FrameType) -> FrameType:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def _describe(key: str, call: AbandonedCall) -> str:
    """The innermost line of code that is no library's, else the innermost of all."""
    frame: FrameType | None = call.innermost
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    found = frame or call.innermost
    return f"task {key} in {found.f_code.co_name} ({os.path.basename(found.f_code.co_filename)}:{found.f_lineno})"
