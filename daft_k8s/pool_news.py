"""What an allocator tells the pool."""

from __future__ import annotations

from typing import Protocol


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
    def worker_exited(self, worker_id: str, launch_id: int, reason: str, restartable: bool) -> None: ...
