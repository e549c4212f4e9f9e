"""The last lines that workers have written, for a look back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

MAX_BYTES = 4 << 20
"""Of a session: some tens of thousands of lines, and little beside what a driver uses anyway."""

LINE_BYTES = 128
"""Memory of a line beside its characters, so that blank lines count, too."""


class KeptOutput:
    """Keeps lines until there are too many, then drops the oldest. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._lines: deque[tuple[str, str]] = deque()
        self._bytes = 0

    def keep(self, worker_id: str, lines: Iterable[str]) -> None:
        """Adds lines of a worker."""
        with self._lock:
            for line in lines:
                self._lines.append((worker_id, line))
                self._bytes += len(line) + LINE_BYTES
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._lines.popleft()[1]) + LINE_BYTES

    def lines(self, worker_id: str | None = None) -> list[str]:
        """The lines of a worker, or those of all, each with its worker's name in front; the oldest first."""
        with self._lock:
            kept = list(self._lines)
        if worker_id is None:
            return [f"({name}) {line}" for name, line in kept]
        return [line for name, line in kept if name == worker_id]
