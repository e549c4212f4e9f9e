"""The output of a child process, read line by line until nothing can write to it any more."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import IO

MAX_LINE_BYTES = 64 << 10
"""Longer lines are cut in pieces."""


class OutputReader:
    """Reads on a thread of its own.

    Args:
        stream: The pipe that the process writes to. Programs that it has started may hold it open for ever.
        on_line: Takes each line, without its end. May raise.
        name: Names the thread.
    """

    def __init__(self, stream: IO[bytes], on_line: Callable[[str], None], *, name: str) -> None:
        self._stream = stream
        self._on_line = on_line
        self._rest = b""
        self._ended_read, self._ended_write = os.pipe()
        self._caught_up = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def catch_up(self, timeout_seconds: float) -> None:
        """Waits until all that is in the pipe has been read, by a process that has ended. To be called once."""
        os.close(self._ended_write)
        self._caught_up.wait(timeout_seconds)

    def _run(self) -> None:
        poll = select.poll()  # select() knows no file descriptors above 1023
        output, ended = self._stream.fileno(), self._ended_read
        poll.register(output, select.POLLIN)
        poll.register(ended, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if output in ready:
                    if not self._read(output):
                        return
                else:  # what comes from now on was written by others
                    poll.unregister(ended)
                    self._finish_line()
                    self._caught_up.set()
        finally:
            self._finish_line()
            self._caught_up.set()
            os.close(ended)
            self._stream.close()

    def _read(self, output: int) -> bool:
        chunk = os.read(output, MAX_LINE_BYTES)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._report(line)
        while len(self._rest) >= MAX_LINE_BYTES:
            self._report(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        return bool(chunk)

    def _finish_line(self) -> None:
        if self._rest:
            self._report(self._rest)
            self._rest = b""

    def _report(self, raw: bytes) -> None:
        for start in range(0, max(1, len(raw)), MAX_LINE_BYTES):
            line = raw[start : start + MAX_LINE_BYTES].decode(errors="replace").rstrip("\r")
            with contextlib.suppress(Exception):  # a pipe that nobody reads blocks the process
                self._on_line(line)
