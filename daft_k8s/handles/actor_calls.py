"""Calls of actors by tasks of this worker.

An actor of this worker is called over its socket, any other through the worker that hosts it. Where it is, the
driver knows; and it names another actor of the pool if the wanted one is gone.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from daft_k8s.errors import ActorError, DaftK8sError, WorkerLostError
from daft_k8s.handles.driver_calls import DriverCallError, call_driver
from daft_k8s.wire.actor_messages import (
    ActorSpec,
    Buffer,
    decode_message,
    encode_call,
    join_message,
    result_of,
)
from daft_k8s.wire.calls import ActorRoute, CheckActor, DriverCall, FindActor, Reply
from daft_k8s.wire.raised import CarriedError, carrying, ordinary

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

T = TypeVar("T")

_HERE = "this worker"
_NO_WORKER = "actors can be called in a daft_k8s worker process only, and this is none"

MAX_ROUTES = 7
"""Places of an actor that are tried for one call. The driver names a place again after a wait that doubles."""
MAX_TRIES_THERE = 5
"""Tries of a call that is bound to one place, if the place cannot be reached."""
_FIRST_PAUSE_SECONDS = 1.0
"""Between the first two of these; each further pause is twice as long."""


class ActorGoneError(DaftK8sError):
    """The actor is not here (any more), and the call was not begun: it may be made elsewhere."""


class LocalActor(Protocol):
    """The part of `worker.actor_host.HostedActor` that is needed here."""

    spec: ActorSpec

    def call(self, parts: Sequence[Buffer]) -> concurrent.futures.Future[bytes | bytearray]: ...


class LocalActors(Protocol):
    """The part of `worker.actor_host.ActorHost` that is needed here."""

    def find(self, actor_id: str) -> LocalActor | None: ...


class PeerCaller(Protocol):
    """The part of `WorkerServer` that is needed here."""

    def call_peer(
        self, address: str, actor_id: str, payload: bytes, callback: Callable[[bytes | None, str | None], None]
    ) -> None: ...


class _Worker(NamedTuple):
    host: LocalActors
    caller: PeerCaller
    loop: asyncio.AbstractEventLoop


_current: _Worker | None = None


def set_current_host(host: LocalActors | None, caller: PeerCaller | None = None) -> None:
    """Names the actors of this process, and the server through which others are called."""
    global _current
    _current = None if host is None or caller is None else _Worker(host, caller, asyncio.get_running_loop())


class Handle(Protocol):
    """The part of an actor's handle that calls use."""

    actor_id: str


def ready_actors_by_location(handles: Sequence[Handle]) -> tuple[list[Handle], list[Handle]]:
    """Daft's hook: the actors in this worker, and the others. It uses the others only if there are none here."""
    local = [handle for handle in handles if _current is not None and _current.host.find(handle.actor_id) is not None]
    return local, [handle for handle in handles if handle not in local]


def call_actor_blocking(pool_id: str, actor_id: str, method: str, *arguments: Any) -> concurrent.futures.Future[Any]:
    """As `call_actor`, for a thread that is not the event loop's."""
    return run_in_worker(call_actor(pool_id, actor_id, method, *arguments))


