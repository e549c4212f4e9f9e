"""The set-up of a session at its cluster: once, and anew as long as it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ClusterError
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 3.0
"""The time after which a line says that the cluster has not taken the session in yet."""


class SetUp:
    """Runs the set-up, and keeps its result or its problem. Used on one event loop, `cluster_problem` on any thread.

    Args:
        work: Sets up once.
        objects: The session's objects in the cluster.
        start_timeout_seconds: The longest wait for the cluster.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, tuple[Api, Target]]],
        *,
        objects: SessionObjects,
        start_timeout_seconds: float,
    ) -> None:
        self._work = work
        self._objects = objects
        self._start_timeout_seconds = start_timeout_seconds
        self._closed = False
        self._problem = ""
        self.cluster_problem = ""
        """The reason why the cluster cannot be reached at all, with what to change; "": none is known."""
        self.task: asyncio.Task[tuple[Api, Target]] | None = None
        """The last try."""

    def start(self) -> None:
        """Begins the first try; a line says so if it takes long."""
        asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._warn_if_silent)
        self._begin()

    async def result(self) -> tuple[Api, Target]:
        """Waits for the result; begins another try if the last one has failed."""
        task = self.task
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._begin()
        return await asyncio.shield(task)

    def close(self) -> None:
        """Keeps it silent from now on; what is under way goes on."""
        self._closed = True

    def _begin(self) -> asyncio.Task[tuple[Api, Target]]:
        self.task = asyncio.get_running_loop().create_task(self._work())
        self.task.add_done_callback(self._ended)
        return self.task

    def _warn_if_silent(self) -> None:
        """Warns if the cluster has not taken the session in for a while: the first query only waits."""
        if self._closed or self._objects.target is not None or self.cluster_problem:
            return
        api = self._objects.api
        which = "the cluster" if api is None else f"the cluster at {api.address} ({api.origin})"
        logger.warning(
            "%s has not %s for %g s%s; it is waited for, at most start_timeout_seconds (%g)",
            which,
            "taken the session in" if api is not None and api.has_answered else "answered",
            SILENCE_SECONDS,
            f" ({self._problem})" if self._problem else "",
            self._start_timeout_seconds,
        )

    def _ended(self, task: asyncio.Task[tuple[Api, Target]]) -> None:
        problem = None if task.cancelled() else task.exception()  # launches tell it
        self._problem = "" if problem is None else str(problem)
        self.cluster_problem = self._problem if isinstance(problem, ClusterError) else ""
