"""Daft's hooks for its key-filtering join, which `skip_existing` and `checkpoint=` use.

Existing keys are kept in actors, each with a share by the keys' hash. The first stage brings the keys there, and the
next asks for the rows with unknown keys. A lost share is not filled again: the query fails, as any other answer might
be wrong.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ConfigurationError
from daft_k8s.handles.key_filter import ingest_function, keep_function
from daft_k8s.seam.actors import DriverActorHandle
from daft_k8s.seam.carried import carried
from daft_k8s.seam.parts import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daft.daft import KeyFilteringConfig

logger = logging.getLogger("daft_k8s")

_KEY_ACTOR = "daft.execution.key_filtering_join.actors:KeyFilterActor"


@carried
async def create_key_filter(config: KeyFilteringConfig) -> list[Any]:
    """Starts the actors and makes the two expressions that use them.

    Returns:
        The expression that brings keys to the actors, the one that is true for rows to be kept, the actors' handles,
        and None where Ray has a placement group.

    Raises:
        ConfigurationError: NumPy, with which Daft compares keys, is not installed.
    """
    if importlib.util.find_spec("numpy") is None:
        raise ConfigurationError("skip_existing and checkpoint= need NumPy, here and on workers: pip install numpy")
    from daft import col
    from daft.execution.key_filtering_join.actors import PLACEMENT_GROUP_READY_TIMEOUT_SECONDS, KeySpec
    from daft.functions.struct import to_struct
    from daft.pickle import dumps

    from daft_k8s.driver.actor_request import Demand, PoolRequest
    from daft_k8s.driver.session import current_session

    count = int(config.num_workers or 1)
    parts = parts_of(current_session())
    pools = parts.actor_pools
    pool = await pools.start(
        PoolRequest(
            name="the key filter",
            factory=_KEY_ACTOR,
            arguments=tuple(dumps((number,)) for number in range(count)),
            count=count,
            demand=Demand(cpus=float(config.cpus_per_worker or 0)),
            start_timeout_seconds=float(PLACEMENT_GROUP_READY_TIMEOUT_SECONDS),
            max_restarts=0,
            folder=parts.query_folders.latest(),
            stateless=False,
        )
    )
    handles = [DriverActorHandle(pool.pool_id, actor_id, pools) for actor_id in pool.actor_ids]
    left, right = config.left_key_columns, config.right_key_columns
    keys = KeySpec(left)
    # Under the left side's names on both sides, as they are part of the hash of a composite key.
    if keys.is_composite:
        new_keys = to_struct(**{name: col(other) for name, other in zip(left, right, strict=True)})
    else:
        new_keys = col(right[0]).alias(left[0])
    ingest = ingest_function(handles, keys)(new_keys)
    keep = keep_function(handles, keys)(keys.to_expr())
    return [ingest._expr, keep._expr, handles, None]


def teardown_key_filter(actor_handles: Sequence[DriverActorHandle], placement_group: None = None) -> None:
    """Daft is done with the filter."""
    with contextlib.suppress(Exception):
        for handle in actor_handles:
            handle.teardown()
