"""The functions of a key-filtering join that travel inside plans.

They are made of Daft's own parts; only Ray is taken out of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.errors import ActorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daft.execution.key_filtering_join.actors import KeySpec
    from daft.expressions import Expression
    from daft.series import Series

    from daft_k8s.handles.actors import ActorHandle


def too_slow(deed: str, keys: int, actors: int, after_seconds: float) -> ActorError:
    """The error of a call of the actors that has not come back."""
    return ActorError(
        f"the key filter of skip_existing or checkpoint= has not {deed} {keys:,} keys within {after_seconds:g} s; its "
        f"{actors} actors share all keys that exist already. Give it more actors (num_workers) or smaller batches "
        "(keys_load_batch_size, filter_batch_size), or more time: DAFT_KEY_FILTERING_ASYNC_AWAIT_TIMEOUT_SECONDS in "
        "the workers' environment (env)"
    )


def ingest_function(handles: Sequence[ActorHandle], keys: KeySpec) -> Callable[[Expression], Expression]:
    """The function that brings keys to the actors."""
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


def keep_function(handles: Sequence[ActorHandle], keys: KeySpec) -> Callable[[Expression], Expression]:
    """The function that is true for rows whose keys the actors do not know."""
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
