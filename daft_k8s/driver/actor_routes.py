"""The route of an actor's call: to the wanted actor, to another of its pool, or to none any more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

from daft_k8s.driver.actor_pool import Actor, ActorPool, ActorState
from daft_k8s.errors import ActorError
from daft_k8s.wire.calls import ActorRoute

UNREACHED_SECONDS = 1.0
"""Seconds after which an unreachable place is named again if there is no other, doubled each time: perhaps only a
connection broke."""
_LONGEST_UNREACHED_SECONDS = 30.0


class ActorRoutes:
    """Answers workers that ask where an actor is. Used on one event loop.

    Args:
        pools: The session's pools, which change meanwhile.
        revive: Starts a pool anew that was retired, for a task that came later.
    """

    def __init__(self, pools: Mapping[str, ActorPool], revive: Callable[[ActorPool], ActorPool]) -> None:
        self._pools = pools
        self._revive = revive

    async def find(self, pool_id: str, actor_id: str, failed: Sequence[tuple[str, int]]) -> ActorRoute:
        """Waits until there is a place for a call, for as long as an actor of the pool may take to start.

        Args:
            pool_id: The pool that the calling tasks use.
            actor_id: The wanted actor; another one will do if the pool is stateless.
            failed: The places, as actor and generation, that the caller has tried for this call.

        Raises:
            ActorError: There is none, and there will be none.
        """
        now = time.monotonic()
        unreached_until = now + min(UNREACHED_SECONDS * 2 ** len(failed), _LONGEST_UNREACHED_SECONDS)
        deadline: float | None = None
        while True:
            pool = self._pool(pool_id)
            wanted = pool.find(actor_id)
            _refuse_what_is_lost(pool, wanted)
            ready = [actor for actor in pool.in_state(ActorState.READY) if actor is wanted or pool.request.stateless]
            untried = [actor for actor in ready if (actor.actor_id, actor.generation) not in failed]
            choice = untried or (ready if time.monotonic() >= unreached_until else [])
            if choice:
                return (wanted if wanted is not None and wanted in choice else random.choice(choice)).route()
            now = time.monotonic()
            timeout_seconds = pool.request.start_timeout_seconds
            deadline = deadline or now + timeout_seconds
            if now >= deadline:
                raise ActorError(
                    f"no actor of {pool.request.name} could be reached for {timeout_seconds:g} s: "
                    f"{pool.reasons() or 'they are ready, but their workers do not answer each other'}"
                )
            await pool.wait_for_change((min(deadline, unreached_until) if ready else deadline) - now)

    def is_there(self, pool_id: str, actor_id: str, generation: int) -> bool:
        """True if an actor takes calls and still is where it was with this generation."""
        pool = self._pools.get(pool_id)
        actor = None if pool is None or pool.retired else pool.find(actor_id)
        return actor is not None and actor.state is ActorState.READY and actor.generation == generation

    def _pool(self, pool_id: str) -> ActorPool:
        pool = self._pools.get(pool_id)
        if pool is None:
            raise ActorError("the query of this actor has ended")
        if pool.retired and not pool.unfinished_tasks:
            # What a cancelled task leaves behind on its worker asks: nobody would stop the actors again.
            raise ActorError(f"the tasks that use {pool.request.name} have ended")
        return self._revive(pool) if pool.retired else pool


def _refuse_what_is_lost(pool: ActorPool, wanted: Actor | None) -> None:
    if not pool.request.stateless and (wanted is None or wanted.state is ActorState.FAILED):
        reason = "" if wanted is None else wanted.reason
        raise ActorError(f"{pool.request.name} is incomplete: {reason}; run the query again")
    if not pool.in_state(ActorState.WAITING, ActorState.STARTING, ActorState.READY):
        raise ActorError(f"no actor of {pool.request.name} is left: {pool.reasons()}")
