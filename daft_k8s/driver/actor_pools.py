"""The driver's end of actors: starts pools and answers workers' calls, as the extension decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.errors import ActorError, ConfigurationError, SessionClosedError
from daft_k8s.wire.calls import ActorEvent, ActorNews, ActorPresence, ActorRoute, CheckActor, Done, FindActor
from daft_k8s.wire.raised import add_note, is_ordinary

if TYPE_CHECKING:
    from daft_k8s._native import ActorFailure, K8sWorkerManager
    from daft_k8s.driver.actor_request import PoolRequest
    from daft_k8s.driver.session import Session

_EVENTS = {
    ActorEvent.READY: "ready",
    ActorEvent.KILLED: "killed",
    ActorEvent.LATE: "late",
    ActorEvent.FAILED: "failed",
}
"""The events of which the extension is told. A worker restarts an actor's process by itself."""


@dataclass(frozen=True)
class ActorPool:
    """A pool that has started."""

    pool_id: str
    actor_ids: tuple[str, ...]
    """The actors that the pool goes on with; at least one."""


class ActorPools:
    """The session's actors. All methods but those that answer workers are thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.calls.add(ActorNews, self.on_news)
        session.calls.add(FindActor, self.find_actor)
        session.calls.add(CheckActor, self.check_actor)

    # ------------------------------------------------------------------------------- starting

    async def start(self, request: PoolRequest) -> ActorPool:
        """Starts a pool; returns it as soon as all its actors are ready, or with those that are after the time-out.

        Raises:
            ConfigurationError: The request makes no sense.
            ActorError: No worker could ever hold one of its actors, or none came up in time.
            Exception: The exception of a constructor.
        """
        pool_id, started = self.begin(request)
        try:
            return await asyncio.wrap_future(started)
        except asyncio.CancelledError:
            self.end(pool_id)
            raise

    def begin(self, request: PoolRequest) -> tuple[str, Future[ActorPool]]:
        """As `start`, but waits for nothing; returns the pool's id and the future of what `start` would.

        Raises:
            ConfigurationError: The request makes no sense.
            ActorError: No worker could ever hold one of its actors.
        """
        self._session.ensure_open()
        configuration = self._session.configuration
        specs = request.encode_specs(configuration.max_message_bytes)
        started: Future[ActorPool] = Future()

        def on_start(actor_ids: list[str] | None, failure: ActorFailure | None) -> None:
            if not started.set_running_or_notify_cancel():
                return
            if failure is not None:
                started.set_exception(_exception_of(failure, trust_workers=configuration.trust_workers))
            elif actor_ids:
                started.set_result(ActorPool(actor_ids[0].partition("/")[0], tuple(actor_ids)))

        try:
            return self._session.manager.start_actors(request, specs, on_start), started
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        except RuntimeError as error:
            raise ActorError(str(error)) from None

    # ------------------------------------------------------------------------------- calls of workers

    async def find_actor(self, _worker_id: str, request: FindActor) -> ActorRoute:
        """Names the location of an actor, once there is one.

        Raises:
            ActorError: There is none, and there will be none.
        """
        return await self._find(request.pool_id, request.actor_id or None, request.failed)

    def check_actor(self, _worker_id: str, request: CheckActor) -> ActorPresence:
        """Tells without waiting if an actor is where a task looked for it."""
        return ActorPresence(self._session.manager.is_actor_at(request.actor_id, request.generation))

    def on_news(self, worker_id: str, news: ActorNews) -> Done:
        """Passes an event of an actor on."""
        event = _EVENTS.get(news.event)
        if event is not None and not self._session.closed:
            self._session.manager.actor_news(
                worker_id, news.actor_id, news.generation, event, news.address, news.reason, news.error
            )
        return Done()

    async def await_ready(self, pool_id: str) -> list[str]:
        """The ids of a pool's actors that take calls, as soon as there is one.

        Raises:
            ActorError: There is none, and there will be none.
        """
        ready: list[str] | None = None
        while not ready:
            await self._find(pool_id, None, ())
            # None of them may be ready any more, if its worker was lost in this moment.
            ready = self._session.manager.ready_actors(pool_id)
        return ready

    async def _find(self, pool_id: str, actor_id: str | None, failed: Iterable[tuple[str, int]]) -> ActorRoute:
        found: asyncio.Future[ActorRoute] = asyncio.get_running_loop().create_future()

        def on_route(place: tuple[str, int, str, str] | None, problem: str | None) -> None:
            if found.done():
                return
            if place is None:
                found.set_exception(ActorError(problem or "no actor was found"))
            else:
                found.set_result(ActorRoute(*place))

        self._session.manager.find_actor(pool_id, actor_id, list(failed), on_route)
        return await found

    # ------------------------------------------------------------------------------- ending

    def bind(self, query_id: str, pool_ids: Iterable[str]) -> Callable[[], None]:
        """Ends these pools with this query, of which a task uses them, and none of them before that task.

        Returns:
            What to call when the task has ended; only the first call counts. Thread-safe, too.
        """
        used = list(pool_ids)
        if used:
            self._session.manager.bind_actors(query_id, used)

        def release() -> None:
            nonlocal used
            bound, used = used, []
            if bound:
                self._end_quietly(lambda manager: manager.release_actors(bound))

        return release

    def retire(self, pool_id: str) -> None:
        """Daft is done with a pool: its actors make room for others once no task is left to call them."""
        self._end_quietly(lambda manager: manager.retire_actors(pool_id))

    def end(self, pool_id: str) -> None:
        """Ends a pool for good."""
        self._end_quietly(lambda manager: manager.end_actors(pool_id))

    def exists(self, pool_id: str) -> bool:
        """True if the pool has not ended."""
        return not self._session.closed and self._session.manager.ready_actors(pool_id) is not None

    def _end_quietly(self, step: Callable[[K8sWorkerManager], None]) -> None:
        # A session that is over has no actors, nor has a process that was forked from the session's own.
        with contextlib.suppress(SessionClosedError):
            step(self._session.manager)


def _exception_of(failure: ActorFailure, *, trust_workers: bool) -> BaseException:
    """The exception that a constructor raised, or the reason why there is no actor."""
    if failure.kind == "closed":
        return SessionClosedError(failure.reason)
    if failure.kind != "constructor":
        return ActorError(failure.reason)
    told = ActorError(f"{failure.actor} could not be started: {failure.reason}")
    if not failure.error:
        return told
    from daft_k8s.wire.pickled_errors import decode_error

    error = decode_error(failure.error, failure.reason, trusted=trust_workers)
    if not is_ordinary(error):
        told.__cause__ = error
        return told
    add_note(error, f"raised in {failure.actor}\n{failure.reason}")
    return error
