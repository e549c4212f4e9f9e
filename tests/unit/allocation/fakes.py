"""A configuration, a pool that records its news, and a launcher of small scripts in place of workers."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from daft_k8s.allocation.local import LocalLauncher
from daft_k8s.config import Configuration
from daft_k8s.pool_news import ExitCause

SECONDS = 20

READY = """
import json, os, signal, subprocess, sys, time
def ready():
    fd = int(os.environ["DAFT_K8S_INTERNAL_READY_FD"])
    os.write(fd, json.dumps({"control_address": "127.0.0.1:1", "data_address": "127.0.0.1:2"}).encode() + b"\\n")
    os.close(fd)
def wait():
    while True:
        time.sleep(60)
os.makedirs(os.environ["DAFT_K8S_INTERNAL_SPILL_DIR"])
"""


class Pool:
    """Records what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.news: list[tuple[object, ...]] = []
        self.causes: list[ExitCause] = []
        self._changed = threading.Condition()

    def worker_started(
        self,
        worker_id: str,
        launch_id: int,
        control_address: str,
        data_address: str,
        peer_address: str | None = None,
    ) -> None:
        peer = () if peer_address is None else (peer_address,)
        self._add("started", worker_id, launch_id, control_address, data_address, *peer)

    def worker_postponed(self, worker_id: str, launch_id: int, reason: str) -> None:
        self._add("postponed", worker_id, launch_id, reason)

    def worker_admitted(self, worker_id: str, launch_id: int) -> None:
        self._add("admitted", worker_id, launch_id)

    def worker_leaving(self, worker_id: str, launch_id: int) -> None:
        self._add("leaving", worker_id, launch_id)

    def worker_exited(
        self, worker_id: str, launch_id: int, reason: str, restartable: bool, cause: ExitCause = "crash"
    ) -> None:
        self.causes.append(cause)
        self._add("exited", worker_id, launch_id, reason, restartable)

    def _add(self, *news: object) -> None:
        with self._changed:
            self.news.append(news)
            self._changed.notify_all()

    def wait_for(self, kind: str, count: int = 1) -> list[tuple[object, ...]]:
        def found() -> list[tuple[object, ...]]:
            return [news for news in self.news if news[0] == kind]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, SECONDS), f"no {kind}: {self.news}"
            return found()


def make_launcher(
    pool: Pool,
    folder: Path,
    script: str,
    *,
    start_timeout_seconds: float = SECONDS,
    drain_timeout_seconds: float = SECONDS,
) -> LocalLauncher:
    configuration = Configuration(
        num_workers=1,
        worker_cpu=1,
        worker_memory_bytes=256 * 2**20,
        start_timeout_seconds=start_timeout_seconds,
        drain_timeout_seconds=drain_timeout_seconds,
        spill_dir=str(folder),
    )
    return LocalLauncher(
        configuration,
        session_id="session-1",
        token="secret-token",
        manager_getter=lambda: pool,
        command=(sys.executable, "-c", READY + script),
    )


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + SECONDS
    while is_alive(pid):
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