def run_in_worker(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Begins what calls actors, on the worker's event loop; for any other thread."""
    if _current is None:
        work.close()
        raise DaftK8sError(_NO_WORKER)
    return asyncio.run_coroutine_threadsafe(work, _current.loop)


async def call_actor(pool_id: str, actor_id: str, method: str, *arguments: Any) -> Any:
    """Calls a method of an actor, or of another one of its pool if it is gone and that is allowed.

    Raises:
        Exception: The exception of the method.
        WorkerLostError: No actor could be reached.
        ActorError: The driver knows of none; the message says why.
    """
    result, _ = await call_and_stay(pool_id, actor_id, method, *arguments)
    return result


class ActorPlace:
    """The place at which an actor has taken a call, for further calls that are bound to that place.

    The driver is asked about it only if it cannot be reached.
    """

    def __init__(self, pool_id: str, route: ActorRoute) -> None:
        self._pool_id = pool_id
        self._route = route

    @property
    def actor_id(self) -> str:
        """The actor that is there."""
        return self._route.actor_id

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the actor at this place, again after a pause if it is there and cannot be reached.

        Raises:
            Exception: The exception of the method.
            ActorGoneError: The actor is not there any more, or could not be reached for `MAX_TRIES_THERE` tries.
        """
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(MAX_TRIES_THERE - 1):
            try:
                return await self.call_once(method, *arguments)
            except ActorGoneError:
                place = CheckActor(self._pool_id, self.actor_id, self._route.generation)
                if not (await ask_driver(place)).is_there:
                    raise
            await asyncio.sleep(pause)
            pause *= 2
        return await self.call_once(method, *arguments)

    async def call_once(self, method: str, *arguments: Any) -> Any:
        """As `call`, but never again."""
        worker, parts = await _encode(method, arguments)
        return await _call_route(worker, self._route, parts)


async def _encode(method: str, arguments: tuple[Any, ...]) -> tuple[_Worker, Sequence[Buffer]]:
    worker = _current
    if worker is None:
        raise DaftK8sError(_NO_WORKER)
    # Python objects are pickled here, which may take long.
    return worker, await _on_thread(encode_call, method, arguments)


async def call_and_stay(pool_id: str, actor_id: str, method: str, *arguments: Any) -> tuple[Any, ActorPlace]:
    """As `call_actor`; returns also where the actor is that has answered."""
    worker, parts = await _encode(method, arguments)
    failed: list[tuple[str, int]] = []
    problem = ""
    actor = worker.host.find(actor_id)
    if actor is not None:
        try:
            result = await _result(asyncio.wrap_future(actor.call(parts)), actor.spec.label)
            return result, ActorPlace(pool_id, ActorRoute(actor_id, actor.spec.generation, _HERE, ""))
        except ActorGoneError as error:
            failed.append((actor_id, actor.spec.generation))
            problem = str(error)
    for _ in range(MAX_ROUTES):
        route = await ask_driver(FindActor(pool_id, actor_id, tuple(failed)))
        try:
            return await _call_route(worker, route, parts), ActorPlace(pool_id, route)
        except ActorGoneError as error:
            failed.append((route.actor_id, route.generation))
            problem = f"{route.actor_id} on {route.worker_id}: {error}"
    raise WorkerLostError(f"{MAX_ROUTES} places of an actor were tried, the last was {problem}")


async def ask_driver(request: DriverCall[Reply]) -> Reply:
    """Asks the driver about actors.

    Raises:
        ActorError: In the driver's words.
    """
    try:
        return await call_driver(request)
    except DriverCallError as error:
        raise ActorError(error.reason.removeprefix(f"{ActorError.__name__}: ")) from error


async def _call_route(worker: _Worker, route: ActorRoute, parts: Sequence[Buffer]) -> Any:
    label = f"{route.actor_id} on {route.worker_id}"
    actor = worker.host.find(route.actor_id)
    if actor is not None:
        return await _result(asyncio.wrap_future(actor.call(parts)), label)
    if not route.address:
        raise ActorGoneError(f"{label} is gone")
    answer: asyncio.Future[bytes] = worker.loop.create_future()

    def settle(data: bytes | None, error: str | None) -> None:
        if answer.done():
            return
        if data is None:
            answer.set_exception(ActorGoneError(error or "no answer"))
        else:
            answer.set_result(data)

    worker.caller.call_peer(route.address, route.actor_id, join_message(parts), settle)
    return await _result(answer, label)


async def _result(answer: asyncio.Future[Any], label: str) -> Any:
    data = await answer
    return result_of(await _on_thread(decode_message, data), label)


async def _on_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function that may run users' code, on a thread; raises nothing on which Python would act."""
    try:
        return await asyncio.to_thread(carrying(function), *arguments)
    except CarriedError as carried:
        error = ordinary(carried)
    raise error
