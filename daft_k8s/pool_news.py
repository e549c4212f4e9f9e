"""The events that an allocator reports to the pool."""

from __future__ import annotations

from typing import Literal, Protocol

ExitCause = Literal["oom", "infrastructure", "crash", "never_started", "stopped"]
"""Why a process ended; each has its own cap on how often a task may meet it.

- `oom`: killed for its memory, or for that of all on its machine;
- `infrastructure`: what it stood on is gone (evicted, preempted, deleted, its node lost, told to stop by others);
- `crash`: it ended by itself, by an exit code or a signal;
- `never_started`: it never came so far that it could take a task;
- `stopped`: the pool asked for it.
"""


class PoolNews(Protocol):
    """The part of `K8sWorkerManager` that is told about processes, whatever starts them."""

    def worker_started(
        self,
        worker_id: str,
        launch_id: int,
        control_address: str,
        data_address: str,
        peer_address: str | None = None,
    ) -> None: ...
    def worker_postponed(self, worker_id: str, launch_id: int, reason: str) -> None:
        """There is no room for it now; it is asked for again until there is, and then `worker_admitted`."""

    def worker_admitted(self, worker_id: str, launch_id: int) -> None: ...
    def worker_leaving(self, worker_id: str, launch_id: int) -> None: ...
    def worker_exited(
        self, worker_id: str, launch_id: int, reason: str, restartable: bool, cause: ExitCause = "crash"
    ) -> None: ...
