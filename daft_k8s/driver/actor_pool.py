"""One pool of actors: what it is made of, where each actor is, and who waits for a change."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.errors import ActorError
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.calls import ActorRoute
from daft_k8s.wire.raised import add_note, is_ordinary

if TYPE_CHECKING:
    from daft_k8s.driver.actor_placement import Demand, Place
    from daft_k8s.wire.code_reference import CodeReference

MAX_MOVES = 4
"""Times that an actor is placed again because its worker was lost."""
MAX_CONSTRUCTIONS_AGAIN = 2
"""Times that an actor is placed again because its constructor was killed, for example by the kernel for its memory."""


class ActorState(enum.Enum):
    """The state of an actor, as the driver knows it."""

    WAITING = "waits for a worker with room"
    STARTING = "is being constructed"
    READY = "takes calls"
    FAILED = "is gone for good"


@dataclass(frozen=True)
class PoolRequest:
    """The request for a pool."""

    name: str
    """For people: the name of the UDF."""
    factory: str
    """`module:Class` of each actor, importable in the worker."""
    arguments: tuple[bytes, ...]
    """The pickled arguments of the class, actor by actor; a single one is for all."""
    count: int
    demand: Demand
    start_timeout_seconds: float
    max_restarts: int = 4
    """Times that an actor's process is replaced after it died."""
    code: CodeReference | None = None
    """The driver's code that workers need first."""
    folder: str | None = None
    """The folder in which relative paths of the actors start: see `TaskNeeds.folder`."""
    search_path: tuple[str, ...] = ()
    """News of the driver's search path, as a task's payload has them."""
    stateless: bool = True
    """A call may be made to any actor, and a new one is as good as the one that was lost."""
    shares_cpus: bool = True
    """The first actor may share the CPUs of other actors, where it would else wait for them."""


@dataclass
class Actor:
    """One actor of a pool."""

    actor_id: str
    number: int
    state: ActorState = ActorState.WAITING
    generation: int = 0
    """Counts its places; news of an earlier one are stale."""
    place: Place | None = None
    avoided: str = ""
    """The worker on which it was killed last: another one may have more memory left."""
    moves: int = 0
    kills: int = 0
    address: str = ""
    reason: str = ""
    error: bytes = b""

    def route(self) -> ActorRoute:
        """The location of the actor, as workers are told."""
        worker_id = "" if self.place is None else self.place.worker_id
        return ActorRoute(self.actor_id, self.generation, worker_id, self.address)


class ActorPool:
    """Used on one event loop."""

    def __init__(self, pool_id: str, request: PoolRequest) -> None:
        self.pool_id = pool_id
        self.request = request
        self.actors = [Actor(f"{pool_id}/{number}", number) for number in range(request.count)]
        self.unfinished_tasks = 0
        """Of its queries, which may call it."""
        self.dropped = False
        """Daft is done with it, perhaps before the last of those tasks has ended."""
        self.retired = False
        """Its actors were stopped: it was dropped, and no task was left. Should one come, it is started anew."""
        self.starting = True
        self._changed = asyncio.Event()

    def find(self, actor_id: str) -> Actor | None:
        """The actor of this id."""
        return next((actor for actor in self.actors if actor.actor_id == actor_id), None)

    def in_state(self, *states: ActorState) -> list[Actor]:
        """The actors that are in one of these states."""
        return [actor for actor in self.actors if actor.state in states]

    @property
    def ready(self) -> list[Actor]:
        """The actors that take calls."""
        return self.in_state(ActorState.READY)

    def label(self, actor: Actor) -> str:
        """An actor's name for people."""
        return f"actor {actor.number} of {self.request.name}"

    def spec_of(self, actor: Actor) -> ActorSpec:
        """Describes an actor to its worker."""
        request = self.request
        arguments = request.arguments
        return ActorSpec(
            label=self.label(actor),
            factory=request.factory,
            arguments=arguments[actor.number] if len(arguments) > 1 else arguments[0],
            generation=actor.generation,
            cpus=request.demand.cpus,
            gpu_devices=() if actor.place is None else actor.place.devices,
            start_timeout_seconds=request.start_timeout_seconds,
            max_restarts=request.max_restarts,
            code=request.code,
            folder=request.folder,
            search_path=request.search_path,
        )

    def changed(self) -> None:
        """Wakes everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self, timeout_seconds: float) -> None:
        """Waits until something has changed since this was called, but no longer than this."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_seconds)
        except asyncio.TimeoutError:
            return

    def fresh_copy(self) -> ActorPool:
        """The same pool with all its actors yet to be placed."""
        copy = ActorPool(self.pool_id, self.request)
        # Those that it went on with, which may be fewer than were asked for: tasks know no others.
        copy.actors = [Actor(old.actor_id, old.number, generation=old.generation) for old in self.actors]
        copy.unfinished_tasks, copy.dropped = self.unfinished_tasks, self.dropped
        return copy

    def reasons(self) -> str:
        """The reasons for which actors are not ready, each actor by name."""
        return "; ".join(
            f"{self.label(actor)} {actor.state.value}"
            + (f" on {actor.place.worker_id}" if actor.place is not None else "")
            + (f": {actor.reason}" if actor.reason else "")
            for actor in self.actors
            if actor.state is not ActorState.READY
        )

    def error_of(self, actor: Actor, *, trust_workers: bool) -> BaseException:
        """The exception that a constructor raised, or the reason that there is no actor."""
        where = f"{self.label(actor)} on {actor.place.worker_id}" if actor.place is not None else self.label(actor)
        if not actor.error:
            return ActorError(f"{where} could not be started: {actor.reason}")
        from daft_k8s.wire.pickled_errors import decode_error

        error = decode_error(actor.error, actor.reason, trusted=trust_workers)
        if not is_ordinary(error):
            failed = ActorError(f"{where} could not be started: {actor.reason}")
            failed.__cause__ = error
            return failed
        add_note(error, f"raised in {where}\n{actor.reason}")
        return error
