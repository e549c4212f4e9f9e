"""Daft's hooks for its key-filtering join, which `skip_existing` and `checkpoint=` use.

Keys that are there already are kept in actors, each of which has a share by the keys' hash: the first stage brings them
there, and the next asks for the rows whose keys they do not know. A share that is lost is not filled again: the
query fails, as any other answer might be wrong.

The functions that travel in plans are made of Daft's own parts; only Ray is taken out of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ActorError, ConfigurationError
from daft_k8s.seam.actors import ActorHandle, DriverActorHandle, actor_pools
from daft_k8s.seam.carried import carried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daft.daft import KeyFilteringConfig
    from daft.execution.key_filtering_join.actors import KeySpec
    from daft.expressions import Expression

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

    from daft_k8s.driver.actor_placement import Demand
    from daft_k8s.driver.actor_pool import PoolRequest
    from daft_k8s.driver.session import current_session
    from daft_k8s.seam.hooks import query_folders

    count = int(config.num_workers or 1)
    session = current_session()
    pools = actor_pools(session)
    pool = await pools.start(
        PoolRequest(
            name="the key filter",
            factory=_KEY_ACTOR,
            arguments=tuple(dumps((number,)) for number in range(count)),
            count=count,
            demand=Demand(cpus=float(config.cpus_per_worker or 0)),
            start_timeout_seconds=float(PLACEMENT_GROUP_READY_TIMEOUT_SECONDS),
            max_restarts=0,
            folder=query_folders(session).latest(),
            stateless=False,
        )
    )
    handles = [DriverActorHandle(pool.pool_id, actor.actor_id, pools) for actor in pool.actors]
    left, right = config.left_key_columns, config.right_key_columns
    keys = KeySpec(left)
    # Under the left side's names on both sides, as they are part of the hash of a composite key.
    if keys.is_composite:
        new_keys = to_struct(**{name: col(other) for name, other in zip(left, right, strict=True)})
    else:
        new_keys = col(right[0]).alias(left[0])
    ingest = _ingest_function(handles, keys)(new_keys)
    keep = _keep_function(handles, keys)(keys.to_expr())
    return [ingest._expr, keep._expr, handles, None]


def teardown_key_filter(actor_handles: Sequence[DriverActorHandle], placement_group: None = None) -> None:
    """Daft is done with the filter."""
    with contextlib.suppress(Exception):
        for handle in actor_handles:
            handle.teardown()


def too_slow(deed: str, keys: int, actors: int, after_seconds: float) -> ActorError:
    """The error of a call of the actors that has not come back."""
    return ActorError(
        f"the key filter of skip_existing or checkpoint= has not {deed} {keys:,} keys within {after_seconds:g} s; its "
        f"{actors} actors share all keys that exist already. Give it more actors (num_workers) or smaller batches "
        "(keys_load_batch_size, filter_batch_size), or more time: DAFT_KEY_FILTERING_ASYNC_AWAIT_TIMEOUT_SECONDS in "
        "the workers' environment (env)"
    )


def _ingest_function(handles: Sequence[ActorHandle], keys: KeySpec) -> Callable[[Expression], Expression]:
    from daft.datatype import DataType
    from daft.series import Series
    from daft.udf import func

    @func.batch(return_dtype=DataType.null())
    async def ingest_keys(values: Series) -> Series:
        import asyncio

        from daft.dependencies import pa
        from daft.execution.key_filtering_join.actors import ASYNC_AWAIT_TIMEOUT_SECONDS, _group_row_indices_by_worker

        if len(values) == 0:
            return Series.from_arrow(pa.nulls(0))
        rows = keys.to_numpy(values)
        calls = [
            asyncio.ensure_future(handles[number].call("add_keys", rows[indices].tolist()))
            for number, indices in _group_row_indices_by_worker(values, len(handles))
        ]
        try:
            # Not told by a TimeoutError, which an actor may raise itself.
            done, late = await asyncio.wait(
                calls, timeout=ASYNC_AWAIT_TIMEOUT_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            for call in done:
                call.result()
            if late:
                raise too_slow("taken", len(values), len(handles), ASYNC_AWAIT_TIMEOUT_SECONDS)
        finally:
            for call in calls:
                call.cancel()
        return Series.from_arrow(pa.nulls(len(values)))

    return ingest_keys


def _keep_function(handles: Sequence[ActorHandle], keys: KeySpec) -> Callable[[Expression], Expression]:
    from daft.datatype import DataType
    from daft.series import Series
    from daft.udf import func

    # In the worker's own process, which alone can reach the actors.
    @func.batch(return_dtype=DataType.bool(), use_process=False)
    def keep_new_keys(values: Series) -> Series:
        import concurrent.futures

        from daft.dependencies import np
        from daft.execution.key_filtering_join.actors import ASYNC_AWAIT_TIMEOUT_SECONDS, _group_row_indices_by_worker

        if len(values) == 0:
            return Series.from_numpy(np.empty(0, dtype=bool))
        rows = keys.to_numpy(values)
        calls = [
            (indices, handles[number].call_blocking("filter", rows[indices]))
            for number, indices in _group_row_indices_by_worker(values, len(handles))
        ]
        kept = np.full(len(values), True, dtype=bool)
        for indices, call in calls:
            # As above, not told by a TimeoutError.
            if not concurrent.futures.wait([call], ASYNC_AWAIT_TIMEOUT_SECONDS).done:
                raise too_slow("looked up", len(values), len(handles), ASYNC_AWAIT_TIMEOUT_SECONDS)
            packed = call.result()
            kept[indices] = np.unpackbits(packed)[: len(indices)].astype(bool)
        return Series.from_numpy(kept)

    return keep_new_keys
