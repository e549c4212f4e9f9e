"""What Daft's tests use of Ray, and of what Daft itself has only together with Ray.

In the processes of a run, workers included, `import ray` gives `get`, `ObjectRef` and `exceptions` of this module.
"""

from __future__ import annotations

import sys
import types
from typing import Any


def install() -> None:
    """Call after daft_k8s has taken the place of Daft's Ray modules."""
    vars(sys.modules["daft.execution.ray_distributed_limit"])["_LimitCounterImpl"] = LimitCounterForTests


class ObjectRef:
    """What `iter_partitions` yields with Ray; here there are none."""


def get(partitions: Any) -> Any:
    """`DataFrame.iter_partitions` yields references with Ray and partitions here."""
    from daft.recordbatch import MicroPartition

    for partition in partitions if isinstance(partitions, list) else [partitions]:
        if not isinstance(partition, MicroPartition):
            raise TypeError(f"a runner without Ray yields partitions, not {type(partition).__name__}")
    return partitions


def __getattr__(name: str) -> Any:
    if name != "exceptions":
        raise AttributeError(name)
    from daft_k8s.errors import TaskError

    # What a task raised and could not be pickled.
    return types.SimpleNamespace(RayTaskError=TaskError)


class LimitCounterForTests:
    """Our counter of a LIMIT with the face of Daft's own, whose tests then hold for ours.

    Ours keeps rows reserved to a task that starts again, where Daft's gives them back to all: what
    remains for a task that asks next is the same, and is what the tests look at.
    """

    def __init__(self, limit: int, offset: int) -> None:
        from daft_k8s.seam.limit_counter import LimitCounter

        self._counter = LimitCounter(limit, offset)
        self._epochs: dict[str, int] = {}

    def start_task(self, input_id: str) -> None:
        self._epochs[input_id] = self._counter.start(input_id)

    def claim(self, input_id: str, num_rows: int) -> tuple[int, int, bool]:
        return self._counter.claim(input_id, self._epochs[input_id], num_rows)

    def is_done(self) -> bool:
        return self._counter.is_done()

    @property
    def remaining_take(self) -> int:
        undrawn = sum(r.take - r.drawn_take for r in self._counter._reservations.values())
        return self._counter._remaining_take + undrawn

    @property
    def remaining_skip(self) -> int:
        undrawn = sum(r.skip - r.drawn_skip for r in self._counter._reservations.values())
        return self._counter._remaining_skip + undrawn

    @property
    def input_claims(self) -> dict[str, tuple[int, int]]:
        drawn = {i: (r.drawn_skip, r.drawn_take) for i, r in self._counter._reservations.items()}
        return {input_id: claim for input_id, claim in drawn.items() if any(claim)}
