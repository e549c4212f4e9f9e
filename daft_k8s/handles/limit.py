"""The handle of a LIMIT counter, with which a task asks the driver how many rows it may keep."""

from __future__ import annotations

from collections.abc import Callable

from daft_k8s.handles.driver_calls import call_driver
from daft_k8s.wire.calls import ClaimRows, StartLimit


class LimitCounterHandle:
    """A worker's handle of a counter; asks the driver over the stream that the driver opened."""

    def __init__(self, counter_id: str) -> None:
        self.counter_id = counter_id
        self._epochs: dict[str, int] = {}

    def __reduce__(self) -> tuple[Callable[..., LimitCounterHandle], tuple[str]]:
        return LimitCounterHandle, (self.counter_id,)

    async def start_task(self, input_id: str) -> None:
        """Daft calls this when the first rows of a task reach its LIMIT."""
        self._epochs[input_id] = (await call_driver(StartLimit(self.counter_id, input_id))).epoch

    async def claim(self, input_id: str, num_rows: int) -> tuple[int, int, bool]:
        """Daft calls this for each piece of rows; see `LimitCounter.claim`."""
        epoch = self._epochs.get(input_id, 0)
        granted = await call_driver(ClaimRows(self.counter_id, input_id, epoch, num_rows))
        return granted.skip, granted.take, granted.done
