"""The worker's standard output and error, copied to the driver over the stream that the driver opened.

Output still reaches the process's own streams first, in the same system call as before. So the log of a Pod stays
complete, and a crash loses none of it. The copy never blocks the writer. The driver takes one batch at a time and
answers when it has printed it. Faster lines push out the oldest waiting ones, and are counted.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from daft_k8s.handles.driver_calls import begin_call
from daft_k8s.wire.calls import PrintLines
from daft_k8s.wire.worker_output import INTERVAL_SECONDS

if TYPE_CHECKING:
    from typing import TextIO

    from daft_k8s.handles.driver_calls import DriverCaller

WAITING_BYTES = 256 << 10
"""Lines that may wait for the driver. The newest are kept: they tell how a worker or a task ended."""
BATCH_BYTES = 32 << 10
"""Lines of one call."""
LINE_BYTES = 16 << 10
"""A longer line is cut in pieces, as is the output of a program that never ends its line."""
_POLL_SECONDS = 0.02


class OutputCopy:
    """Gathers lines and sends them to the driver. `feed` may be called by any thread; nothing here blocks."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may run a finalizer that prints while this thread holds the lock.
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._begun: dict[int, bytes] = {}
        """Lines without their end, by thread: those of UDFs that run side by side are not mixed."""
        self._caller: DriverCaller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_sending = False
        self._is_forked = False
        os.register_at_fork(after_in_child=self._forget)

    def feed(self, data: bytes) -> None:
        """Takes what a thread has written."""
        if self._is_forked:
            return
        thread = threading.get_ident()
        with self._lock:
            *ended, begun = (self._begun.pop(thread, b"") + data).split(b"\n")
            for line in ended:
                self._add(line)
            while len(begun) > LINE_BYTES:
                self._add(begun[:LINE_BYTES])
                begun = begun[LINE_BYTES:]
            if begun:
                self._begun[thread] = begun
            self._send()

    def bind(self, caller: DriverCaller, loop: asyncio.AbstractEventLoop) -> None:
        """Names the server that calls the driver, and its event loop; what waits is sent when the driver comes."""
        with self._lock:
            self._caller, self._loop = caller, loop
            self._send()

    async def flush(self, timeout_seconds: float) -> None:
        """Waits until the driver has taken all lines, at most for the time-out: the driver may be gone."""
        with self._lock:
            for line in self._begun.values():
                self._add(line)
            self._begun.clear()
            self._send()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        while (self._is_sending or self._lines) and loop.time() < end:
            await asyncio.sleep(_POLL_SECONDS)

    def _add(self, line: bytes) -> None:
        # Of a progress bar, which overwrites its line, the last state.
        line = line.rstrip(b"\r").rpartition(b"\r")[2]
        for start in range(0, max(1, len(line)), LINE_BYTES):
            piece = line[start : start + LINE_BYTES]
            self._lines.append(piece)
            self._waiting_bytes += len(piece) + 1
        while self._waiting_bytes > WAITING_BYTES:
            self._waiting_bytes -= len(self._lines.popleft()) + 1
            self._dropped += 1

    def _send(self) -> None:
        if self._caller is None or self._is_sending or not self._lines:
            return
        batch: list[str] = []
        size = 0
        while self._lines and size < BATCH_BYTES:
            line = self._lines.popleft()
            size += len(line) + 1
            batch.append(line.decode(errors="replace"))
        self._waiting_bytes -= size
        dropped, self._dropped = self._dropped, 0
        self._is_sending = True
        begin_call(self._caller, PrintLines(dropped, tuple(batch)), self._taken)

    def _taken(self, _payload: bytes | None, _error: str | None) -> None:
        """The driver has answered. Called on the event loop."""
        if self._loop is not None:
            self._loop.call_later(INTERVAL_SECONDS, self._send_next)

    def _send_next(self) -> None:
        with self._lock:
            self._is_sending = False
            self._send()

    def _forget(self) -> None:
        """In a forked child, another thread may have held the lock; and the connection is the parent's."""
        self._is_forked = True


class _CopiedFile(io.FileIO):
    """A file descriptor; what is written to it is copied."""

    def __init__(self, descriptor: int, copy: OutputCopy) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._copy = copy

    def write(self, data: Any) -> int:
        written = super().write(data)
        self._copy.feed(bytes(memoryview(data).cast("B")[:written]))
        return written


def copy_output() -> OutputCopy:
    """Puts copying streams in place of `sys.stdout` and `sys.stderr`."""
    copy = OutputCopy()
    sys.stdout = _copied(sys.stdout, copy)
    sys.stderr = _copied(sys.stderr, copy)
    return copy


def _copied(stream: TextIO, copy: OutputCopy) -> TextIO:
    stream.flush()
    file = _CopiedFile(stream.fileno(), copy)
    # As Python does it itself under PYTHONUNBUFFERED: a line without its end is not lost in a crash either.
    is_unbuffered = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        cast("BinaryIO", file) if is_unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
        write_through=is_unbuffered,
    )
