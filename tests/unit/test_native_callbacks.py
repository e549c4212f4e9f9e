"""How the extension delivers callbacks: through loops that stumble, close, or whose callbacks raise.

Not covered: workers and connections (tests/local), and the session itself (rust_ext/session).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from daft_k8s._native import K8sWorkerManager
from daft_k8s.config import load
from daft_k8s.driver.setup import DriverSetup

SECONDS = 10.0


class Loop:
    """Runs what it is given on a thread of its own; may refuse some of it first."""

    def __init__(self, failures: int = 0) -> None:
        self._failures = failures
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def call_soon_threadsafe(self, call: Callable[[], Any]) -> None:
        if self._failures > 0:
            self._failures -= 1
            raise MemoryError("not now")
        self._calls.put(call)

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._calls.put(None)
        self._thread.join(SECONDS)


class Launcher:
    def __init__(self, error: Exception | None = None) -> None:
        self.launched: queue.Queue[tuple[str, int]] = queue.Queue()
        self._error = error

    def launch(self, worker_id: str, launch_id: int) -> None:
        self.launched.put((worker_id, launch_id))
        if self._error is not None:
            raise self._error

    def stop(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Nothing runs."""

    def kill(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Nothing runs."""


@contextmanager
def manager_of(loop: Loop, launcher: Launcher) -> Iterator[K8sWorkerManager]:
    setup = DriverSetup(
        session_id="s",
        token="t",
        daft_version="1",
        python_version="3",
        configuration=load({"max_worker_restarts": 0}, environ={}),
        unreachable_timeout_seconds=5,
        certificates=None,
        loop=loop,  # type: ignore[arg-type]
        launcher=launcher,
        on_worker_call=lambda call: None,
        on_worker_ready=lambda worker_id: None,
        on_worker_lost=lambda worker_id, reason: None,
    )
    manager = K8sWorkerManager(setup)
    try:
        yield manager
    finally:
        manager.shutdown(1)
        loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_refuses_a_callback_once_gets_it_again() -> None:
    launcher = Launcher()
    with manager_of(Loop(failures=2), launcher) as manager:
        manager.set_desired_workers(1)
        assert launcher.launched.get(timeout=SECONDS) == ("worker-0", 1)
        manager.set_desired_workers(2)
        assert launcher.launched.get(timeout=SECONDS) == ("worker-1", 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_launch_that_raises_is_told_at_once_to_who_waits_for_the_worker() -> None:
    with manager_of(Loop(), Launcher(OSError("no space left"))) as manager:
        manager.set_desired_workers(1)
        with pytest.raises(RuntimeError, match="no space left"):
            manager.wait_ready(1, SECONDS)


def test_a_time_out_beyond_the_end_of_time_is_none() -> None:
    with manager_of(Loop(), Launcher()) as manager:
        table = pa.table({"x": [1, 2, 3]})
        ref = manager.put(table, 3, table.nbytes)
        (stream,) = manager.fetch([ref], 1e19)
        assert pa.table(stream) == table


def test_a_pool_of_a_thousand_workers_answers_the_scheduler_in_milliseconds() -> None:
    """Daft's scheduler has one thread, and asks for the workers in each of its rounds."""
    launcher = Launcher()
    with manager_of(Loop(), launcher) as manager:
        manager.set_worker_range(0, 1000, 1000)
        for _ in range(1000):
            launcher.launched.get(timeout=SECONDS)
        rounds = []
        for number in range(50):
            manager.worker_exited(f"worker-{number}", 1, "exceeded quota", True, "never_started")
            began = time.thread_time()
            assert len(manager.workers()) == 1000
            rounds.append(time.thread_time() - began)
        assert sorted(rounds)[len(rounds) // 2] < 0.01, rounds
        assert manager.status().workers[-1].worker_id == "worker-999"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_forget_partitions_and_exits() -> None:
    with manager_of(Loop(), Launcher()) as manager:
        table = pa.table({"x": [1, 2, 3]})
        refs = [manager.put(table, 3, table.nbytes) for _ in range(100)]
        child = os.fork()
        if child == 0:
            refs.clear()
            os._exit(7)
        ended: queue.Queue[int] = queue.Queue()
        threading.Thread(target=lambda: ended.put(os.waitpid(child, 0)[1]), daemon=True).start()
        assert os.waitstatus_to_exitcode(ended.get(timeout=SECONDS)) == 7
        assert len(manager.fetch(refs[:1])) == 1
