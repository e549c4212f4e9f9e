"""The worker process with a stub of the extension; what the stub's "driver" does is given by the first argument."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft_k8s.worker.setup import WorkerSetup


class WorkerServer:
    """Serves nobody."""

    instance_id = "instance"
    control_address = "127.0.0.1:1"
    data_address = "127.0.0.1:2"

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup

    def set_serving(self) -> None:
        if sys.argv[1] == "drains":
            self._setup.loop.call_soon_threadsafe(self._setup.on_stop, "the driver asked")

    def set_stuck(self, slots: int, calls: str) -> None: ...

    def begin_drain(self) -> None:
        print("draining", flush=True)

    def memory_status(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(resident_bytes=0, store_bytes=0, spilled_bytes=0)

    def running_tasks(self) -> int:
        return 1 if sys.argv[1] == "is-busy" else 0

    def shutdown(self) -> None:
        print("shut down", flush=True)


if __name__ == "__main__":
    native: Any = types.ModuleType("daft_k8s._native")
    native.ArrowStream = object  # imported, and never used where no task runs
    if sys.argv[1] != "has-no-extension":
        native.WorkerServer = WorkerServer
        native.log_to = lambda logger: None
        native.flush_log = lambda: True
    sys.modules["daft_k8s._native"] = native
    from daft_k8s.worker.process import main

    sys.exit(main())
