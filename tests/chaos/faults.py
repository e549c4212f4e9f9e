"""Faults as plain values, and the thread that does them to the workers of a driver."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

WORKER_MODULE = "daft_k8s.worker"

KILL, TERMINATE, PAUSE, CUT_OFF = "kill", "terminate", "pause", "cut off"
PAUSE_SECONDS = 0.5
"""A worker that is stopped this long is slow, not lost."""
CUT_OFF_SECONDS = 6.0
"""Twice the time after which the chaos sessions count a silent worker as lost."""


@dataclass(frozen=True)
class Fault:
    """One thing that happens to one worker.

    Attributes:
        kind: `kill` (SIGKILL), `terminate` (SIGTERM), `pause` (stopped for a moment), `cut off` (stopped until lost).
        delay_seconds: Since the query began.
        victim: Counts the workers that are there; taken modulo their number.
    """

    kind: str
    delay_seconds: float
    victim: int


def draw_faults(dice: random.Random, mean_delay_seconds: float) -> tuple[Fault, ...]:
    """The faults of one run: mostly one kill, sometimes several or of other kinds, seldom none.

    Args:
        dice: Decides everything.
        mean_delay_seconds: Of the exponentially distributed delays; about a query's length.
    """
    count = dice.choices((0, 1, 2, 3), weights=(1, 5, 3, 2))[0]
    kinds = dice.choices((KILL, TERMINATE, PAUSE, CUT_OFF), weights=(12, 4, 3, 1), k=count)
    return tuple(Fault(kind, dice.expovariate(1 / mean_delay_seconds), dice.randrange(64)) for kind in kinds)


def workers_of(driver_pid: int) -> list[psutil.Process]:
    """The worker processes that a driver has started, in the order of their start."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(driver_pid).children(recursive=True)
        workers = [child for child in children if _is_worker(child)]
        return sorted(workers, key=lambda process: (process.create_time(), process.pid))
    return []


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return WORKER_MODULE in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    return False


class FaultInjector:
    """Does faults to the workers of a driver while a query runs. A context manager; leaving it drops what is left.

    Args:
        driver_pid: The driver.
        faults: What is to happen; delays count from entering.
    """

    def __init__(self, driver_pid: int, faults: Iterable[Fault]) -> None:
        self._driver_pid = driver_pid
        self._faults = sorted(faults, key=lambda fault: fault.delay_seconds)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self._paused: list[threading.Timer] = []
        self.done: list[str] = []
        """The faults that happened, for people."""

    def __enter__(self) -> FaultInjector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for timer in self._paused:
            timer.join()

    def _run(self) -> None:
        passed = 0.0
        for fault in self._faults:
            if self._over.wait(fault.delay_seconds - passed):
                return
            passed = fault.delay_seconds
            workers = workers_of(self._driver_pid)
            if workers:
                self._do(fault, workers[fault.victim % len(workers)])

    def _do(self, fault: Fault, worker: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if fault.kind == KILL:
                worker.kill()
            elif fault.kind == TERMINATE:
                worker.send_signal(signal.SIGTERM)
            else:
                worker.suspend()
                seconds = PAUSE_SECONDS if fault.kind == PAUSE else CUT_OFF_SECONDS
                timer = threading.Timer(seconds, _resume, [worker])
                timer.daemon = True
                timer.start()
                self._paused.append(timer)
            self.done.append(f"{fault.kind} of {worker.pid} after {fault.delay_seconds:.3f} s")


def _resume(worker: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.resume()
