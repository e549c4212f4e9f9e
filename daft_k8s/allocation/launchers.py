"""The choice of the launcher that starts a session's workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from daft_k8s.allocation.driver_snapshot import DriverSnapshot
    from daft_k8s.config import Configuration
    from daft_k8s.pool_news import PoolNews


class Launcher(Protocol):
    """An allocator: what the pool asks of it, and the end."""

    @property
    def patience_seconds(self) -> float:
        """Seconds for which the pool waits for a worker that does not answer."""

    @property
    def cluster_problem(self) -> str:
        """The reason why the cluster cannot be reached at all, with what to change; "": none is known."""

    def launch(self, worker_id: str, launch_id: int) -> None: ...
    def stop(self, worker_id: str, launch_id: int, reason: str) -> None: ...
    def kill(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Ends a process that would not stop by itself; `worker_exited` of the pool follows."""

    def worker_ready(self, worker_id: str) -> None:
        """The pool has reached the process that it was told of last, and gives it work."""

    def shutdown(self, timeout_seconds: float) -> None:
        """Ends and reaps whatever it has started; blocks at most about `timeout_seconds`."""


def make_launcher(
    configuration: Configuration,
    *,
    session_id: str,
    token: str,
    certificates: Mapping[str, bytes],
    manager_getter: Callable[[], PoolNews | None],
    summarize: Callable[[], str] = str,
    keep_output: Callable[[str, Sequence[str]], None] | None = None,
    environment: DriverSnapshot | None = None,
) -> Launcher:
    """The launcher that the configuration names.

    Args:
        configuration: The kind of workers.
        session_id: The session.
        token: The session's secret.
        certificates: The files with which a worker proves who it is; empty: nothing is encrypted.
        manager_getter: Gives the pool, which is made after its launcher; None once it is gone.
        summarize: Returns the session's summary, for readers outside; "": nothing yet.
        keep_output: Takes lines that local workers write, with the worker's name; None: no lines are kept.
        environment: The driver's surroundings, which local workers share; None: as they are now.

    Raises:
        UnsupportedError: Something that it is asked for is not there yet.
        ConfigurationError: The configuration cannot become a Pod.
    """
    if configuration.allocation in ("pod", "statefulset"):
        from daft_k8s.kube.launch.launcher import PodLauncher

        return PodLauncher(
            configuration,
            session_id=session_id,
            token=token,
            certificates=certificates,
            manager_getter=manager_getter,
            summarize=summarize,
        )
    from daft_k8s.allocation.local import LocalLauncher

    return LocalLauncher(
        configuration,
        session_id=session_id,
        token=token,
        certificates=certificates,
        manager_getter=manager_getter,
        keep_output=keep_output,
        environment=environment,
    )
