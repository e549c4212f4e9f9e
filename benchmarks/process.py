"""The caller's side of `benchmarks.engine`: starts it, sends commands, and ends it with all that it started.

Every wait has an end. An engine that does not answer in time is killed together with its workers; the caller
gets an `EngineError` and may start another.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import psutil

from benchmarks.engine import ENGINES

START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 30.0
REPOSITORY = Path(__file__).resolve().parents[1]
LOG_TAIL_BYTES = 2_000
SPILL_LOG_MARK = b"spill"

_QUIET = {"DAFT_PROGRESS_BAR": "0", "DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true"}
"""No bars in the log, and no report to Daft's makers inside a measurement."""


class EngineError(RuntimeError):
    """A command failed in the engine, or the engine died or did not answer in time; the message says which."""

    def __init__(self, message: str, *, engine_lost: bool) -> None:
        super().__init__(message)
        self.engine_lost = engine_lost


def is_available(engine: str) -> bool:
    """Whether the packages of an engine are installed."""
    module = {"native": "daft", "daft_k8s": "daft_k8s", "ray": "ray"}[engine]
    return importlib.util.find_spec(module) is not None


class EngineProcess:
    """One engine process; use as a context manager.

    Args:
        engine: One of `ENGINES`.
        log: File that gets all that the engine and its workers print; overwritten.
        workers: Number of local workers (not for native).
        worker_cpu: CPUs of each.
        worker_memory: Memory of each, such as "4GiB"; None leaves the runner's default.
        environment: Variables for the process on top of this one's.
    """

    def __init__(
        self,
        engine: str,
        *,
        log: Path,
        workers: int = 2,
        worker_cpu: float = 1,
        worker_memory: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"unknown engine {engine!r}; choose from {', '.join(ENGINES)}")
        self.engine = engine
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.engine", engine, "--workers", str(workers)]
        command += ["--worker-cpu", f"{worker_cpu:g}"]
        if worker_memory is not None:
            command += ["--worker-memory", worker_memory]
        search_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        variables = {**os.environ, "PYTHONPATH": search_path, **_QUIET, **(environment or {})}
        variables.pop("DAFT_RUNNER", None)  # the engine chooses its runner itself
        with log.open("wb") as log_file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log_file, env=variables
            )
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        assert self._process.stdout is not None  # both pipes were asked for above
        reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"{engine}-answers", daemon=True
        )
        reader.start()
        self._reader = reader

    @property
    def pid(self) -> int:
        """Process id of the engine; its workers are its descendants."""
        return self._process.pid

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self, *, data: Path | None = None, scale_factor: float = 1.0) -> dict[str, Any]:
        """Sets the runner and fetches the first row; with `data`, opens its TPC-H tables."""
        return self.call(
            START_TIMEOUT_SECONDS, "start", data=None if data is None else str(data), scale_factor=scale_factor
        )

    def call(self, timeout_seconds: float, command: str, **parameters: object) -> dict[str, Any]:
        """Runs one command of `benchmarks.engine` and returns its answer.

        Raises:
            EngineError: The command failed, the engine died, or the time is over (the engine is then killed).
        """
        request = json.dumps({"command": command, **parameters}) + "\n"
        try:
            assert self._process.stdin is not None  # asked for in the constructor
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except OSError:
            raise self._lost() from None
        try:
            line = self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            self.kill()
            message = f"{self.engine} gave no answer to {command} within {timeout_seconds:g} s and was killed"
            raise EngineError(message, engine_lost=True) from None
        if line is None:
            raise self._lost()
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise EngineError(str(answer["error"]), engine_lost=False)
        return answer

    def close(self) -> None:
        """Ends the engine in good order, and by force where that fails; returns when nothing is left."""
        descendants = self._descendants()
        if self._process.poll() is None:
            with contextlib.suppress(EngineError):
                self.call(STOP_TIMEOUT_SECONDS, "stop")
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        _kill_all(descendants)
        self._reader.join(timeout=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kills the engine and everything that it started."""
        descendants = self._descendants()
        self._process.kill()
        self._process.wait(timeout=STOP_TIMEOUT_SECONDS)
        _kill_all(descendants)

    def spill_lines(self) -> list[str]:
        """Lines of the log that speak of spilling."""
        with self.log.open("rb") as file:
            return [line.decode(errors="replace").rstrip() for line in file if SPILL_LOG_MARK in line.lower()]

    def _descendants(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self._process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def _read(self, answers: BinaryIO) -> None:
        with answers:
            for line in answers:
                self._answers.put(line)
        self._answers.put(None)

    def _lost(self) -> EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_TIMEOUT_SECONDS)
        tail = self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
        message = f"{self.engine} ended with exit status {self._process.returncode}; {self.log} ends with:\n{tail}"
        return EngineError(message, engine_lost=True)


def _kill_all(processes: list[psutil.Process]) -> None:
    """Kills what is left of `processes`; psutil sees to it that a reused pid is not hit."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT_SECONDS)
