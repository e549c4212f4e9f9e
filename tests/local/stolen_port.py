"""Kills a worker whose program holds its output, takes its port, and collects the tokens that callers show there."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from typing import Any

import daft
import grpc

import daft_k8s
from daft_k8s.allocation.local import LocalLauncher
from daft_k8s.allocation.local_process import LocalProcess
from daft_k8s.wire.ready_line import Ready

SECONDS = 20
WINDOW_SECONDS = 1.5
"""The time in which the thief waits. A driver tries to connect every 0.1 s while it takes a worker for alive."""

ready: dict[int, Ready] = {}
on_ready = LocalLauncher.on_ready


def note(self: LocalLauncher, process: LocalProcess, line: Ready) -> None:
    assert process.pid is not None
    ready[process.pid] = line
    on_ready(self, process, line)


class Thief(grpc.GenericRpcHandler):
    """Notes the credentials of each call, and takes none."""

    def __init__(self) -> None:
        self.stolen: list[str] = []

    def service(self, call: grpc.HandlerCallDetails) -> Any:
        self.stolen += [str(value) for name, value in call.invocation_metadata if name == "authorization"]


@daft.func
def helper(x: int) -> int:
    # Not found among the worker's children: it has a session of its own, and its parent has ended.
    script = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(60)"
    subprocess.run([sys.executable, "-c", script], check=True)
    return os.getpid()


def main() -> None:
    LocalLauncher.on_ready = note  # type: ignore[method-assign]
    daft_k8s.set_runner_k8s(allocation="local", num_workers=2, worker_cpu=1, max_worker_restarts=1000)
    for _ in range(int(sys.argv[1])):
        [pid] = set(daft.from_pydict({"x": [1]}).select(helper(daft.col("x"))).to_pydict()["x"])
        thief = Thief()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((thief,))
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + SECONDS
        while True:
            try:
                server.add_insecure_port(ready[pid].control_address)
                break
            except RuntimeError:
                assert time.monotonic() < end
        server.start()
        assert daft.from_pydict({"x": [1, 2]}).into_partitions(2).sum("x").to_pydict() == {"x": [3]}
        time.sleep(WINDOW_SECONDS)
        server.stop(None)
        print(f"{len(thief.stolen)} stolen", flush=True)
    daft_k8s.shutdown()


if __name__ == "__main__":
    main()
