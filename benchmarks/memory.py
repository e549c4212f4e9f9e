"""Peak memory of every process below a process, sampled while it runs.

Linux counts pages of mapped files (spilled partitions read back) as resident although it may take them away at any
time, so the anonymous share is kept apart: that is what must fit into a worker's limit.
"""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

SAMPLE_INTERVAL_SECONDS = 0.2
LISTING_INTERVAL_SECONDS = 1.0
"""How often new processes are looked for; listing them costs more than a sample, and runs beside what is measured."""

WORKER_MARK = "daft_k8s.worker"
RAY_WORKER_MARK = "ray::"
MEBIBYTE = 1 << 20

_MEMORY_FIELD = re.compile(r"^(VmRSS|RssAnon|RssShmem):\s+(\d+) kB$", re.MULTILINE)


@dataclass(kw_only=True)
class Peak:
    """The highest values seen of one process; each may be from another moment."""

    pid: int
    role: str
    resident_bytes: int = 0
    anonymous_bytes: int = 0

    def line(self) -> str:
        """One line for people."""
        resident, anonymous = self.resident_bytes / MEBIBYTE, self.anonymous_bytes / MEBIBYTE
        return f"{self.role} (pid {self.pid}): peak {anonymous:,.0f} MiB anonymous, {resident:,.0f} MiB resident"


class MemoryWatcher:
    """Samples a process and all its descendants in a thread; use as a context manager."""

    def __init__(self, root_pid: int, *, interval_seconds: float = SAMPLE_INTERVAL_SECONDS) -> None:
        self._root_pid = root_pid
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._peaks: dict[psutil.Process, Peak] = {}
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="memory-watcher", daemon=True)

    def __enter__(self) -> MemoryWatcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def peaks(self) -> list[Peak]:
        """What was seen so far: the driver first, then the workers in the order of their pids.

        Raises:
            RuntimeError: The watcher itself failed, so that what it saw proves nothing.
        """
        if self._failure is not None:
            raise RuntimeError(f"memory was not watched: {self._failure!r}") from self._failure
        with self._lock:
            return sorted(self._peaks.values(), key=lambda peak: (peak.role != "driver", peak.role, peak.pid))

    def worker_peaks(self) -> list[Peak]:
        """Only the processes that run tasks."""
        return [peak for peak in self.peaks() if peak.role == "worker"]

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # kept for `peaks`: a thread's own traceback is easily overlooked
            self._failure = error

    def _watch(self) -> None:
        listed = -math.inf
        while not self._stop.is_set():
            started = time.monotonic()
            if started - listed >= LISTING_INTERVAL_SECONDS:
                self.scan()
                listed = started
            else:
                self.sample()
            self._stop.wait(max(0.0, self._interval_seconds - (time.monotonic() - started)))

    def scan(self) -> None:
        """Looks for new processes, and takes a sample of all."""
        try:
            root = psutil.Process(self._root_pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                # Looked at again each time: until it calls exec, a child shows its parent's command line.
                role = self._role(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            with self._lock:
                peak = self._peaks.setdefault(process, Peak(pid=process.pid, role=role))
                peak.role = role
        self.sample()

    def sample(self) -> None:
        """Takes one sample of every process that is known and alive."""
        for process, peak in list(self._peaks.items()):
            try:
                resident, anonymous = _memory_of(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            peak.resident_bytes = max(peak.resident_bytes, resident)
            peak.anonymous_bytes = max(peak.anonymous_bytes, anonymous)

    def _role(self, process: psutil.Process) -> str:
        if process.pid == self._root_pid:
            return "driver"
        command = " ".join(process.cmdline())
        return "worker" if WORKER_MARK in command or command.startswith(RAY_WORKER_MARK) else "helper"


def _memory_of(process: psutil.Process) -> tuple[int, int]:
    """Resident and anonymous bytes; where the system does not tell them apart, the same number twice."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        resident = int(process.memory_info().rss)
        return resident, resident
    kibibytes = {name: int(number) for name, number in _MEMORY_FIELD.findall(text)}  # a zombie has none of them
    anonymous = kibibytes.get("RssAnon", 0) + kibibytes.get("RssShmem", 0)
    return kibibytes.get("VmRSS", 0) * 1024, anonymous * 1024
