"""The lines that workers print and log, shown on the driver's standard error."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from daft_k8s.printable import is_terminal
from daft_k8s.wire.calls import Done, PrintLines
from daft_k8s.wire.worker_output import INTERVAL_SECONDS, shown

BYTES_PER_SECOND = 1 << 20
"""For all workers together. Further lines wait at the workers, and are dropped there. More would flood a terminal, a
notebook or a log store, and each line costs the driver's interpreter time that queries need."""
_SETTLE_SECONDS = 1.0
"""The longest wait for last lines when the session ends."""
_QUIET_SECONDS = 2.5 * INTERVAL_SECONDS
"""A worker that has more lines sends them after its interval, and a round trip."""
_POLL_SECONDS = 0.02


class _Batch(NamedTuple):
    worker_id: str
    request: PrintLines
    printed: asyncio.Future[Done]


class WorkerOutput:
    """Prints the lines of workers. A thread of its own writes: a terminal that is stopped must not stop a query.

    Args:
        as_json: True if workers log JSON.
        keep: Is given all lines of a worker, too; None: they are only shown.
    """

    def __init__(self, *, as_json: bool, keep: Callable[[str, Sequence[str]], None] | None = None) -> None:
        self._as_json = as_json
        self._keep = keep
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        """None: the session has ended."""
        self._thread: threading.Thread | None = None
        self._unprinted = 0
        self._heard = float("-inf")
        self._is_settling = threading.Event()

    def print_lines(self, worker_id: str, request: PrintLines) -> Awaitable[Done]:
        """Takes a worker's lines; the answer comes when they are printed, and lets the worker send more.

        Called on the event loop.
        """
        if self._keep is not None:
            self._keep(worker_id, [str(line) for line in request.lines])
        printed = asyncio.get_running_loop().create_future()
        batch = _Batch(worker_id, request, printed)
        self._heard = time.monotonic()
        self._unprinted += 1
        self._batches.put(batch)
        if self._thread is None:
            self._thread = threading.Thread(target=self._print_all, name="daft_k8s output of workers", daemon=True)
            self._thread.start()
        return printed

    def settle(self) -> None:
        """Waits for lines that are on their way, if there were any a moment ago."""
        self._is_settling.set()
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end and (self._unprinted or time.monotonic() - self._heard < _QUIET_SECONDS):
            time.sleep(_POLL_SECONDS)
        self._batches.put(None)

    def _print_all(self) -> None:
        while (batch := self._batches.get()) is not None:
            terminal = is_terminal(sys.stderr)
            text = _text(batch.worker_id, batch.request, as_json=self._as_json, terminal=terminal)
            with contextlib.suppress(Exception):  # standard error may be closed, or of any class
                if sys.stderr is not None:
                    sys.stderr.write(text)
                    sys.stderr.flush()
            self._is_settling.wait(len(text) / BYTES_PER_SECOND)
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                batch.printed.get_loop().call_soon_threadsafe(self._answer, batch.printed)

    def _answer(self, printed: asyncio.Future[Done]) -> None:
        self._unprinted -= 1
        if not printed.done():
            printed.set_result(Done())


def _text(worker_id: str, request: PrintLines, *, as_json: bool, terminal: bool) -> str:
    # A line's end in a line would let the rest pass for another worker's.
    lines = [part for line in request.lines for part in str(line).split("\n")]
    told = [shown(worker_id, line, as_json=as_json, terminal=terminal) for line in lines]
    if request.dropped:
        told.insert(0, f"({worker_id}) [{request.dropped:,} lines are not shown: they came too fast]")
    return "".join(f"{line}\n" for line in told)
