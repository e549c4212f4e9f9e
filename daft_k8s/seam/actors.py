"""The driver's end of the handles of actors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from daft_k8s.handles.actors import ActorHandle

if TYPE_CHECKING:
    from daft_k8s.driver.actor_pools import ActorPools


class DriverActorHandle(ActorHandle):
    """The handle that Daft's scheduler holds; the pool ends with the last of them."""

    def __init__(self, pool_id: str, actor_id: str, pools: ActorPools) -> None:
        super().__init__(pool_id, actor_id)
        self._pools = pools

    def teardown(self) -> None:
        """Daft is done with the actor, i.e. with all of its pool."""
        self._pools.retire(self.pool_id)

    def __del__(self) -> None:
        # Daft drops the handles of a query that failed or was cancelled without tearing anything down.
        with contextlib.suppress(Exception):
            self.teardown()
