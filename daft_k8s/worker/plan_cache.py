"""Decoded plans of a worker, by content hash.

Not only to save the decoding. Daft keeps the instances of class UDFs in the decoded plan, so tasks that use one plan
object also share the data that a UDF's `__init__` has loaded.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daft_k8s.wire.raised import carrying
from daft_k8s.wire.task_payload import decode_plan

if TYPE_CHECKING:
    from daft.daft import LocalPhysicalPlan

MAX_PLANS = 64
"""A plan without UDFs takes a few kB; a query's stages that run at one time are far fewer."""

THREAD_BYTES = 64 << 10
"""Larger plans are decoded on a thread: they carry Python objects, and unpickling may import much."""


@dataclass
class _Entry:
    decoding: asyncio.Future[LocalPhysicalPlan]
    queries: set[str] = field(default_factory=set)


class PlanCache:
    """Keeps the plans that were used last."""

    def __init__(self, max_plans: int = MAX_PLANS) -> None:
        self._max_plans = max_plans
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get(self, *, plan_hash: str, plan: bytes, query_id: str, has_udf: bool) -> LocalPhysicalPlan:
        """Returns the decoded plan; one that is being decoded is waited for."""
        entry = self._entries.get(plan_hash)
        if entry is None or entry.decoding.cancelled() or (entry.decoding.done() and entry.decoding.exception()):
            on_thread = has_udf or len(plan) > THREAD_BYTES
            entry = self._entries[plan_hash] = _Entry(asyncio.ensure_future(_decode(plan, on_thread)))
            while len(self._entries) > self._max_plans:
                self._entries.popitem(last=False)
        self._entries.move_to_end(plan_hash)
        entry.queries.add(query_id)
        # Shielded: one task's cancellation must not take the plan from the others.
        return await asyncio.shield(entry.decoding)

    def end_query(self, query_id: str) -> None:
        """Forgets the plans that only this query used."""
        for plan_hash, entry in list(self._entries.items()):
            entry.queries.discard(query_id)
            if not entry.queries:
                del self._entries[plan_hash]

    def __len__(self) -> int:
        return len(self._entries)


async def _decode(plan: bytes, on_thread: bool) -> LocalPhysicalPlan:
    # The plan may import a module that was written since the last one, to a folder that was perhaps not there then.
    importlib.invalidate_caches()
    decode = carrying(decode_plan)
    return await asyncio.to_thread(decode, plan) if on_thread else decode(plan)
